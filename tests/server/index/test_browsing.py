from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING

import pytest
import webtest
from pypi_simple import ProjectPage

from gateway_programs import make_sdist, make_wheel
from programs import PATIENCE, wait_for
from server.http.bottle import HTTPError
from server.http.negotiation import JSON
from server.index import browsing, pages
from server.index.browsing import Browsing
from server.index.listing import Listing
from server.pod import application
from server.volume.content import Stamp
from server.volume.health import Volume

if TYPE_CHECKING:
    from server.pod.settings import Settings

HEADERS = {"Accept": JSON}
STAMP = Stamp(7, 7)


def publish(app: webtest.TestApp, *paths: Path) -> None:
    for path in paths:
        app.post("/", {":action": "file_upload"}, upload_files=[("content", path.name, path.read_bytes())])


def test_the_json_of_a_project(app: webtest.TestApp, settings: Settings, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "My.Pkg", "1.10", headers="Requires-Python: >=3.8\n")
    older, sdist = make_wheel(tmp_path, "my_pkg", "1.9.0+local_1"), make_sdist(tmp_path, "my_pkg", "1.9")
    publish(app, wheel, older, sdist)
    os.utime(settings.packages_directory / sdist.name, ns=(0, 1_700_000_000_123_456_789))
    answer = app.get("/simple/my-pkg/", headers=HEADERS)
    assert answer.content_type == JSON
    assert answer.headers["Vary"] == "Accept"
    assert answer.json["meta"] == {"api-version": "1.3"}
    assert answer.json["versions"] == ["1.9", "1.9.0+local.1", "1.10"]
    page = ProjectPage.from_json_data(answer.json, base_url="http://localhost/simple/my-pkg/")
    assert [file.filename for file in page.packages] == [sdist.name, older.name, wheel.name]
    last = page.packages[-1]
    assert last.url == f"http://localhost/packages/{wheel.name}"
    assert last.digests == {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert last.size == wheel.stat().st_size
    assert last.requires_python == ">=3.8"
    assert last.has_metadata
    assert not last.is_yanked
    assert last.upload_time
    assert last.upload_time.tzinfo
    metadata = app.get(f"/packages/{wheel.name}.metadata")
    assert last.metadata_digests == {"sha256": hashlib.sha256(metadata.body).hexdigest()}
    assert b"Requires-Python: >=3.8" in metadata.body


def test_the_html_of_a_project_says_what_the_json_says(app: webtest.TestApp, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "a", "1.10", headers="Requires-Python: >=3.8,<4\n")
    publish(app, wheel, make_sdist(tmp_path, "a", "1.9"))
    answer = app.get("/simple/a/")
    assert '<a href="../../packages/a-1.9.tar.gz#sha256=' in answer.text
    assert ' data-requires-python="&gt;=3.8,&lt;4"' in answer.text
    html = ProjectPage.from_html("a", answer.text, base_url="http://localhost/simple/a/").packages
    json = ProjectPage.from_json_data(
        app.get("/simple/a/", headers=HEADERS).json, "http://localhost/simple/a/"
    ).packages
    for field in ("filename", "url", "digests", "requires_python", "has_metadata", "metadata_digests", "is_yanked"):
        shown = [[getattr(file, field) or None for file in files] for files in (html, json)]
        assert shown[0] == shown[1], field


def test_what_pypiserver_has_beside_the_index(app: webtest.TestApp, tmp_path: Path) -> None:
    publish(app, make_wheel(tmp_path, "My.Pkg", "1.10"), make_sdist(tmp_path, "my_pkg", "1.9"))
    assert app.get("/packages/").text.count("#sha256=") == 2
    described = app.get("/my-pkg/json")
    assert described.content_type == "application/json"
    assert described.json["info"] == {"version": "1.10"}
    assert described.json["releases"]["1.9"] == [{"url": "http://localhost:80/packages/my_pkg-1.9.tar.gz"}]
    assert app.get("/My.Pkg/json", status=301).location == "http://localhost:80/my-pkg/json"
    assert app.get("/absent/json", status=404).text == "package absent not found\n"
    welcome = app.get("/").text
    assert "serving 2 packages" in welcome
    assert "--index-url http://localhost:80/simple/" in welcome
    assert app.get("/my-pkg", status=302).location == "http://localhost:80/simple/my-pkg/"


@pytest.mark.usefixtures("quiet")
def test_a_page_that_lacks_what_the_volume_cannot_be_asked_is_not_kept(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = []
    monkeypatch.setattr(Volume, "problem", lambda _: problems[0] if problems else None)
    # As of a file whose digest alone could be read before the volume was away.
    add = Listing.add
    monkeypatch.setattr(Listing, "add", lambda *arguments: add(*arguments[:5]))
    app = webtest.TestApp(application.create(settings))
    publish(app, make_wheel(tmp_path, "a", "1.0", headers="Requires-Python: >=3.8\n"))
    problems.append("The package volume has not answered for 7 s")
    for headers in ({}, HEADERS):
        answer = app.get("/simple/a/", headers=headers)
        assert "a-1.0-py3-none-any.whl" in answer.text
        assert "3.8" not in answer.text
    assert not list(settings.pages_directory.rglob("a.*"))
    problems.clear()
    assert "3.8" in app.get("/simple/a/").text
    assert list(settings.pages_directory.rglob("a.*"))


def test_upload_time_is_the_file_s_time_of_change(app: webtest.TestApp, settings: Settings) -> None:
    publish(app, make_sdist(settings.packages_directory.parent, "a", "1.0"))
    stamp = (settings.packages_directory / "a-1.0.tar.gz").stat().st_mtime_ns
    (file,) = app.get("/simple/a/", headers=HEADERS).json["files"]
    (parsed,) = ProjectPage.from_json_data(app.get("/simple/a/", headers=HEADERS).json).packages
    assert file["upload-time"].endswith("Z")
    assert parsed.upload_time
    assert round(parsed.upload_time.timestamp() * 10**6) == stamp // 1000
    assert "core-metadata" not in file
    assert file["size"] == (settings.packages_directory / "a-1.0.tar.gz").stat().st_size


@pytest.mark.parametrize("seconds", [10**12, -(10**11)])
@pytest.mark.usefixtures("quiet")
def test_a_time_that_no_calendar_has_is_left_out(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    # As of a file on a volume that keeps any time: few of those where tests run do.
    add = Listing.add
    stamps = {"a-1.0.tar.gz": Stamp(7, seconds * 10**9), "a-2.0.tar.gz": STAMP}
    monkeypatch.setattr(
        Listing, "add", lambda self, directory, name, _, *known: add(self, directory, name, stamps[name], *known)
    )
    app = webtest.TestApp(application.create(settings))
    publish(app, make_sdist(tmp_path, "a", "1.0"), make_sdist(tmp_path, "a", "2.0"))
    files = app.get("/simple/a/", headers=HEADERS).json["files"]
    assert ["upload-time" in file for file in files] == [False, True]


def test_the_json_of_the_index(app: webtest.TestApp, tmp_path: Path) -> None:
    assert app.get("/simple/", headers=HEADERS).json == {"meta": {"api-version": "1.3"}, "projects": []}
    publish(app, make_sdist(tmp_path, "b", "1.0"), make_sdist(tmp_path, "A.A", "1.0"))
    answer = app.get("/simple/", headers=HEADERS)
    assert answer.json["projects"] == [{"name": "a-a"}, {"name": "b"}]
    assert (answer.content_type, answer.headers["Vary"]) == (JSON, "Accept")


def test_what_is_not_there_is_answered_as_ever(app: webtest.TestApp, tmp_path: Path) -> None:
    publish(app, make_sdist(tmp_path, "My.Pkg", "1.0"))
    assert app.get("/simple/absent/", headers=HEADERS, status=404).content_type == "text/plain"
    assert app.get("/simple/My.Pkg/", headers=HEADERS, status=301).location.endswith("/simple/my-pkg/")
    for name in ("My.Pkg-1.0.tar.gz.metadata", "absent-1.0-py3-none-any.whl.metadata", "../secret.whl.metadata"):
        app.get(f"/packages/{name}", status=404)


def test_a_project_that_is_not_here_is_never_looked_for_elsewhere(app: webtest.TestApp) -> None:
    """pypiserver would send the client to the public index."""
    assert app.get("/simple/requests/", status=404).text == "Not Found (requests does not exist)\n"


def test_signatures_are_no_distributions(app: webtest.TestApp, settings: Settings) -> None:
    for name in ("a-1.0.tar.gz", "a-1.0.tar.gz.asc", "a-not.a.version-py3.zip"):
        (settings.packages_directory / name).write_bytes(b"content")
    publish(app, make_sdist(settings.packages_directory.parent, "a", "2.0"))
    listed = app.get("/simple/a/", headers=HEADERS).json
    assert "a-2.0.tar.gz" in {file["filename"] for file in listed["files"]}
    assert not [file for file in listed["files"] if file["filename"].endswith(".asc")]


def test_a_broken_wheel_is_listed_without_metadata(app: webtest.TestApp) -> None:
    name = "a-1.0-py3-none-any.whl"
    app.post("/", {":action": "file_upload"}, upload_files=[("content", name, b"no wheel")])
    (file,) = app.get("/simple/a/", headers=HEADERS).json["files"]
    assert file["core-metadata"] is False
    assert app.get(f"/packages/{name}.metadata", status=404).content_type == "text/plain"
    assert app.get(f"/packages/{name}").body == b"no wheel"


def test_both_forms_and_the_metadata_are_kept_until_they_are_stale(
    app: webtest.TestApp, settings: Settings, tmp_path: Path
) -> None:
    def kept() -> set[str]:
        directory = settings.pages_directory
        return {str(path.relative_to(directory)) for path in directory.rglob("*.*") if path.is_file()}

    publish(app, make_wheel(tmp_path, "a", "1.0"), make_wheel(tmp_path, "b", "1.0"))
    name = "a-1.0-py3-none-any.whl.metadata"
    for accept in ("text/html", JSON):
        for path in ("/simple/", "/simple/a/"):
            app.get(path, headers={"Accept": accept})
    body = app.get(f"/packages/{name}").body

    def metadata(*wheels: str) -> set[str]:
        return {f"metadata/{wheel}-py3-none-any.whl.metadata" for wheel in wheels}

    everything = {"index.html", "index.json", "projects/a.html", "projects/a.json", *metadata("a-1.0", "b-1.0")}
    assert kept() == everything
    assert (settings.pages_directory / "metadata" / name).read_bytes() == body
    publish(app, make_wheel(tmp_path, "b", "2.0"))
    assert kept() == everything | metadata("b-2.0")
    publish(app, make_wheel(tmp_path, "a", "2.0"))
    published = metadata("a-1.0", "a-2.0", "b-1.0", "b-2.0")
    assert kept() == {"index.html", "index.json", *published}, "the wheels of the metadata have not changed"
    publish(app, make_wheel(tmp_path, "c", "1.0"))
    assert kept() == published | metadata("c-1.0")


def test_what_is_published_leaves_room_for_what_is_asked_for(
    app: webtest.TestApp, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_wheel(tmp_path, "a", "1.0"), make_wheel(tmp_path, "b", "1.0")
    monkeypatch.setattr(pages, "ROOM_FOR_METADATA", 2 * (pages.ROOM_FOR_METADATA - 10))
    publish(app, first, second)
    kept = settings.pages_directory / "metadata"
    assert list(kept.iterdir()) == []
    asked = app.get(f"/packages/{second.name}.metadata").body
    assert [path.read_bytes() for path in kept.iterdir()] == [asked]


def test_metadata_is_kept_as_long_as_its_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each is a file, which takes a block of the volume however little is in it.
    monkeypatch.setattr(pages, "ROOM_FOR_METADATA", 2 * 4096 - 1)
    listing = Listing()
    kept = pages.Pages(tmp_path / "pages", listing.stamp)

    def names() -> list[str]:
        return sorted(path.name for path in (tmp_path / "pages").rglob("*.metadata"))

    for name in ("a", "b"):
        kept.drop(listing.add("", f"{name}-1.0-py3-none-any.whl", STAMP))
    first, second = listing.of_project("a") + listing.of_project("b")
    for _ in range(3):
        kept.keep_metadata(first, b"123456", STAMP)
    kept.keep_metadata(second, b"123456", STAMP)
    assert names() == [f"{first.name}.metadata"], "there is room for one"
    kept.drop(listing.replace("", {first.name, second.name}, {first.name: Stamp(8, 8)}, listing.moment()))
    assert names() == []
    kept.keep_metadata(first, b"123456", STAMP)
    assert names() == [], "it is of the file before"
    kept.keep_metadata(second, b"123456", STAMP)
    assert names() == [f"{second.name}.metadata"]
    kept.drop(listing.remove(second.path))
    assert names() == []


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/simple", 301, "/simple/"),
        ("/packages", 301, "/packages/"),
        ("/simple/a", 301, "/simple/a/"),
        ("/simple/A.B", 301, "/simple/A.B/"),
        ("/simple/A.B/", 301, "/simple/a-b/"),
        ("/A.B/json", 301, "/a-b/json"),
        ("/A.B", 302, "/simple/A.B/"),
        ("/A.B/", 302, "/simple/A.B/"),
    ],
)
def test_what_pypiserver_redirects(app: webtest.TestApp, path: str, status: int, location: str) -> None:
    assert app.get(path, status=status).location == f"http://localhost:80{location}"


def test_addresses_begin_with_the_prefix_that_the_gateway_names(app: webtest.TestApp) -> None:
    prefix = {"X-Forwarded-Prefix": "/team-a/pypi"}
    for path, status, location in (
        ("/simple", 301, "/simple/"),
        ("/simple/A.B/", 301, "/simple/a-b/"),
        ("/A.B/json", 301, "/a-b/json"),
        ("/A.B/", 302, "/simple/A.B/"),
    ):
        answer = app.get(path, headers=prefix, status=status)
        assert answer.location == f"http://localhost:80/team-a/pypi{location}"
    assert "--index-url http://localhost:80/team-a/pypi/simple/" in app.get("/", headers=prefix).text


def test_a_condition_without_a_date_is_none(app: webtest.TestApp) -> None:
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "a-1.0.zip", b"content")])
    assert app.get("/packages/a-1.0.zip", headers={"If-Modified-Since": ""}).body == b"content"


