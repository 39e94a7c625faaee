from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest
import requests
import webtest

from programs import PATIENCE, Server, upload, wait_for
from server.pod import application, start
from server.volume.marker import FILE, Marker, WrongVolumeError

if TYPE_CHECKING:
    from pathlib import Path

    from server.pod.settings import Settings

PUBLISHER = ("publisher", "publisher-password")
METHODS = ["link", "direct"]


def unmount(server: Server, aside: Path) -> None:
    """Leave an empty directory where the volume was."""
    server.packages.rename(aside)
    server.packages.mkdir()


def mount(server: Server, aside: Path) -> None:
    shutil.rmtree(server.packages)
    aside.rename(server.packages)


def readiness(server: Server) -> requests.Response:
    return requests.get(f"{server.url}/-/ready", timeout=PATIENCE)


def get(server: Server, path: str) -> str:
    answer = requests.get(f"{server.url}{path}", timeout=PATIENCE)
    assert answer.ok, answer.text
    return answer.text


@pytest.mark.parametrize("method", METHODS)
def test_a_volume_that_is_not_mounted_is_no_empty_index(tmp_path: Path, method: str) -> None:
    aside = tmp_path / "aside"
    with Server(tmp_path / "server", {"PUBLISH_METHOD": method, "RESCAN_SECONDS": "0.1"}) as server:
        (server.packages / "below").mkdir()
        (server.packages / "below/b-1.0.tar.gz").write_bytes(b"content")
        assert upload(server.url, "a-1.0.tar.gz", user=PUBLISHER).ok
        wait_for(lambda: '"b/"' in get(server, "/simple/"), "both to be listed")
        index = get(server, "/simple/")
        page = get(server, "/simple/a/")
        unmount(server, aside)
        wait_for(lambda: readiness(server).status_code == 503, "the volume to be missed")
        wait_for(lambda: "cannot be listed" in server.log, "a look at what is in its place")
        refused = readiness(server)
        assert refused.text == f"The package volume fails: It is not there: what is in its place has no {FILE}\n"
        assert refused.headers["Retry-After"] == "5"
        assert get(server, "/simple/") == index
        assert get(server, "/simple/a/") == page
        assert "pypiserver_packages 2\n" in get(server, "/-/metrics")
        assert "pypiserver_volume_answers 0\n" in get(server, "/-/metrics")
        assert upload(server.url, "c-1.0.tar.gz", user=PUBLISHER).status_code == 503
        assert requests.get(f"{server.url}/packages/a-1.0.tar.gz", timeout=PATIENCE).status_code == 503
        assert requests.get(f"{server.url}/health", timeout=PATIENCE).ok
        mount(server, aside)
        wait_for(lambda: readiness(server).ok, "the volume to be back")
        assert get(server, "/simple/") == index
        assert upload(server.url, "c-1.0.tar.gz", user=PUBLISHER).ok
        assert '"c/"' in get(server, "/simple/")


def test_another_volume_is_not_taken_for_it(tmp_path: Path) -> None:
    with Server(tmp_path / "server", {"RESCAN_SECONDS": "0.1"}) as server:
        assert upload(server.url, "a-1.0.tar.gz", user=PUBLISHER).ok
        index = get(server, "/simple/")
        unmount(server, tmp_path / "aside")
        (server.packages / ".pypiserver").mkdir()
        (server.packages / FILE).write_text("other\n")
        (server.packages / "x-1.0.tar.gz").touch()
        wait_for(lambda: "Another is in its place" in readiness(server).text, "the volume to be missed")
        wait_for(lambda: "cannot be listed" in server.log, "a look at what is in its place")
        assert get(server, "/simple/") == index


