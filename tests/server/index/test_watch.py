from __future__ import annotations

import dataclasses
import errno
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import webtest

from programs import wait_for
from server.http.negotiation import JSON
from server.index.listing import Change, Listing
from server.index.watch import Watch
from server.index.yanks import Yanks
from server.pod import application, start
from server.publish.methods import publisher
from server.volume.content import Stamp
from server.volume.durable import UNFINISHED
from server.volume.own_files import OwnFiles
from server.volume.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from server.pod.settings import Settings


class Watched:
    def __init__(self, settings: Settings) -> None:
        self.root = settings.packages_directory
        self.listing = Listing()
        self.changes: list[Change] = []
        self.problems = Problems()
        yanks = Yanks(OwnFiles(self.root, "yanked", in_place=False), self.changes.append, self.problems)
        publishing = publisher(settings.publish_method, self.root)
        self.watch = Watch(
            self.root,
            self.listing,
            (yanks,),
            self.changes.append,
            self.problems,
            verify=lambda: None,
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


def failing_below(monkeypatch: pytest.MonkeyPatch, directory: Path, number: int) -> None:
    """Let a directory fail."""
    real = os.scandir

    def scandir(path: str | os.PathLike[str]) -> object:
        if Path(path) == directory:
            raise OSError(number, os.strerror(number))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_directory_that_cannot_be_read_costs_nothing_that_was_listed_and_one_line(
    settings: Settings, watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    before = watched.paths()
    (watched.root / "late-1.0.tar.gz").touch()
    failing_below(monkeypatch, watched.root / "sub", number)
    for _ in range(3):
        watched.watch.rescan()
        watched.watch.look()
    assert watched.paths() == sorted([*before, "late-1.0.tar.gz"])
    assert watched.problems.of("sub") == {"sub": os.strerror(number)}
    assert watched.problems.count() == 1
    assert caplog.text.count("'sub' on the package volume is left out") == 1
    # Somebody who starts then does not know what is in it.
    assert Watched(settings).paths() == ["a-1.0.tar.gz", "late-1.0.tar.gz"]
    monkeypatch.undo()
    watched.watch.rescan()
    assert watched.problems.count() == 0


def test_lost_and_found_is_no_problem(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    (watched.root / "lost+found").mkdir()
    failing_below(monkeypatch, watched.root / "lost+found", errno.EACCES)
    watched.watch.rescan()
    assert watched.problems.count() == 0


def spoil(root: Path) -> set[str]:
    """Put everything onto a volume that somebody could; return the entries that cannot be read."""
    own = root / ".pypiserver"
    (root / "loop-1.0.tar.gz").symlink_to("loop-1.0.tar.gz")
    (root / "dangling-1.0.tar.gz").symlink_to("nowhere")
    (root / "long-1.0.tar.gz").symlink_to("x" * 300)
    (root / "below-1.0.tar.gz").symlink_to("README/below")
    (root / "directory-1.0.tar.gz").mkdir()
    os.mkfifo(root / "pipe-1.0.tar.gz")
    socket.socket(socket.AF_UNIX).bind(str(root / "s-1.0.zip"))
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff-1.0.tar.gz"))).touch()
    (Path(os.fsdecode(os.fsencode(root) + b"/\xfe"))).mkdir()
    for directory in ("yanked", "unfinished", "facts-1", "provenance"):
        (own / directory / "x@1.0").mkdir(parents=True)
        os.mkfifo(own / directory / "pipe@1.0")
        (own / directory / "loop@1.0").symlink_to("loop@1.0")
    (own / "unfinished/a-1.0.tar.gz").mkdir()
    (own / "facts-1/a.json").mkdir()
    os.mkfifo(own / "facts-1/b.json")
    # One that leads to a file is no better: the gateway would not send it.
    (root / "elsewhere-1.0.tar.gz").symlink_to("/etc/hostname")
    # The gateway has no address for these, or none for a page that lists them.
    (root / "of a team").mkdir()
    unreachable = {"of a team/a-2.0.tar.gz", "a-1.0 (1).tar.gz", "\xe4-1.0.zip", "a+b-1.0.zip", "-1.0.zip"}
    for path in unreachable:
        (root / path).touch()
    return unreachable | {
        "dangling-1.0.tar.gz",
        "elsewhere-1.0.tar.gz",
        "loop-1.0.tar.gz",
        "long-1.0.tar.gz",
        "below-1.0.tar.gz",
        "pipe-1.0.tar.gz",
        "s-1.0.zip",
        "\udcff-1.0.tar.gz",
        "\udcfe",
        ".pypiserver/yanked/x@1.0",
        ".pypiserver/yanked/pipe@1.0",
        ".pypiserver/yanked/loop@1.0",
    }


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("method", ["link", "direct"])
def test_what_cannot_be_read_costs_itself(settings: Settings, caplog: pytest.LogCaptureFixture, method: str) -> None:
    settings = dataclasses.replace(settings, publish_method=method)
    root = settings.packages_directory
    (root / "README").touch()
    for name in ("a-1.0.tar.gz", "b-1.0.tar.gz"):
        (root / name).write_bytes(b"content")
    spoiled = spoil(root)
    start.check(dataclasses.replace(settings, initial_password=True))
    start.become_writer(settings)
    app = webtest.TestApp(application.create(settings))
    assert app.get("/-/ready").text == "ready\n"
    for page in ("/simple/a/", "/simple/b/"):
        assert "1.0.tar.gz#sha256=" in app.get(page).text
    assert app.get("/simple/").text.count("<a ") == 2
    assert app.get("/packages/").text.count("<a ") == 2
    assert f"pypiserver_volume_problems {len(spoiled)}\n" in app.get("/-/metrics").text
    for path in spoiled:
        assert caplog.text.count(ascii(path)) == 1
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "c-1.0.tar.gz", b"content")])
    app.post("/", {":action": "yank", "name": "c", "version": "1.0"})
    assert "data-yanked" in app.get("/simple/c/").text
    # A record without its reason still says the main thing.
    assert "data-yanked" not in app.get("/simple/a/").text


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("method", ["link", "direct"])
@pytest.mark.parametrize("entry", [".pypiserver", ".pypiserver/unfinished", ".pypiserver/yanked", ".pypiserver/claims"])
def test_a_file_where_a_directory_of_the_server_should_be(settings: Settings, method: str, entry: str) -> None:
    settings = dataclasses.replace(settings, publish_method=method, writers="many")
    path = settings.packages_directory / entry
    path.parent.mkdir(exist_ok=True)
    path.write_text("no directory")
    (settings.packages_directory / "a-1.0.tar.gz").write_bytes(b"content")
    publisher(method, settings.packages_directory).check()
    app = webtest.TestApp(application.create(settings))
    assert app.get("/-/ready").text == "ready\n"
    assert "a-1.0.tar.gz#sha256=" in app.get("/simple/a/").text
    file = [("content", "b-1.0.tar.gz", b"content")]
    uploaded = app.post("/", {":action": "file_upload"}, upload_files=file, expect_errors=True)
    assert uploaded.status_int == (200 if entry == ".pypiserver/yanked" else 503)
    yanked = app.post("/", {":action": "yank", "name": "a", "version": "1.0"}, expect_errors=True)
    assert yanked.status_int == (
        200 if entry == ".pypiserver/claims" or (method, entry) == ("direct", ".pypiserver/unfinished") else 503
    )


