"""Stores that are no S3: with rclone's own hashes, and with none at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, upload, wait_for
from remote_programs import RemoteStore
from store_programs import Rclone
from store_samples import files, metric, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from store_programs import Place

NAME, CONTENT = wheel("demo", "1.0")


@pytest.fixture(params=["webdav", "local"])
def rclone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rclone]:
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    if request.param == "local":
        with Rclone(tmp_path, {"type": "alias", "remote": str(directory)}) as rclone:
            yield rclone
        return
    # Of this vendor rclone expects no hashes, so that what is stored is read back.
    with (
        RemoteStore("webdav", directory) as store,
        Rclone(tmp_path, {"type": "webdav", "vendor": "other", "url": f"http://localhost:{store.port}"}) as rclone,
    ):
        yield rclone


def test_a_registry_on_another_store(place: Place, rclone: Rclone, tmp_path: Path) -> None:
    settings = {"STORE_PATH": "store:team/pypi", "ALLOW_REMOVAL": "yes"}
    folder = tmp_path / "elsewhere/team/pypi"
    writer = place.server("writer", rclone, **settings).start()
    reader = place.server("reader", rclone, ROLE="reader", **settings).start()
    assert upload(writer.url, NAME, CONTENT).ok
    assert (folder / NAME).read_bytes() == CONTENT
    assert upload(writer.url, NAME, b"another").status_code == 409
    assert upload(writer.url, *wheel("demo", "2.0", b"x" * 3_000_000)).ok
    form = {":action": "yank", "name": "demo", "version": "1.0", "reason": "why"}
    assert requests.post(writer.url, data=form, timeout=PATIENCE).ok
    wait_for(lambda: len(files(reader.url, "demo")) == 2, "the reader")
    wait_for(lambda: files(reader.url, "demo")[NAME]["yanked"] == "why", "the reader")
    writer.kill()
    second = place.server("second", rclone, **settings).start()
    assert files(second.url, "demo") == files(reader.url, "demo")
    form = {":action": "remove_pkg", "name": "demo", "version": "1.0"}
    assert requests.post(second.url, data=form, timeout=PATIENCE).ok
    assert not (folder / NAME).exists()
    wait_for(lambda: len(files(reader.url, "demo")) == 1, "the reader")
    wait_for(lambda: metric(second.url, "pypiserver_store_survey_timestamp_seconds"), "a survey")
    assert metric(second.url, "pypiserver_packages") == 1