def test_a_redirection_repeats_no_control_characters(app: webtest.TestApp) -> None:
    for path in ("/simple/%0d%0aX-Injected:1", "/%0d%0aX-Injected:1", "/simple/A%00/"):
        app.get(path, status=400)
    for name in ("Host", "X-Forwarded-Host", "X-Forwarded-Proto"):
        app.get("/simple", headers={name: "a\x01b"}, status=400)
    assert app.get("/simple", status=301).location == "http://localhost:80/simple/"


def test_a_host_that_can_be_none_is_refused(app: webtest.TestApp) -> None:
    for name in ("Host", "X-Forwarded-Host"):
        assert app.get("/simple", headers={name: "a["}, status=400).text.startswith("Bad address: ")


def test_lists_of_what_a_client_may_read_leave_threads_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsing, "PATIENCE_SECONDS", PATIENCE)
    listing, go_on, asked = Listing(), threading.Event(), list[str]()
    listing.add("", "a-1.zip", STAMP)

    def readable(project: str) -> bool:
        asked.append(project)
        return go_on.wait(PATIENCE)

    pages_of = Browsing(listing, None, pages.Pages(tmp_path), lambda _: None, None, lambda: readable)  # type: ignore[arg-type]
    with ThreadPoolExecutor(browsing.QUEUED + 1) as threads:
        wanted = [threads.submit(pages_of.packages) for _ in range(browsing.QUEUED + 1)]
        try:
            (refused,), others = wait(wanted, PATIENCE, FIRST_COMPLETED)
            with pytest.raises(HTTPError, match="Too many lists are being made"):
                refused.result()
            wait_for(lambda: len(asked) == browsing.AT_ONCE, "the lists")
        finally:
            go_on.set()
        assert all("a-1.zip" in each.result() for each in others)
    assert "a-1.zip" in pages_of.packages()


