"""A writer and readers on one volume: who only reads leaves nothing there, and shows what the writer has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from gateway_programs import make_wheel
from programs import PATIENCE, Server, upload, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHER = ("publisher", "publisher-password")
METHODS = ["link", "direct"]
BOTH = {"READERS": "yes", "RESCAN_SECONDS": "0.1", "POLL_SECONDS": "0.1"}


def reader_of(writer: Server, **environment: str) -> Server:
    """A reader of a writer's volume."""
    own = {"PACKAGES_DIRECTORY": str(writer.packages), "ROLE": "reader", **BOTH}
    own["PUBLISH_METHOD"] = writer.environment["PUBLISH_METHOD"]
    return Server(writer.directory.parent / "reader", {**own, **environment})


@pytest.fixture(params=METHODS)
def writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "writer", {"PUBLISH_METHOD": request.param, **BOTH})
    yield server
    server.kill()


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    """All that is on a volume, and when it was changed."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def lists(server: Server, project: str, name: str) -> bool:
    answer = requests.get(f"{server.url}/simple/{project}/", timeout=PATIENCE)
    return answer.ok and f">{name}<" in answer.text


def test_a_reader_shows_what_the_writer_has_and_writes_nothing(writer: Server, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "demo", "1.0")
    with writer, reader_of(writer) as reader:
        assert upload(writer.url, wheel.name, wheel.read_bytes(), user=PUBLISHER).ok
        wait_for(lambda: lists(reader, "demo", wheel.name), "the reader to list it")
        # A writer keeps what it has read of a file.
        assert lists(writer, "demo", wheel.name)
        wait_for(lambda: list((writer.packages / ".pypiserver/facts-1").glob("*")), "what the writer keeps")
        writer.kill()
        put = make_wheel(writer.packages, "by_hand", "1.0")
        before = contents(writer.packages)
        wait_for(lambda: lists(reader, "by-hand", put.name), "what was put there by hand")
        url = f"{reader.url}/packages/{put.name}.metadata"
        assert "Name: by_hand" in requests.get(url, timeout=PATIENCE).text
        assert requests.get(f"{reader.url}/-/ready", timeout=PATIENCE).ok
        reader.stop()
        assert contents(writer.packages) == before


def test_a_reader_takes_no_upload(writer: Server) -> None:
    with writer, reader_of(writer) as reader:
        answer = upload(reader.url, "demo-1.0.tar.gz", b"x" * 1_000_000, user=PUBLISHER)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.reason == "This pod only reads; what is published goes to the writer"
        assert not list(writer.packages.glob("demo*"))


def test_a_reader_leaves_what_is_unfinished(writer: Server) -> None:
    with writer:
        # As of an upload that is on its way.
        unfinished = writer.packages / ".pypiserver/unfinished/half-1.0.tar.gz"
        unfinished.parent.mkdir(exist_ok=True)
        unfinished.write_bytes(b"unfinished")
        final = writer.packages / unfinished.name
        final.write_bytes(b"half")
        with reader_of(writer):
            assert unfinished.read_bytes() == b"unfinished"
            assert final.read_bytes() == b"half"


def test_a_reader_waits_for_the_first_writer(writer: Server) -> None:
    reader = reader_of(writer)
    process = reader.launch()
    try:
        wait_for(lambda: "No writer has begun with it" in reader.log, "the reader to say what it waits for")
        assert (reader.pages.parent / "volume-away").read_text().startswith("The package volume fails: No writer")
        assert process.poll() is None
        assert not list(writer.packages.rglob("*"))
        with writer:
            ready = f"{reader.url}/-/ready"
            wait_for(lambda: "Listening at" in reader.log, "the reader to listen")
            wait_for(lambda: requests.get(ready, timeout=PATIENCE).ok, "the reader to be ready")
            wait_for(lambda: not (reader.pages.parent / "volume-away").exists(), "the gateway to be told")
    finally:
        reader.kill()


def test_a_reader_without_a_writer_ends_with_the_reason(writer: Server) -> None:
    reader = reader_of(writer, VOLUME_WAIT_SECONDS="0.5")
    assert reader.launch().wait(PATIENCE) == 1
    assert "the package volume cannot be used: No writer has begun with it" in reader.log
    assert not list(writer.packages.rglob("*"))


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"WRITERS": "many"}, "ROLE is reader and WRITERS is many: where any pod may publish there are no readers"),
        ({"INITIAL_PASSWORD": "yes"}, "INITIAL_PASSWORD is yes and ROLE is reader: a reader writes nothing"),
    ],
)
def test_what_no_reader_can_be_does_not_start(environment: dict[str, str], reason: str, writer: Server) -> None:
    reader = reader_of(writer, **environment)
    assert reader.launch().wait(PATIENCE) == 1
    assert reason in reader.log
    assert not list(writer.packages.rglob("*"))
