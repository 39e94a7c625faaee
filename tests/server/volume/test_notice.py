from __future__ import annotations

import os
from typing import TYPE_CHECKING

from programs import Server, upload, wait_for
from remote_volume import READ, mounted
from server.volume import marker
from server.volume.notice import FILE, Notice

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_is_there_while_the_volume_is_away(tmp_path: Path) -> None:
    reasons: list[str] = []
    notice = Notice(tmp_path, lambda: reasons[0] if reasons else None)
    notice.look()
    assert not list(tmp_path.iterdir())
    reasons.append("The package volume has not answered for 3 s")
    notice.look()
    reasons[0] = "The package volume has not answered for 4 s"
    notice.look()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_text() == "The package volume has not answered for 3 s\n"
    reasons.clear()
    notice.look()
    assert not list(tmp_path.iterdir())


def test_one_that_cannot_be_written_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "run"
    Notice(directory, lambda: "It hangs").start()
    wait_for(lambda: "cannot be told" in caplog.text, "the first failure")
    directory.mkdir()
    wait_for((directory / FILE).exists, "the notice")
    assert caplog.text.count("cannot be told") == 1


def test_a_server_gives_notice_of_another_volume_and_takes_it_back(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        notice = server.pages.parent / FILE
        assert upload(server.url, "a-1.0.tar.gz", user=("publisher", "publisher-password")).ok
        server.packages.rename(tmp_path / "aside")
        server.packages.mkdir()
        wait_for(notice.exists, "the notice")
        assert "It is not there" in notice.read_text()
        server.stop()
        notice.unlink()
        # One that cannot start says so too.
        assert server.launch().wait() == 1
        assert "It is not there" in notice.read_text()
        server.packages.rmdir()
        (tmp_path / "aside").rename(server.packages)
        server.start()
        wait_for(lambda: not notice.exists(), "the end of it")


def test_a_disk_is_missed_though_the_memory_of_the_kernel_answers(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    environment = {"PACKAGES_DIRECTORY": str(remote), "READY_TIMEOUT_SECONDS": "0.5"}
    with (
        mounted(remote, {"a-1.0.tar.gz": os.urandom(100), marker.FILE: b"identity"}) as volume,
        Server(tmp_path / "server", environment) as server,
    ):
        assert (remote / marker.FILE).read_bytes() == b"identity"
        volume.hang({READ})
        assert (remote / marker.FILE).read_bytes() == b"identity"
        wait_for((server.pages.parent / FILE).exists, "the notice")
        volume.come_back()
        wait_for(lambda: not (server.pages.parent / FILE).exists(), "the end of it")
