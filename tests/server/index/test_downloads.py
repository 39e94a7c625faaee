from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.volume.health import Volume

if TYPE_CHECKING:
    import webtest

    from server.pod.settings import Settings

PATH = "/packages/sent-1.0.tar.gz"
CONTENT = bytes(range(256)) * 9_000


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is the matter with the volume."""
    found: list[str] = []
    monkeypatch.setattr(Volume, "problem", lambda _: found[0] if found else None)
    return found


@pytest.fixture
def stored(problems: list[str], app: webtest.TestApp) -> webtest.TestApp:
    """A registry with a file."""
    assert not problems
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "sent-1.0.tar.gz", CONTENT)])
    return app


def broken(*_: object) -> None:
    raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def test_a_file_is_sent_whole_in_parts_or_not_at_all(stored: webtest.TestApp) -> None:
    whole = stored.get(PATH)
    assert whole.body == CONTENT
    assert whole.content_length == len(CONTENT)
    part = stored.get(PATH, headers={"Range": "bytes=100-2000099"}, status=206)
    assert part.body == CONTENT[100:2_000_100]
    assert stored.get(PATH, headers={"If-Modified-Since": whole.headers["Last-Modified"]}, status=304).body == b""
    head = stored.head(PATH)
    assert (head.content_length, head.body) == (len(CONTENT), b"")


def test_nobody_waits_for_a_volume_that_is_away(stored: webtest.TestApp, problems: list[str]) -> None:
    problems.append("The package volume has not answered for 7 s")
    refused = stored.get(PATH, status=503)
    assert refused.status == "503 The package volume has not answered for 7 s"
    assert refused.headers["Retry-After"] == "5"
    problems.clear()
    assert stored.get(PATH).body == CONTENT


@pytest.mark.parametrize("call", ["os.lstat", "builtins.open"])
def test_a_volume_that_fails_has_not_lost_the_file(
    stored: webtest.TestApp, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(call, broken)
    refused = stored.get(PATH, status=503)
    monkeypatch.undo()
    assert refused.status == "503 The package volume failed: Transport endpoint is not connected"
    assert stored.get(PATH).body == CONTENT


def test_a_file_that_cannot_be_read_is_an_error_before_the_first_byte(
    stored: webtest.TestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Opens, and cannot be read.
    with Path("/proc/self/mem").open("rb") as unreadable:
        monkeypatch.setattr("builtins.open", lambda *_: unreadable)
        refused = stored.get(PATH, status=503)
    assert refused.status == "503 The package volume failed: Input/output error"


def test_what_somebody_has_put_in_its_place_is_not_sent(
    stored: webtest.TestApp, settings: Settings, tmp_path: Path
) -> None:
    """As by the gateway: a link could lead to any file of the container."""
    file = settings.packages_directory / "sent-1.0.tar.gz"
    (tmp_path / "secret").write_text("secret")
    file.unlink()
    file.symlink_to(tmp_path / "secret")
    for headers in ({}, {"Range": "bytes=0-2"}):
        assert "secret" not in stored.get(PATH, headers=headers, status=404)
    file.unlink()
    os.mkfifo(file)
    stored.get(PATH, status=404)


def test_a_file_that_somebody_has_removed_is_not_there(stored: webtest.TestApp, settings: Settings) -> None:
    (settings.packages_directory / "sent-1.0.tar.gz").unlink()
    stored.get(PATH, status=404)
