from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.http.bottle import HTTPError
from server.index.digests import Digests
from server.index.listing import Listing
from server.volume.content import Stamp
from server.volume.problems import CONTENTS, Problems

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry

BODY = b"content"
SHA256 = hashlib.sha256(BODY).hexdigest()


def listed(name: str = "a-1.0.tar.gz") -> Entry:
    listing = Listing()
    listing.add("", name, Stamp(0, 0))
    entry = listing.at(name)
    assert entry
    return entry


def know(entry: Entry, stamp: Stamp, digest: str) -> None:
    entry.stamp, entry.digest = stamp, digest


def none() -> None:
    return None


def test_a_file_is_read_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = listed()
    (tmp_path / entry.name).write_bytes(BODY)
    opened: list[Path] = []
    enough = threading.Event()
    real = Path.open

    def slow(self: Path, *args: object, **named: object) -> object:
        opened.append(self)
        enough.wait()
        return real(self, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", slow)
    digests = Digests(tmp_path, none, know)
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(digests.of(entry))) for _ in range(8)]
    for thread in threads:
        thread.start()
    enough.set()
    for thread in threads:
        thread.join()
    assert found == [f"sha256={SHA256}"] * 8
    assert len(opened) == 1
    assert entry.stamp.size == len(BODY)


def test_a_file_that_is_gone_has_no_digest(tmp_path: Path) -> None:
    assert Digests(tmp_path, none, know).of(listed()) is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/hostname"), os.mkdir])
def test_what_somebody_has_put_in_its_place_has_none(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A pipe would hold its reader up for ever, and a link could lead to any file of the container."""
    make(tmp_path / "a-1.0.tar.gz")
    problems = Problems()
    assert Digests(tmp_path, none, know, problems=problems).of(listed()) is None
    assert problems.of(CONTENTS) == {"a-1.0.tar.gz": "It is no file"}


def test_a_volume_that_fails_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = listed()
    (tmp_path / entry.name).touch()
    with pytest.raises(HTTPError) as refused:
        Digests(tmp_path, lambda: "it hangs", know).of(entry)
    assert (refused.value.status_code, refused.value.body) == (503, "it hangs")

    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", broken)
    # It is that file alone.
    problems = Problems()
    assert Digests(tmp_path, none, know, problems=problems).of(entry) is None
    assert problems.of(CONTENTS) == {"a-1.0.tar.gz": "Input/output error"}
    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(HTTPError) as refused:
        Digests(tmp_path, none, know).of(entry)
    assert refused.value.body == "a-1.0.tar.gz cannot be read: Input/output error"
    entry.digest = "sha256=known"
    assert Digests(tmp_path, lambda: "it hangs", know).of(entry) == "sha256=known"
