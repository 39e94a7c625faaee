"""What others do to the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, upload, wait_for
from store_samples import files, metric, sha256, wheel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from programs import Server
    from store_programs import Place

NAME, CONTENT = wheel("demo", "1.0")
OTHER, LATER = wheel("demo", "2.0")


def surveyed(url: str, patience: float = PATIENCE) -> None:
    """Wait until the whole bucket has been looked at once more, from now on."""
    name = "pypiserver_store_survey_timestamp_seconds"
    for _ in range(2):
        last = metric(url, name)
        wait_for(lambda last=last: metric(url, name) != last, "a survey", patience)  # type: ignore[misc]


def test_a_folder_of_packages_is_taken_over(place: Place) -> None:
    """As a volume has them, with what was withdrawn there, and names that are no packages."""
    contents = {
        NAME: CONTENT,
        f"deeper/{OTHER}": LATER,
        "README": b"no package",
        f"of a team/{wheel('demo', '3.0')[0]}": b"the gateway has no address for it",
        ".hidden-1.0.tar.gz": b"hidden",
        "broken-1.0-py3-none-any.whl": b"no archive",
        ".pypiserver/yanked/demo@1": b"why",
        ".pypiserver/volume": b"as-on-the-volume\n",
    }
    for path, content in contents.items():
        place.hand.write(path, content)
    writer = place.start("writer", VOLUME_IDENTITY="as-on-the-volume")
    reader = place.server("reader", ROLE="reader").start()
    wait_for(lambda: files(writer.url, "demo").keys() == {NAME, OTHER}, "both")
    shown = files(writer.url, "demo")
    assert (shown[NAME]["yanked"], shown[NAME]["hashes"]["sha256"]) == ("why", sha256(CONTENT))
    assert shown[OTHER]["requires-python"] == ">=3.8"
    metadata = requests.get(f"{writer.url}/packages/deeper/{OTHER}.metadata", timeout=PATIENCE).content
    assert sha256(metadata) == shown[OTHER]["core-metadata"]["sha256"]
    wait_for(lambda: files(reader.url, "demo") == shown, "the reader")
    # A broken archive is listed without what it would say.
    (broken,) = files(writer.url, "broken").values()
    assert "requires-python" not in broken
    assert metric(writer.url, "pypiserver_packages") == 3
    assert {path: place.hand.read(path, 10_000) for path in contents} == contents
    assert upload(writer.url, NAME, CONTENT).status_code == 409


def test_a_file_that_is_put_there_and_one_that_is_taken_away(place: Place) -> None:
    server = place.start()
    assert upload(server.url, NAME, CONTENT).ok
    place.hand.write(OTHER, LATER)
    wait_for(lambda: files(server.url, "demo").keys() == {NAME, OTHER}, "the file")
    place.hand.remove(OTHER)
    wait_for(lambda: files(server.url, "demo").keys() == {NAME}, "its end")


def test_a_file_that_is_replaced_is_shown_as_it_is(place: Place) -> None:
    server = place.start()
    assert upload(server.url, NAME, CONTENT).ok
    surveyed(server.url)
    other = wheel("demo", "1.0", b"another one", requires=">=3.9")[1]
    place.hand.write(NAME, other)
    wait_for(lambda: files(server.url, "demo")[NAME]["hashes"]["sha256"] == sha256(other), "the other")
    assert files(server.url, "demo")[NAME]["requires-python"] == ">=3.9"
    assert not (server.packages / NAME).exists()
    assert "was replaced in the bucket" in server.log


def test_a_file_that_is_there_by_hand_is_not_replaced(place: Place) -> None:
    """Not even while nobody knows of it."""
    server = place.start(RESCAN_SECONDS="3600")
    wait_for(lambda: metric(server.url, "pypiserver_store_survey_timestamp_seconds"), "the first survey")
    place.hand.write(OTHER, b"by hand")
    assert upload(server.url, OTHER, LATER).status_code == 409
    assert place.hand.read(OTHER, 100) == b"by hand"
    wait_for(lambda: not place.hand.names(".pypiserver/unfinished"), "the end of the upload")
    place.hand.write(OTHER, LATER)
    assert upload(server.url, OTHER, LATER).ok


def filled(place: Place, count: int, **environment: str) -> tuple[Server, dict[str, bytes]]:
    """A server, and what it lists, which was in the bucket before."""
    packages = dict(wheel("demo", f"{number}.0") for number in range(1, count + 1))
    place.folder.mkdir()
    for name, content in packages.items():
        (place.folder / name).write_bytes(content)
    server = place.start(**environment)
    wait_for(lambda: files(server.url, "demo").keys() == packages.keys(), "the packages")
    return server, packages


def take_away(place: Place, names: Iterable[str]) -> None:
    """Not one after the other, as the server sees it."""
    place.way.be("refused")
    for name in names:
        place.hand.remove(name)
    place.way.be("open")


@pytest.mark.parametrize(("gone", "count"), [(1, 1), (2, 2), (2, 3), (9, 10), (10, 19)])
def test_more_than_half_of_a_bucket_that_is_gone_stays_listed(place: Place, gone: int, count: int) -> None:
    server, packages = filled(place, count)
    taken = list(packages.items())[:gone]
    take_away(place, dict(taken))
    wait_for(lambda: metric(server.url, "pypiserver_store_lost_files") == gone, "the metric")
    assert files(server.url, "demo").keys() == packages.keys()
    assert f"{gone} of {count} files are not in the bucket any more" in server.log
    server.kill()
    second = place.start("second")
    assert files(second.url, "demo").keys() == packages.keys()
    wait_for(lambda: metric(second.url, "pypiserver_store_lost_files") == gone, "the metric")
    for each in taken:
        place.hand.write(*each)
    wait_for(lambda: metric(second.url, "pypiserver_store_lost_files") == 0, "their return")
    assert files(second.url, "demo").keys() == packages.keys()


@pytest.mark.parametrize(("gone", "count"), [(1, 2), (10, 20)])
def test_half_of_a_bucket_may_be_taken_away_at_once(place: Place, gone: int, count: int) -> None:
    server, packages = filled(place, count)
    taken = list(packages)[:gone]
    take_away(place, taken)
    wait_for(lambda: files(server.url, "demo").keys() == packages.keys() - set(taken), "their end")
    assert metric(server.url, "pypiserver_store_lost_files") == 0


def test_what_is_meant_to_go_is_removed_through_the_registry(place: Place) -> None:
    """Also when it is gone already, and by somebody who leaves nothing."""
    server, packages = filled(place, 3, ALLOW_REMOVAL="yes")
    take_away(place, packages)
    wait_for(lambda: metric(server.url, "pypiserver_store_lost_files") == 3, "the metric")
    for number in (1, 2, 3):
        form = {":action": "remove_pkg", "name": "demo", "version": f"{number}.0"}
        wait_for(
            lambda form=form: requests.post(server.url, data=form, timeout=PATIENCE).ok,  # type: ignore[misc]
            "its end",
        )
    assert not files(server.url, "demo")
    wait_for(lambda: metric(server.url, "pypiserver_store_lost_files") == 0, "the metric")
    server.kill()
    assert not files(place.start("second").url, "demo")


def test_a_place_that_is_another_now_takes_nothing_and_empties_no_index(place: Place) -> None:
    server = place.start()
    assert upload(server.url, NAME, CONTENT).ok
    identity = place.hand.read(".pypiserver/volume", 100)
    catalogue = place.hand.names(".pypiserver/catalogue")
    contents = {found.path: place.hand.read(found.path, 10_000) for found in catalogue.values()}
    place.hand.write(".pypiserver/volume", b"another\n")
    for path in contents:
        place.hand.remove(path)
    wait_for(lambda: metric(server.url, "pypiserver_store_answers") == 0, "the metric")
    assert upload(server.url, OTHER, LATER).status_code == 503
    assert files(server.url, "demo").keys() == {NAME}
    assert requests.get(f"{server.url}/-/ready", timeout=PATIENCE).ok
    for path, content in {**contents, ".pypiserver/volume": identity}.items():
        place.hand.write(path, content)
    wait_for(lambda: upload(server.url, OTHER, LATER).ok, "an upload")


def test_another_server_that_writes_ends_this_ones_writing(place: Place) -> None:
    """As when a lost node comes back; reads go on, and it follows what the other does."""
    first, second = place.start("first"), place.start("second")
    assert upload(second.url, NAME, CONTENT).ok
    answer = upload(first.url, OTHER, LATER)
    assert (answer.status_code, "writes here now" in answer.text) == (503, True)
    wait_for(lambda: metric(first.url, "pypiserver_store_fenced") == 1, "the metric")
    third, content = wheel("demo", "3.0")
    answer = upload(first.url, third, content)
    assert (answer.status_code, "writes here now" in answer.text) == (503, True)
    assert not (place.folder / third).exists()
    wait_for(lambda: files(first.url, "demo").keys() == {NAME}, "what the other published")
    assert upload(second.url, OTHER, LATER).ok
    wait_for(lambda: files(first.url, "demo") == files(second.url, "demo"), "what the other published")


def test_what_another_server_is_about_to_publish_is_not_listed(place: Place) -> None:
    server = place.start()
    record = b'{"sha256": ["00"], "begun": 1e12}'
    place.hand.write(f".pypiserver/unfinished/{OTHER}", record)
    place.hand.write(OTHER, LATER)
    for _ in range(2):
        surveyed(server.url)
    assert not files(server.url, "demo")
    server.kill()
    # Nobody was told of it: another file of this name can be published.
    place.hand.write(f".pypiserver/unfinished/{OTHER}", record.replace(b"00", sha256(LATER).encode()))
    second = place.start("second")
    another = wheel("demo", "2.0", b"another")[1]
    assert upload(second.url, OTHER, another).ok
    assert files(second.url, "demo")[OTHER]["hashes"]["sha256"] == sha256(another)
