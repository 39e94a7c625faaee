"""A volume for one pod, and a second pod."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, Server, wait_for
from server.volume.lock import FILE, VolumeLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Server]


def _second(first: Server, **environment: str) -> Server:
    return Server(first.directory.parent / "second", {"PACKAGES_DIRECTORY": str(first.packages), **environment})


def _answers(server: Server) -> bool:
    return requests.get(f"{server.url}/health", timeout=PATIENCE).ok


def test_a_second_pod_ends_with_the_reason(serve: Serve) -> None:
    first = serve("first")
    second = _second(first, VOLUME_WAIT_SECONDS="1")
    assert second.launch().wait(PATIENCE) == 1
    assert "another pod has used the package volume for 1 s" in second.log
    assert "set the replicas to 1" in second.log
    assert "Traceback" not in second.log
    assert _answers(first)


def test_it_takes_nothing_away_while_it_waits(serve: Serve) -> None:
    first = serve("first")
    unfinished = first.packages / ".pypiserver/unfinished/upload"
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(b"half")
    assert _second(first, VOLUME_WAIT_SECONDS="1").launch().wait(PATIENCE) == 1
    assert unfinished.read_bytes() == b"half"


@pytest.mark.parametrize("how", ["told to end", "killed"])
def test_it_starts_once_the_first_is_told_to_end_or_is_gone(how: str, serve: Serve) -> None:
    first = serve("first")
    second = _second(first)
    second.launch()
    try:
        wait_for((first.packages / FILE).exists, "the lock")
        if how == "killed":
            first.kill()
        else:
            (first.pages.parent / "stopping").touch()
        wait_for(lambda: "Listening" in second.log, "the second")
        # Requests that it has accepted are answered still.
        assert how == "killed" or _answers(first)
    finally:
        second.kill()


def test_pods_on_a_volume_for_many_do_not_wait(serve: Serve) -> None:
    first = serve("first", WRITERS="many")
    second = serve("second", PACKAGES_DIRECTORY=str(first.packages), WRITERS="many", VOLUME_WAIT_SECONDS="1")
    assert _answers(first)
    assert _answers(second)


@pytest.mark.parametrize("in_the_way", ["a folder", "a file for the folder"])
def test_whatever_is_in_its_place_the_server_starts(in_the_way: str, tmp_path: Path) -> None:
    packages = tmp_path / "server/packages"
    if in_the_way == "a folder":
        (packages / FILE).mkdir(parents=True)
    else:
        packages.mkdir(parents=True)
        (packages / FILE).parent.write_text("")
    try:
        VolumeLock(packages).acquire(1)
    finally:
        assert packages.exists()


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_used_without(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", refuse)
    VolumeLock(tmp_path).acquire(0)


def test_an_interrupted_wait_is_gone_on_with(tmp_path: Path) -> None:
    first, second = VolumeLock(tmp_path), VolumeLock(tmp_path)
    first.acquire(0)
    first.release_when(tmp_path / "stopping")
    (tmp_path / "stopping").touch()
    second.acquire(PATIENCE)
