from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from programs import wait_for
from server.index.listing import Change, Listing
from server.index.watch import Watch
from server.index.yanks import Yanks
from server.publish.methods import publisher
from server.volume.content import Stamp
from server.volume.durable import UNFINISHED
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from server.pod.settings import Settings


class Watched:
    def __init__(self, settings: Settings) -> None:
        self.root = settings.packages_directory
        self.listing = Listing()
        self.changes: list[Change] = []
        yanks = Yanks(OwnFiles(self.root, "yanked", in_place=False), self.changes.append)
        publishing = publisher(settings.publish_method, self.root)
        self.watch = Watch(
            self.root,
            self.listing,
            (yanks,),
            self.changes.append,
            unfinished=publishing.unfinished,
            times_tell=settings.publish_method == "link",
            rescan_seconds=settings.rescan_seconds,
        )
        self.watch.rescan()

    def paths(self) -> list[str]:
        return sorted(entry.path for entry in self.listing)


@pytest.fixture
def watched(settings: Settings) -> Watched:
    (settings.packages_directory / "sub/below").mkdir(parents=True)
    for path in ("a-1.0.tar.gz", "sub/b-1.0.tar.gz", "sub/below/c-1.0.tar.gz", "README", ".hidden-1.0.tar.gz"):
        (settings.packages_directory / path).write_bytes(b"content")
    (settings.packages_directory / ".pypiserver").mkdir()
    (settings.packages_directory / ".pypiserver/d-1.0.tar.gz").touch()
    return Watched(settings)


def test_the_first_scan_lists_the_whole_tree(watched: Watched) -> None:
    assert watched.paths() == ["a-1.0.tar.gz", "sub/b-1.0.tar.gz", "sub/below/c-1.0.tar.gz"]
    entry = watched.listing.at("a-1.0.tar.gz")
    assert entry
    assert entry.stamp == Stamp(7, (watched.root / "a-1.0.tar.gz").stat().st_mtime_ns)


def test_a_look_finds_what_is_new_and_what_is_gone(watched: Watched) -> None:
    watched.changes.clear()
    (watched.root / "e-1.0.tar.gz").touch()
    (watched.root / "new").mkdir()
    (watched.root / "new/f-1.0.tar.gz").touch()
    (watched.root / "sub/b-1.0.tar.gz").unlink()
    watched.watch.look()
    assert watched.paths() == ["a-1.0.tar.gz", "e-1.0.tar.gz", "new/f-1.0.tar.gz", "sub/below/c-1.0.tar.gz"]
    assert {project for change in watched.changes for project in change.projects} == set("efb")
    (watched.root / "new/f-1.0.tar.gz").unlink()
    (watched.root / "new").rmdir()
    watched.watch.look()
    assert watched.paths() == ["a-1.0.tar.gz", "e-1.0.tar.gz", "sub/below/c-1.0.tar.gz"]
    watched.changes.clear()
    watched.watch.look()
    watched.watch.rescan()
    assert watched.changes == []


def test_a_directory_that_has_been_quiet_is_not_listed_again(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    for directory in (".", "sub", "sub/below"):
        os.utime(watched.root / directory, (1, 1))
    watched.watch.rescan()
    monkeypatch.setattr(os, "scandir", lambda _: pytest.fail("listed"))
    watched.watch.look()


def test_a_rescan_finds_other_content_under_the_same_name(watched: Watched) -> None:
    entry = watched.listing.at("a-1.0.tar.gz")
    assert entry
    entry.digest = "sha256=old"
    watched.changes.clear()
    (watched.root / "a-1.0.tar.gz").write_bytes(b"something else")
    watched.watch.rescan()
    replaced = watched.listing.at("a-1.0.tar.gz")
    assert replaced
    assert replaced.digest is None
    assert watched.changes == [Change(frozenset("a"), names=False)]


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.EIO, errno.ESTALE])
def test_a_dead_mount_keeps_the_last_listing(watched: Watched, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    before = watched.paths()

    def dead(*_: object) -> Iterator[None]:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "scandir", dead)
    watched.changes.clear()
    with pytest.raises(OSError, match=os.strerror(number)):
        watched.watch.rescan()
    with pytest.raises(OSError, match=os.strerror(number)):
        watched.watch.look()
    assert watched.paths() == before
    assert watched.changes == []


def test_the_thread_says_that_the_mount_is_dead_and_goes_on(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.index.watch.PAUSE_SECONDS", 0.01)
    real = os.scandir

    def dead(*_: object) -> Iterator[None]:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "scandir", dead)
    watched.watch.start()
    wait_for(watched.watch.problem, "the problem to be said")
    assert watched.watch.problem() == "The package volume cannot be listed: Transport endpoint is not connected"
    monkeypatch.setattr(os, "scandir", real)
    (watched.root / "late-1.0.tar.gz").touch()
    wait_for(lambda: watched.listing.at("late-1.0.tar.gz"), "the thread to list again")
    wait_for(lambda: watched.watch.problem() is None, "the problem to be over")


def test_a_directory_that_may_not_be_read_is_left_out(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """lost+found, on a volume with a file system of its own."""
    real = os.scandir

    def scandir(path: str | os.PathLike[str]) -> object:
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    watched.watch.rescan()
    assert watched.paths() == ["a-1.0.tar.gz"]


def test_what_is_published_during_a_walk_stays(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        entries = list(real(path))
        if path == watched.root:
            watched.listing.add("", "e-1.0.tar.gz", Stamp(1, 1))
            watched.listing.remove("a-1.0.tar.gz")
        return _Entries(entries)

    monkeypatch.setattr(os, "scandir", scandir)
    watched.watch.rescan()
    assert watched.listing.at("e-1.0.tar.gz")
    assert not watched.listing.at("a-1.0.tar.gz")


def test_a_file_with_a_marker_is_not_listed(settings: Settings) -> None:
    watched = Watched(dataclasses.replace(settings, publish_method="direct"))
    directory = watched.root / UNFINISHED
    directory.mkdir(parents=True)
    for name in ("half-1.0.tar.gz", "whole-1.0.tar.gz"):
        (watched.root / name).touch()
    (directory / "half-1.0.tar.gz").touch()
    watched.watch.rescan()
    assert watched.paths() == ["whole-1.0.tar.gz"]
    (directory / "half-1.0.tar.gz").write_text("complete")
    watched.watch.rescan()
    assert watched.paths() == ["half-1.0.tar.gz", "whole-1.0.tar.gz"]


class _Entries(list[os.DirEntry[str]]):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
