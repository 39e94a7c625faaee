from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import webtest

from server.index.listing import Change
from server.index.pages import Pages
from server.pod import application

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.pod.settings import Settings


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "pages"


def change(*projects: str, names: bool = False) -> Change:
    return Change(frozenset(projects), names)


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_the_directory_is_emptied_at_the_start(directory: Path) -> None:
    (directory / "projects").mkdir(parents=True)
    (directory / "projects/old.html").touch()
    (directory / "index.html").touch()
    Pages(directory)
    assert files(directory) == []


def test_a_page_is_kept_until_it_is_stale(directory: Path) -> None:
    pages = Pages(directory)
    for page in ("", "a", "b"):
        pages.keep(page, f"page {page}", 0)
    assert files(directory) == ["index.html", "projects/a.html", "projects/b.html"]
    assert (directory / "projects/a.html").read_text() == "page a"
    pages.drop(change("a"))
    assert files(directory) == ["index.html", "projects/b.html"]
    pages.drop(change("b", names=True))
    assert files(directory) == []


def test_a_page_begun_before_a_change_is_not_kept(directory: Path) -> None:
    pages = Pages(directory)
    pages.drop(change("a", names=True))
    pages.keep("a", "old", 0)
    pages.keep("", "old", 0)
    pages.keep("b", "as good as ever", 0)
    assert files(directory) == ["projects/b.html"]
    pages.keep("a", "new", 1)
    assert files(directory) == ["projects/a.html", "projects/b.html"]


def test_the_time_of_change_grows_by_whole_seconds(directory: Path) -> None:
    """nginx makes the ETag of it, in seconds, and of the size."""
    pages = Pages(directory)
    times = []
    for number in range(5):
        pages.keep("a", "page", number)
        times.append((directory / "projects/a.html").stat().st_mtime)
        pages.drop(change("a"))
    assert all(later >= earlier + 1 for earlier, later in itertools.pairwise(times))
    assert all(time == int(time) for time in times)
    pages.keep("a", "page", 5)
    ahead = (directory / "projects/a.html").stat().st_mtime
    again = Pages(directory)
    again.keep("a", "page", 0)
    assert (directory / "projects/a.html").stat().st_mtime > ahead


@pytest.mark.parametrize("name", ["a/../b", "A", "a b", ".", "a" * 201])
def test_a_name_that_is_none_makes_no_file(directory: Path, name: str) -> None:
    Pages(directory).keep(name, "page", 0)
    assert files(directory) == []


def test_a_page_that_cannot_be_kept_is_answered_all_the_same(
    app: webtest.TestApp, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "a-1.0.tar.gz", b"content")])
    monkeypatch.setattr(os, "utime", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert "a-1.0.tar.gz" in app.get("/simple/a/").text
    assert files(settings.pages_directory) == []


def test_only_pages_are_kept(app: webtest.TestApp, settings: Settings) -> None:
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "My.Pkg-1.0.tar.gz", b"content")])
    assert app.get("/simple/absent/", status=404).text == "Not Found (absent does not exist)\n"
    assert app.get("/simple/My.Pkg/", status=301).location.endswith("/simple/my-pkg/")
    assert files(settings.pages_directory) == []
    assert app.get("/simple/my-pkg/").body == (settings.pages_directory / "projects/my-pkg.html").read_bytes()
    assert app.get("/simple/").body == (settings.pages_directory / "index.html").read_bytes()
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "my_pkg-2.0.tar.gz", b"content")])
    assert files(settings.pages_directory) == ["index.html"]


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize(
    "call",
    [(Path, "write_bytes"), (Path, "mkdir"), (Path, "rename"), (os, "utime")],
    ids=lambda call: call[1],
)
def test_a_volume_of_pages_that_takes_none_harms_no_answer(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: tuple[object, str],
    number: int,
) -> None:
    (settings.packages_directory / "a-1.0.tar.gz").write_bytes(b"content")
    monkeypatch.setattr(*call, failing(number))
    app = webtest.TestApp(application.create(settings))
    for _ in range(3):
        assert "a-1.0.tar.gz#sha256=" in app.get("/simple/a/").text
        assert "a/" in app.get("/simple/").text
    assert files(settings.pages_directory) == []
    assert app.get("/-/ready").text == "ready\n"
    assert caplog.text.count("pages cannot be kept") == 1
    monkeypatch.undo()
    assert "a-1.0.tar.gz#sha256=" in app.get("/simple/a/").text
    assert files(settings.pages_directory) == ["projects/a.html"]


def test_a_stale_page_that_stays_is_told_until_it_is_gone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway would go on to serve it: nobody may be sent here."""
    pages = Pages(directory)
    pages.keep("a", "page", 0)
    assert pages.problem() is None
    monkeypatch.setattr(os, "unlink", failing(errno.EROFS))
    pages.drop(change("a"))
    assert pages.problem() == "Index pages that are stale cannot be removed"
    again = Pages(directory)
    assert again.problem() == "Index pages that are stale cannot be removed"
    monkeypatch.undo()
    assert pages.problem() is None
    assert again.problem() is None
    assert files(directory) == []


def test_no_more_pages_are_kept_than_the_volume_may_hold(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.index.pages.ROOM_FOR_PAGES", 3 * 4096)
    pages = Pages(directory)
    for page in "abcd":
        pages.keep(page, "page", 0)
    assert files(directory) == ["projects/a.html", "projects/b.html", "projects/c.html"]
    pages.keep("a", "p" * 4097, 0)
    assert (directory / "projects/a.html").read_text() == "page"
    pages.keep("a", "other", 0)
    assert (directory / "projects/a.html").read_text() == "other"
    pages.drop(change("b"))
    pages.keep("d", "page", 0)
    assert files(directory) == ["projects/a.html", "projects/c.html", "projects/d.html"]


def test_room_is_spared_for_other_pages(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.index.pages.ROOM_FOR_PAGES", 3 * 4096)
    pages = Pages(directory)
    for page in "abc":
        pages.keep(page, "page", 0, spared=4096)
    assert files(directory) == ["projects/a.html", "projects/b.html"]
    pages.keep("d", "page", 0)
    assert files(directory) == ["projects/a.html", "projects/b.html", "projects/d.html"]
