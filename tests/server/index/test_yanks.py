from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import webtest

from programs import PATIENCE, upload, wait_for
from server.http.negotiation import JSON
from server.index import yanks
from server.pod import application
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from programs import Server
    from server.pod.settings import Settings

    Serve = Callable[..., Server]


FILES = ("My.Pkg-1.0.tar.gz", "my_pkg-1.0-1build-py3-none-any.whl", "my_pkg-1.1-py3-none-any.whl")


@pytest.fixture
def filled(app: webtest.TestApp) -> webtest.TestApp:
    for name in FILES:
        app.post("/", {":action": "file_upload"}, upload_files=[("content", name, b"content")])
    return app


def post(app: webtest.TestApp, action: str, **form: str) -> webtest.TestResponse:
    return app.post("/", {":action": action, **form}, expect_errors=True)


def shown(app: webtest.TestApp) -> dict[str, object]:
    return {
        file["filename"]: file["yanked"] for file in app.get("/simple/my-pkg/", headers={"Accept": JSON}).json["files"]
    }


@pytest.mark.parametrize("action", ["yank", "unyank"])
def test_the_kept_pages_go_before_the_answer(filled: webtest.TestApp, settings: Settings, action: str) -> None:
    if action == "unyank":
        post(filled, "yank", name="my-pkg", version="1.0")
    for path in ("/simple/", "/simple/my-pkg/"):
        filled.get(path)
    kept = settings.pages_directory / "projects/my-pkg.html"
    assert kept.exists()
    assert post(filled, action, name="my-pkg", version="1.0").status_int == 200
    assert not kept.exists(), "the gateway would show it"
    assert (settings.pages_directory / "index.html").exists(), "it says nothing of versions"


@pytest.mark.parametrize("name", ["my-pkg", "My.Pkg", "MY__PKG"])
@pytest.mark.parametrize("version", ["1.0", "1", "v1.0.0"])
def test_a_version_is_withdrawn_and_brought_back(filled: webtest.TestApp, name: str, version: str) -> None:
    before = filled.get("/simple/my-pkg/").text
    assert set(shown(filled).values()) == {False}
    assert post(filled, "yank", name=name, version=version).status_int == 200
    assert shown(filled) == {FILES[0]: True, FILES[1]: True, FILES[2]: False}
    page = filled.get("/simple/my-pkg/").text
    assert page.count(' data-yanked=""') == 2
    assert page.replace(' data-yanked=""', "") == before
    assert post(filled, "unyank", name=name, version=version).status_int == 200
    assert set(shown(filled).values()) == {False}
    assert filled.get("/simple/my-pkg/").text == before


def test_the_reason_is_shown_as_it_is_and_harms_no_page(filled: webtest.TestApp) -> None:
    reason = 'it\'s <b>brøken</b>\n"badly"'
    assert post(filled, "yank", name="my-pkg", version="1.1", reason=reason).status_int == 200
    assert shown(filled)[FILES[2]] == 'it\'s <b>brøken</b> "badly"'
    page = filled.get("/simple/my-pkg/").text
    assert ' data-yanked="it&#039;s &lt;b&gt;brøken&lt;/b&gt; &quot;badly&quot;">' in page
    assert post(filled, "yank", name="my-pkg", version="1.1", reason='it\'s <B>brøken</b> "badly"').status_int == 200
    assert shown(filled)[FILES[2]] == 'it\'s <B>brøken</b> "badly"', "a reason of the same length"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"version": "1.0"}, 400),
        ({"name": "my-pkg"}, 400),
        ({"name": "my-pkg", "version": "1.0", "reason": "x" * 1001}, 400),
        ({"name": "other", "version": "1.0"}, 404),
        ({"name": "my-pkg", "version": "2.0"}, 404),
        ({"name": "../my-pkg", "version": "1.0"}, 404),
        ({"name": "my-pkg", "version": "../1.0"}, 404),
    ],
)
@pytest.mark.parametrize("action", ["yank", "unyank"])
def test_what_cannot_be_withdrawn(
    filled: webtest.TestApp, settings: Settings, action: str, form: dict[str, str], status: int
) -> None:
    answer = post(filled, action, **form)
    assert answer.status_int == status
    assert answer.content_type == "text/plain"
    assert not (settings.packages_directory / ".pypiserver" / yanks.DIRECTORY).exists()


def test_a_volume_that_is_full(filled: webtest.TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OwnFiles, "put", full)
    assert post(filled, "yank", name="my-pkg", version="1.0").status_int == 507
    assert set(shown(filled).values()) == {False}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("in_place", [False, True])
def test_a_record_outlives_the_process(settings: Settings, in_place: bool) -> None:
    for name in FILES:
        (settings.packages_directory / name).write_bytes(b"content")
    files = OwnFiles(settings.packages_directory, yanks.DIRECTORY, in_place=in_place)
    files.put("my-pkg@1", b"reason", durable=True)
    files.put("my-pkg@1.1", b"", durable=True)
    assert not list((settings.packages_directory / ".pypiserver").glob("unfinished/*"))
    app = webtest.TestApp(application.create(settings))
    assert shown(app) == {FILES[0]: "reason", FILES[1]: "reason", FILES[2]: True}
    files.remove("my-pkg@1.1")
    files.remove("my-pkg@1.1")
    assert shown(webtest.TestApp(application.create(settings)))[FILES[2]] is False


@pytest.mark.parametrize("method", ["link", "direct"])
def test_another_pod_sees_it(serve: Serve, method: str) -> None:
    first = serve("first", PUBLISH_METHOD=method, WRITERS="many", RESCAN_SECONDS="1")
    second = serve(
        "second",
        PUBLISH_METHOD=method,
        WRITERS="many",
        RESCAN_SECONDS="1",
        PACKAGES_DIRECTORY=str(first.packages),
    )
    assert upload(first.url, FILES[2]).ok

    def page() -> str:
        return requests.get(f"{second.url}/simple/my-pkg/", headers={"Accept": JSON}, timeout=PATIENCE).text

    wait_for(lambda: '"yanked":false' in page(), "the file")
    for action, expected in {"yank": '"yanked":"why"', "unyank": '"yanked":false'}.items():
        form = {":action": action, "name": "my-pkg", "version": "1.1", "reason": "why"}
        assert requests.post(first.url, data=form, timeout=PATIENCE).ok
        wait_for(lambda expected=expected: expected in page(), action)  # type: ignore[misc]


def test_the_directories_of_the_first_withdrawal_last_too(
    filled: webtest.TestApp, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of power would take a directory whose own name is not durable, and what is in it."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert post(filled, "yank", name="my-pkg", version="1.0").status_int == 200
    own = settings.packages_directory / ".pypiserver"
    assert synced[1:] == [own / yanks.DIRECTORY, own, settings.packages_directory]
