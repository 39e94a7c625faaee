from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from programs import Server, wait_for
from remote_volume import ALL, kill, mounted
from server.volume.replacement import BYTES, FILE, LOOKS, Replacement

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "dead-mount"
    made.mkdir()
    return made


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "packages"
    made.mkdir()
    return made


def test_a_dead_mount_is_seen_some_times_before_another_pod_is_asked_for(directory: Path, volume: Path) -> None:
    replacement = Replacement(volume, directory)
    with mounted(volume, {"a-1.0.tar.gz": b"a"}):
        replacement.look()
        kill(volume)
        for _ in range(LOOKS - 1):
            replacement.look()
        assert not list(directory.iterdir())
        replacement.look()
        written = (directory / FILE).stat()
        # More than the volume may hold, on a disk that counts blocks.
        assert (written.st_size, written.st_blocks * 512 >= BYTES) == (BYTES, True)
        replacement.look()
        assert (directory / FILE).stat().st_mtime_ns == written.st_mtime_ns


def test_a_volume_that_refuses_or_is_gone_is_waited_for(directory: Path, volume: Path) -> None:
    replacement = Replacement(volume, directory)
    # The file system of the test knows no statfs, and says so.
    with mounted(volume, {"a-1.0.tar.gz": b"a"}):
        for _ in range(2 * LOOKS):
            replacement.look()
    volume.rmdir()
    for _ in range(2 * LOOKS):
        replacement.look()
    assert not list(directory.iterdir())


def test_one_that_hangs_is_waited_for_and_keeps_no_end_from_coming(directory: Path, volume: Path) -> None:
    with mounted(volume, {"a-1.0.tar.gz": b"a"}) as remote:
        remote.hang(ALL)
        Replacement(volume, directory).before_the_end()
        assert not list(directory.iterdir())


def test_who_ends_on_a_dead_mount_asks_at_once(directory: Path, volume: Path) -> None:
    with mounted(volume, {"a-1.0.tar.gz": b"a"}):
        kill(volume)
        Replacement(volume, directory).before_the_end()
        assert (directory / FILE).exists()


def test_nothing_is_asked_without_a_directory_nor_where_it_is_full(
    tmp_path: Path, volume: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(volume, {"a-1.0.tar.gz": b"a"}):
        kill(volume)
        Replacement(volume, None).before_the_end()
        assert not caplog.text
        # No such directory, as where a disk takes nothing more.
        Replacement(volume, tmp_path / "missing").before_the_end()
    assert "cannot be asked" in caplog.text


def test_a_server_asks_while_it_runs_and_when_it_cannot_start(tmp_path: Path, directory: Path) -> None:
    server = Server(tmp_path / "server", {"REPLACEMENT_DIRECTORY": str(directory)})
    with mounted(server.packages, {"a-1.0.tar.gz": b"a"}), server:
        assert not list(directory.iterdir())
        kill(server.packages)
        wait_for((directory / FILE).exists, "the question")
        server.kill()
        (directory / FILE).unlink()
        assert server.launch().wait() == 1
        assert (directory / FILE).exists()
    assert "the kubelet is asked for another pod" in server.log
