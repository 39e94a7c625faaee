"""A release cannot be replaced by a file of another name that means the same."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
import webtest

from programs import PATIENCE, upload, wait_for
from server.pod import application

if TYPE_CHECKING:
    from collections.abc import Callable

    from programs import Server
    from server.pod.settings import Settings

    Serve = Callable[..., Server]


def post(app: webtest.TestApp, *names: str) -> webtest.TestResponse:
    files = [(field, name, name.encode()) for field, name in zip(("content", "gpg_signature"), names, strict=False)]
    return app.post("/", {":action": "file_upload"}, upload_files=files, expect_errors=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Subst_Demo-1.0.tar.gz", "subst_demo-1.0.0.tar.gz"),
        ("demo-1.0.tar.gz", "demo-1.0.zip"),
        ("demo-1.0-py3-none-any.whl", "demo-1.0-1-py3-none-any.whl"),
        ("demo-1.0-py2.py3-none-any.whl", "demo-1-py3.py2-none-any.whl"),
    ],
)
def test_a_twin_is_refused_with_the_name_of_what_is_there(app: webtest.TestApp, first: str, second: str) -> None:
    assert post(app, first).status_int == 200
    refused = post(app, second)
    assert refused.status_int == 409
    assert first in refused.status
    assert second in refused.status
    assert first in app.get("/packages/").text
    assert second not in app.get("/packages/").text
    assert post(app, second.replace("1", "2", 1)).status_int == 200


def test_twins_that_were_put_there_by_hand_are_listed(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    for name in ("Demo-1.0.zip", "demo-1.0.0.zip"):
        (settings.packages_directory / name).write_bytes(b"content")
    again = webtest.TestApp(application.create(settings))
    assert again.get("/simple/demo/").text.count("<a ") == 2
    assert post(again, "demo-1.zip").status_int == 409


@pytest.mark.parametrize("shared", [False, True])
def test_of_twins_that_race_one_is_published(serve: Serve, shared: bool) -> None:
    first = serve("first", WRITERS="many" if shared else "one")
    servers = [first]
    if shared:
        servers.append(serve("second", WRITERS="many", PACKAGES_DIRECTORY=str(first.packages)))
    names = [f"{name}-{{}}{zeros}.zip" for name in ("race", "Race") for zeros in ("", ".0", ".0.0")]
    with ThreadPoolExecutor(len(names)) as pool:
        for version in range(10):
            answers = pool.map(
                lambda each: upload(servers[each[0] % len(servers)].url, each[1]).status_code,
                [(number, name.format(version)) for number, name in enumerate(names)],
            )
            assert sorted(answers) == [200] + [409] * (len(names) - 1)

    def listed(server: Server) -> bool:
        return requests.get(f"{server.url}/simple/race/", timeout=PATIENCE).text.count("<a ") == 10

    for server in servers:
        wait_for(functools.partial(listed, server), "one file a version")