def test_a_tree_of_any_depth_is_listed(watched: Watched) -> None:
    # Nearly as deep as a path may be long.
    path = str(watched.root)
    for _ in range(1500):
        path += "/d"
        os.mkdir(path)  # noqa: PTH102 - pathlib takes a path of such a depth apart
    Path(path, "deep-1.0.tar.gz").touch()
    try:
        watched.watch.rescan()
        assert "deep-1.0.tar.gz" in {entry.name for entry in watched.listing}
    finally:
        # pytest could not.
        subprocess.run(["rm", "-r", str(watched.root / "d")], check=True)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("accept", ["text/html", JSON])
def test_a_file_that_cannot_be_read_is_left_out_of_its_page_until_it_can(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    """Nobody could install it, and a lock without its digest would hold for nothing."""
    for name in ("a-1.0.tar.gz", "a-2.0.tar.gz"):
        (settings.packages_directory / name).write_bytes(b"content")
    app = webtest.TestApp(application.create(settings))
    real = Path.open

    def open_(path: Path, *args: object, **named: object) -> object:
        if path.name == "a-2.0.tar.gz":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", open_)
    for _ in range(2):
        page = app.get("/simple/a/", headers={"Accept": accept}).text
        assert "a-1.0.tar.gz" in page
        assert "a-2.0.tar.gz" not in page
    assert "pypiserver_volume_problems 1\n" in app.get("/-/metrics").text
    monkeypatch.undo()
    assert "a-2.0.tar.gz" in app.get("/simple/a/", headers={"Accept": accept}).text
    assert "pypiserver_volume_problems 0\n" in app.get("/-/metrics").text


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("number", [errno.EROFS, errno.EPERM, errno.EIO])
@pytest.mark.parametrize("method", ["link", "direct"])
def test_what_is_left_of_an_upload_keeps_no_server_from_starting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, method: str, number: int
) -> None:
    directory = settings.packages_directory / UNFINISHED
    directory.mkdir(parents=True)
    for path in (directory / "half-1.0.tar.gz", settings.packages_directory / "half-1.0.tar.gz"):
        path.write_text("unfinished")

    real = os.unlink

    def unlink(path: str | Path, **named: int) -> None:
        if Path(path).is_relative_to(settings.packages_directory):
            raise OSError(number, os.strerror(number))
        real(path, **named)

    monkeypatch.setattr(os, "unlink", unlink)
    app = webtest.TestApp(application.create(dataclasses.replace(settings, publish_method=method)))
    assert app.get("/-/ready").text == "ready\n"
    # Where it has its name already, its marker goes on to hide it.
    assert ("half" in app.get("/simple/").text) == (method == "link")


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
