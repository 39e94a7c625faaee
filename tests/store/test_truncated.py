"""A store that keeps what it got of an upload that was cut off: nobody sees that, and the name is not lost for it."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, upload, wait_for
from remote_programs import RemoteStore
from store.test_survey import surveyed
from store_programs import Rclone, Way
from store_samples import files, sha256, wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from programs import Server
    from store_programs import Place

NAME, LARGE = wheel("demo", "2.0", os.urandom(6_000_000))
ANOTHER = wheel("demo", "2.0", os.urandom(7_000_000))[1]
SMALLER = wheel("demo", "2.0", b"by another build")[1]
SENT = 2_000_000
SETTINGS = {"STORE_PATH": "store:team/pypi"}
# rclone's WebDAV server, which is the store here, sometimes answers nothing more once connections to it were cut: it
# keeps what it gets and sends no response, until it is started anew.
pytestmark = pytest.mark.flaky(reruns=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "elsewhere/team/pypi"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def way(folder: Path) -> Iterator[Way]:
    """A WebDAV server, which has a file under its own name from its first byte on, and the way to it."""
    with RemoteStore("webdav", folder.parents[1], "--dir-cache-time", "0s") as store:
        way = Way(store.port)
        yield way
        way.close()


@pytest.fixture
def start(place: Place, way: Way, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    # Of this vendor rclone expects no hashes.
    options = {"type": "webdav", "vendor": "other", "url": f"http://127.0.0.1:{way.port}"}
    with Rclone(tmp_path, options) as rclone:
        yield lambda name: place.server(name, rclone, **SETTINGS).start()


def cut_off(server: Server, way: Way, folder: Path) -> None:
    """Leave half a file in the store: rclone cannot remove it, as nothing reaches the store any more."""
    way.be("slow", SENT)
    # The connections that there were are closed by that.
    wait_for(lambda: upload(server.url, *wheel("other", "1.0")).ok, "an upload")
    answers: list[requests.Response] = []
    threads: list[threading.Thread] = []

    def partly() -> bool:
        if any(0 < each.stat().st_size < len(LARGE) for each in folder.glob(f"{NAME}*")):
            return True
        if not threads or not threads[-1].is_alive():
            # A connection of before may have been tried, which is closed.
            answers.clear()
            threads.append(threading.Thread(target=lambda: answers.append(upload(server.url, NAME, LARGE))))
            threads[-1].start()
        return False

    wait_for(partly, "a part of the file")
    way.be("refused")
    threads[-1].join()
    assert [each.status_code for each in answers] == [503]
    wait_for((folder / NAME).exists, "what is left of it")
    assert 0 < (folder / NAME).stat().st_size < len(LARGE)
    way.be("open")


def left(folder: Path) -> None:
    """Have half a file there, and what says that it was begun, long ago."""
    record = {"sha256": [sha256(LARGE)], "begun": 0.0, "sizes": [len(LARGE)]}
    (folder / ".pypiserver/unfinished").mkdir(parents=True)
    (folder / ".pypiserver/unfinished" / NAME).write_text(json.dumps(record))
    (folder / NAME).write_bytes(LARGE[:SENT])


def published(server: Server, content: bytes) -> bool:
    """Whether the file could be published now; rclone may have to wait for what it had begun."""
    with suppress(requests.Timeout):
        answer = upload(server.url, NAME, content)
        assert answer.status_code in {200, 503}, answer.reason
        return answer.ok
    return False


def test_what_a_cut_leaves_is_not_listed_and_can_be_published_again(
    start: Callable[[str], Server], way: Way, folder: Path
) -> None:
    server = start("server")
    cut_off(server, way, folder)
    # One that was under way then waits for rclone first.
    surveyed(server.url, 3 * PATIENCE)
    assert files(server.url, "demo") == {}
    wait_for(lambda: published(server, LARGE), "an upload", 3 * PATIENCE)
    assert (folder / NAME).read_bytes() == LARGE
    assert files(server.url, "demo")[NAME]["hashes"]["sha256"] == sha256(LARGE)


@pytest.mark.parametrize("again", [ANOTHER, SMALLER], ids=["a larger one", "a smaller one"])
def test_another_file_of_its_name_can_be_published_too(
    start: Callable[[str], Server], folder: Path, again: bytes
) -> None:
    left(folder)
    server = start("server")
    assert published(server, again)
    assert (folder / NAME).read_bytes() == again
    surveyed(server.url, 3 * PATIENCE)
    assert files(server.url, "demo")[NAME]["hashes"]["sha256"] == sha256(again)


def test_half_a_file_that_nobody_publishes_again_is_told_of_and_never_listed(
    start: Callable[[str], Server], folder: Path
) -> None:
    left(folder)
    server = start("server")
    for _ in range(2):
        surveyed(server.url, 3 * PATIENCE)
    assert files(server.url, "demo") == {}
    assert server.log.count(f"{NAME} is shorter than what was begun to be published under this name") == 1
    assert (folder / NAME).stat().st_size == SENT
    assert published(server, LARGE)
    assert files(server.url, "demo")[NAME]["hashes"]["sha256"] == sha256(LARGE)


def test_a_shorter_file_that_was_there_before_is_nobodys_half(start: Callable[[str], Server], folder: Path) -> None:
    server = start("server")
    surveyed(server.url, 3 * PATIENCE)
    (folder / NAME).write_bytes(SMALLER)
    # Time and again: not even what a refused upload has said of itself makes it one.
    assert [upload(server.url, NAME, LARGE).status_code for _ in range(3)] == [409] * 3
    assert (folder / NAME).read_bytes() == SMALLER
    wait_for(lambda: NAME in files(server.url, "demo"), "the listing", 3 * PATIENCE)
    assert files(server.url, "demo")[NAME]["hashes"]["sha256"] == sha256(SMALLER)