def test_a_container_that_starts_anew_knows_the_volume_of_its_pod(tmp_path: Path) -> None:
    server, aside = Server(tmp_path / "server"), tmp_path / "aside"
    try:
        server.start()
        assert upload(server.url, "a-1.0.tar.gz", user=PUBLISHER).ok
        server.stop()
        unmount(server, aside)
        assert server.launch().wait(PATIENCE) == 1
        assert "the package volume cannot be used: It is not there" in server.log
        assert not list(server.packages.iterdir())
        mount(server, aside)
        server.start()
        assert '"a/"' in get(server, "/simple/")
    finally:
        server.kill()


def test_a_new_pod_knows_the_volume_if_it_was_told(tmp_path: Path) -> None:
    with Server(tmp_path / "first") as first:
        identity = (first.packages / FILE).read_text().strip()
    told = {"PACKAGES_DIRECTORY": str(first.packages), "VOLUME_IDENTITY": identity}
    with Server(tmp_path / "second", told) as second:
        assert readiness(second).ok
    third = Server(tmp_path / "third", {"VOLUME_IDENTITY": identity})
    assert third.launch().wait(PATIENCE) == 1
    assert "It is not there" in third.log
    assert not list(third.packages.iterdir())


@pytest.fixture(params=METHODS)
def settings_of(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return dataclasses.replace(settings, publish_method=request.param)


def test_a_volume_keeps_its_identity(settings_of: Settings) -> None:
    root = settings_of.packages_directory
    # Of an earlier version, whose packages are there already.
    (root / "a-1.0.tar.gz").touch()
    start.marker(settings_of).adopt()
    identity = (root / FILE).read_bytes()
    assert len(identity) == 37
    start.marker(dataclasses.replace(settings_of, pages_directory=root.parent / "other/pages")).adopt()
    assert (root / FILE).read_bytes() == identity
    assert not any((root / ".pypiserver/unfinished").glob("*"))


def test_pods_that_start_at_the_same_time_agree(tmp_path: Path) -> None:
    markers = [Marker(tmp_path, tmp_path / f"seen{number}", in_place=False) for number in range(8)]
    together = threading.Barrier(len(markers))

    def adopt(marker: Marker) -> None:
        together.wait()
        marker.adopt()

    threads = [threading.Thread(target=adopt, args=(marker,)) for marker in markers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for marker in markers:
        marker.verify()
    identity = (tmp_path / FILE).read_bytes().strip()
    assert {(tmp_path / f"seen{number}").read_bytes() for number in range(8)} == {identity}


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_volume_that_takes_no_identity_is_used_and_the_log_says_it(
    settings_of: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    real = os.open

    def open_(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(settings_of.packages_directory)):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", open_)
    marker = start.marker(settings_of)
    marker.adopt()
    marker.verify()
    assert "an empty directory would be taken for the package volume" in caplog.text
    monkeypatch.undo()
    start.marker(settings_of).adopt()
    assert (settings_of.packages_directory / FILE).exists()


def test_an_identity_that_cannot_be_read_is_no_other_volume(settings: Settings) -> None:
    marker = start.marker(settings)
    marker.adopt()
    path = settings.packages_directory / FILE
    path.unlink()
    path.mkdir()
    marker.verify()
    path.rmdir()
    with pytest.raises(WrongVolumeError, match="It is not there"):
        marker.verify()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("form", [{":action": "file_upload"}, {":action": "yank", "name": "a", "version": "1.0"}])
def test_nothing_is_acknowledged_that_did_not_reach_the_volume(settings: Settings, form: dict[str, str]) -> None:
    """It went before anybody has noticed."""
    settings = dataclasses.replace(settings, publish_method="direct")
    (settings.packages_directory / "a-1.0.tar.gz").touch()
    app = webtest.TestApp(application.create(settings))
    settings.packages_directory.rename(settings.packages_directory.parent / "aside")
    settings.packages_directory.mkdir()
    files = [("content", "b-1.0.tar.gz", b"content")] if form[":action"] == "file_upload" else None
    refused = app.post("/", form, upload_files=files, status=503)
    assert "It is not there" in refused.text
