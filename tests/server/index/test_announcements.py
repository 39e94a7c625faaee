"""What the pod that writes tells readers of a bucket, who list all of it now and then only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from gateway_programs import make_wheel
from programs import PATIENCE, Server, upload, wait_for
from server.index import announcements
from server.index.announcements import KEPT, LATEST, Announced, Announcements
from server.index.listing import Listing
from server.index.packed import Core
from server.volume.content import Stamp
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHER = ("publisher", "publisher-password")
RARELY = {"PUBLISH_METHOD": "direct", "READERS": "yes", "RESCAN_SECONDS": "86400", "POLL_SECONDS": "1"}
SETTLED = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def files(tmp_path: Path) -> OwnFiles:
    return OwnFiles(tmp_path, announcements.DIRECTORY, in_place=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_told_is_named_until_no_mount_shows_what_was_before(files: OwnFiles, clock: Clock) -> None:
    writer, reader = Announcements(files), Announced(files, SETTLED, clock)
    writer.write()
    assert reader.look() is None
    assert reader.look() == frozenset()
    for path in ("a-1.0.tar.gz", "sub/b-1.0.tar.gz"):
        writer.tell(path)
    writer.write()
    assert (reader.look(), reader.turned) == (frozenset({"a-1.0.tar.gz", "sub/b-1.0.tar.gz"}), True)
    clock.now = SETTLED - 1
    writer.tell("a-1.0.tar.gz")
    writer.write()
    assert (reader.look(), reader.turned) == (frozenset({"a-1.0.tar.gz", "sub/b-1.0.tar.gz"}), True)
    assert (reader.look(), reader.turned) == (frozenset({"a-1.0.tar.gz", "sub/b-1.0.tar.gz"}), False)
    clock.now = SETTLED
    assert (reader.look(), reader.turned) == (frozenset({"a-1.0.tar.gz"}), True)
    clock.now = 2 * SETTLED
    assert (reader.look(), reader.turned) == (frozenset(), True)
    assert (reader.look(), reader.turned) == (frozenset(), False)


def test_who_missed_something_is_told_that_anything_may_have_changed(files: OwnFiles, clock: Clock) -> None:
    writer, reader = Announcements(files), Announced(files, SETTLED, clock)
    writer.write()
    reader.look()
    for number in range(KEPT):
        writer.tell(f"a-{number}.tar.gz")
    writer.write()
    assert reader.look() == frozenset(f"a-{number}.tar.gz" for number in range(KEPT))
    for number in range(KEPT + 1):
        writer.tell(f"b-{number}.tar.gz")
    writer.write()
    assert reader.look() is None
    # Another process of the writer: what the one before did last was perhaps not told.
    Announcements(files).write()
    assert reader.look() is None
    assert reader.look() == frozenset()


def test_a_record_that_is_missing_or_broken_tells_nothing(files: OwnFiles, clock: Clock) -> None:
    writer, reader = Announcements(files), Announced(files, SETTLED, clock)
    assert reader.look() is None
    assert reader.look() == frozenset()
    writer.tell("a-1.0.tar.gz")
    writer.write()
    assert reader.look() is None
    for broken in (
        b'{"process',
        b"[]",
        b'{"process": 1, "last": 0, "rows": []}',
        b'{"process": "a", "last": 0, "rows": [["a-1.0.tar.gz"]]}',
    ):
        files.put(LATEST, broken, durable=False)
        assert reader.look() == frozenset()
    writer.tell("b-1.0.tar.gz")
    writer.write()
    assert reader.look() == frozenset({"b-1.0.tar.gz"})


def test_what_is_known_of_a_file_comes_with_it_if_it_has_its_size(files: OwnFiles, clock: Clock) -> None:
    writer, reader = Announcements(files), Announced(files, SETTLED, clock)
    writer.write()
    reader.look()
    listing = Listing()
    for name, core in (("a-1.0-py3-none-any.whl", Core("sha256=1", ">=3.9")), ("b-1.0.tar.gz", None)):
        listing.add("", name, Stamp(7, 1), "sha256=ab", core)
        writer.tell(name, listing.at(name))
    writer.write()
    reader.look()
    # The mount of another node has another time.
    assert reader.facts("a-1.0-py3-none-any.whl", Stamp(7, 2)) == ("sha256=ab", Core("sha256=1", ">=3.9"))
    assert reader.facts("b-1.0.tar.gz", Stamp(7, 2)) == ("sha256=ab", None)
    assert reader.facts("b-1.0.tar.gz", Stamp(8, 2)) == (None, None)
    clock.now = SETTLED
    reader.look()
    assert reader.facts("b-1.0.tar.gz", Stamp(7, 2)) == (None, None)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A writer, and a reader that lists everything once only."""
    with Server(tmp_path / "writer", {**RARELY, "ALLOW_REMOVAL": "yes", "REMOVED_NAMES": "free"}) as writer:
        own = {"PACKAGES_DIRECTORY": str(writer.packages), "ROLE": "reader"}
        with Server(tmp_path / "reader", {**RARELY, **own}) as reader:
            yield writer, reader


def page(server: Server, project: str) -> str:
    answer = requests.get(f"{server.url}/simple/{project}/", timeout=PATIENCE)
    return answer.text if answer.ok else ""


def post(server: Server, action: str, **form: str) -> bool:
    user = requests.auth.HTTPBasicAuth(*PUBLISHER)
    return requests.post(server.url, data={":action": action, **form}, auth=user, timeout=PATIENCE).ok


def test_a_reader_follows_what_is_published_replaced_yanked_and_removed(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    writer, reader = pair
    one, other = (make_wheel(tmp_path, name, "1.0") for name in ("one", "other"))
    for wheel in (one, other):
        assert upload(writer.url, wheel.name, wheel.read_bytes(), user=PUBLISHER).ok
    for name in ("one", "other"):
        wait_for(lambda name=name: f">{name}-1.0" in page(reader, name), f"{name} to be listed")  # type: ignore[misc]
    assert post(writer, "yank", name="other", version="1.0", reason="broken")
    wait_for(lambda: "data-yanked" in page(reader, "other"), "what was yanked")
    before = page(reader, "one")
    assert post(writer, "remove_pkg", name="one", version="1.0")
    wait_for(lambda: not page(reader, "one"), "what was removed to be gone")
    (tmp_path / "again").mkdir()
    changed = make_wheel(tmp_path / "again", "one", "1.0", headers="Requires-Python: >=3.9\n")
    assert upload(writer.url, changed.name, changed.read_bytes(), user=PUBLISHER).ok
    wait_for(lambda: page(reader, "one") not in {"", before}, "what was published anew")


def test_what_a_writer_did_last_is_found_once_another_has_started(pair: tuple[Server, Server]) -> None:
    writer, reader = pair
    # As if it had died before it told.
    writer.kill()
    put = make_wheel(writer.packages, "untold", "1.0")
    assert not page(reader, "untold")
    writer.start()
    wait_for(lambda: f">{put.name}<" in page(reader, "untold"), "what was not told")