def test_lists_of_what_everybody_may_read_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsing, "PATIENCE_SECONDS", PATIENCE)
    listing, go_on, asked, kept = Listing(), threading.Event(), list[str](), pages.Pages(tmp_path)
    kept.drop(listing.add("", "a-1.zip", STAMP))
    kept.drop(listing.add("", "b-1.zip", STAMP))

    def readable(project: str) -> bool:
        asked.append(project)
        return go_on.wait(PATIENCE) and project != "b"

    pages_of = Browsing(
        listing,
        None,  # type: ignore[arg-type]
        kept,
        lambda _: None,
        None,
        lambda: readable,
        lambda: True,
    )
    at_once = browsing.QUEUED_ANONYMOUS + 1
    with ThreadPoolExecutor(at_once) as threads:
        wanted = [threads.submit(pages_of.packages) for _ in range(at_once)]
        try:
            (refused,), others = wait(wanted, PATIENCE, FIRST_COMPLETED)
            with pytest.raises(HTTPError, match="Too many lists are being made"):
                refused.result()
            assert len(asked) == 1
        finally:
            go_on.set()
        texts = {each.result() for each in others}
    assert len(texts) == 1
    assert asked == ["a", "b"]
    text = pages_of.packages()
    assert "a-1.zip" in text
    assert "b-1.zip" not in text
    assert len(asked) == 2
    # Something else is changed by whoever changes anything.
    kept.drop(listing.add("", "a-2.zip", STAMP))
    assert "a-2.zip" in pages_of.packages()
    assert len(asked) == 5


def test_lists_of_what_everybody_may_read_have_the_digests_that_are_known(tmp_path: Path) -> None:
    listing, kept = Listing(), pages.Pages(tmp_path)
    kept.drop(listing.add("", "a-1.zip", STAMP))
    pages_of = Browsing(
        listing,
        None,  # type: ignore[arg-type]
        kept,
        lambda _: None,
        None,
        lambda: lambda _: True,
        lambda: True,
    )
    assert "a-1.zip#" not in pages_of.packages()
    entry = listing.at("a-1.zip")
    assert entry
    listing.know(entry, STAMP, "sha256=1234")
    assert "a-1.zip#sha256=1234" in pages_of.packages()
