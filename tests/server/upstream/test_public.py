from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING

import pytest
import webtest

from programs import PATIENCE, wait_for
from server.http.negotiation import JSON
from server.pod import application
from server.upstream import public
from server.upstream.public import Public, merge

if TYPE_CHECKING:
    from server.pod.settings import Settings

INDEX = {"name": "pub", "url": "https://index.example.org/simple/"}


@pytest.fixture
def with_upstream(settings: Settings, quiet: None, tmp_path: Path) -> Settings:  # noqa: ARG001 - for what it does
    configuration = tmp_path / "upstream.json"
    configuration.write_text(json.dumps({"indexes": [INDEX], "private_names": ["acme-*"], "shadowing": "allowed"}))
    # Nobody listens at port 1.
    return replace(settings, upstream_configuration=configuration, upstream_port=1, allow_removal=True)


def test_a_name_stays_ones_own_when_its_last_file_is_gone(with_upstream: Settings) -> None:
    app = webtest.TestApp(application.create(with_upstream))
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "demo-1.0.zip", b"")])
    assert app.get("/simple/other/", expect_errors=True).status_int == 503
    app.post("/", {":action": "remove_pkg", "name": "demo", "version": "1.0"})
    assert app.get("/simple/demo/", expect_errors=True).status_int == 404
    after = webtest.TestApp(application.create(with_upstream))
    assert after.get("/simple/demo/", expect_errors=True).status_int == 404


def test_a_name_that_is_published_while_it_is_asked_for_is_ones_own(
    with_upstream: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = webtest.TestApp(application.create(with_upstream))

    def publish_and_say_no(_: Public, __: str) -> bool:
        monkeypatch.undo()
        # In a thread of its own, as the server has it.
        with ThreadPoolExecutor() as pool:
            files = [("content", "demo-1.0.zip", b"")]
            pool.submit(app.post, "/", {":action": "file_upload"}, upload_files=files).result()
        return False

    monkeypatch.setattr(Public, "is_own", publish_and_say_no)
    # Nobody else is asked, who would not answer.
    assert "demo-1.0.zip" in app.get("/simple/demo/")


def test_a_private_name_is_nobody_elses(with_upstream: Settings) -> None:
    app = webtest.TestApp(application.create(with_upstream))
    for path in ("/simple/acme-core/", "/-/upstream/acme-core/hidden"):
        assert app.get(path, expect_errors=True).status_int == 404


def test_a_directory_that_cannot_be_listed_closes_the_way(
    with_upstream: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (with_upstream.packages_directory / "below").mkdir()
    (with_upstream.packages_directory / "seen-1.0.zip").touch()

    def fail(directory: Path) -> object:
        if directory.name == "below":
            raise PermissionError(13, "Permission denied", str(directory))
        return real(directory)

    from server.index import watch  # noqa: PLC0415

    real = watch._visible
    monkeypatch.setattr(watch, "_visible", fail)
    app = webtest.TestApp(application.create(with_upstream))
    assert app.get("/simple/seen/").status_int == 200
    answer = app.get("/simple/other/", expect_errors=True)
    assert answer.status_int == 503
    assert "below on the package volume cannot be listed" in answer


def test_a_file_that_cannot_be_read_keeps_its_name(with_upstream: Settings) -> None:
    (with_upstream.packages_directory / "linked-1.0.zip").symlink_to("/etc/hostname")
    app = webtest.TestApp(application.create(with_upstream))
    assert app.get("/simple/linked/", expect_errors=True).status_int == 404


def test_of_two_pages_ones_own_file_counts() -> None:
    def page(*files: str, by: str) -> dict[str, object]:
        return {"meta": {}, "name": "torch", "files": [{"filename": name, "by": by} for name in files]}

    merged = merge(
        page("torch-2.0+local.zip", "torch-1.0.zip", by="us"), page("torch-1.0.zip", "torch-3.0.zip", by="them")
    )
    assert [(file["filename"], file["by"]) for file in merged["files"]] == [
        ("torch-2.0+local.zip", "us"),
        ("torch-1.0.zip", "us"),
        ("torch-3.0.zip", "them"),
    ]
    assert merged["versions"] == ["1.0", "2.0+local", "3.0"]


def test_without_an_upstream_there_is_no_such_address(app: webtest.TestApp) -> None:
    assert app.get("/-/upstream/demo/hidden", expect_errors=True).status_int == 404
    assert app.get("/simple/other/", headers={"Accept": JSON}, expect_errors=True).status_int == 404


def test_who_waits_for_an_upstream_leaves_threads_to_others(
    with_upstream: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for waited in ("LOOK_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(public, waited, PATIENCE)
    statuses: list[int] = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:
        app = webtest.TestApp(application.create(replace(with_upstream, upstream_port=silent.getsockname()[1])))

        def ask(number: int) -> None:
            statuses.append(app.get(f"/simple/other{number}/", expect_errors=True).status_int)

        threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(60)]
        for thread in threads:
            thread.start()
        others = len(threads) - public.MOST_QUEUED
        wait_for(lambda: sum(not thread.is_alive() for thread in threads) >= others, "those for whom there is no place")
        assert statuses == [503] * others
