from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import pytest
import webtest

from programs import wait_for
from server.pod import application
from server.volume.health import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.pod.settings import Settings


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    monkeypatch.setattr("server.volume.health.PAUSE_SECONDS", 0.01)
    return Volume(tmp_path, lambda: None, 0.1)


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Makes the volume hang until the event is set."""
    released = threading.Event()
    real = os.scandir

    def scandir(path: Path) -> object:
        released.wait()
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    yield released
    released.set()


def test_a_volume_that_answers_is_no_problem(volume: Volume) -> None:
    volume.look()
    assert volume.problem() is None


def test_a_volume_that_fails_is_one(volume: Volume, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def dead(_: object) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(type(tmp_path), "stat", dead)
    volume.look()
    assert volume.problem() == "The package volume fails: Transport endpoint is not connected"
    monkeypatch.undo()
    volume.look()
    assert volume.problem() is None


def test_a_volume_that_hangs_is_one_until_it_answers(volume: Volume, hang: threading.Event) -> None:
    volume.start()
    wait_for(volume.problem, "the volume to be missed")
    assert str(volume.problem()).startswith("The package volume has not answered for ")
    hang.set()
    wait_for(lambda: volume.problem() is None, "the volume to be back")


@pytest.mark.usefixtures("quiet")
def test_readiness_says_why_and_health_does_not_care(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(Volume, "problem", lambda _: reasons[0] if reasons else None)
    app = webtest.TestApp(application.create(settings))
    file = [("content", "a-1.0.tar.gz", b"content")]
    app.post("/", {":action": "file_upload"}, upload_files=file)
    assert app.get("/-/ready").text == "ready\n"
    reasons.append("The package volume has not answered for 7 s")
    refused = app.get("/-/ready", status=503)
    assert refused.status == "503 The package volume has not answered for 7 s"
    assert refused.content_type == "text/plain"
    assert app.get("/health").text == "Ok"
    assert "a-1.0.tar.gz#sha256=" in app.get("/simple/a/").text
    file = [("content", "a-2.0.tar.gz", b"content")]
    assert app.post("/", {":action": "file_upload"}, upload_files=file, status=503).headers["Retry-After"] == "5"
