from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import webtest

from server.audit.trail import Trail
from server.index.digests import Digests
from server.index.listing import Change, Listing
from server.index.provenance import Provenance
from server.index.removed import Removed
from server.pod import application
from server.publish.claims import Claims
from server.publish.link import Link
from server.publish.packages import Packages
from server.volume.content import Stamp
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from server.pod.settings import Settings


def test_a_file_that_is_gone_is_removed_without_an_error(tmp_path: Path) -> None:
    listing, changes = Listing(), list[Change]()
    listing.add("", "a-1.0.tar.gz", Stamp(1, 1))
    entry = listing.at("a-1.0.tar.gz")
    assert entry
    provenance = Provenance(OwnFiles(tmp_path, "provenance", in_place=False), changes.append)
    Packages(
        Link(tmp_path),
        listing,
        changes.append,
        Claims(tmp_path, shared=False),
        provenance,
        Removed(OwnFiles(tmp_path, "removed", in_place=False)),
        Trail(None),
        lambda _: None,
    ).remove(entry)
    assert not listing.twin("a-1.0.tar.gz")
    assert changes == [Change(frozenset({"a"}), names=True)]


def test_publishing_reads_neither_the_volume_nor_the_file_again(
    app: webtest.TestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("scandir", "listdir", "walk"):
        monkeypatch.setattr(os, call, lambda *_, call=call: pytest.fail(f"{call} of the volume"))
    monkeypatch.setattr(Path, "iterdir", lambda _: pytest.fail("the volume is listed"))
    monkeypatch.setattr(Digests, "_read", lambda *_: pytest.fail("the file is hashed again"))
    for version in range(3):
        app.post("/", {":action": "file_upload"}, upload_files=[("content", f"a-{version}.0.tar.gz", b"content")])
        assert app.get("/simple/a/").text.count("#sha256=") == version + 1
    assert app.get("/").status_int == 200


def test_what_could_not_be_made_to_last_is_listed_and_can_be_published_again(
    app: webtest.TestApp, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    failing = [True]

    def fsync(descriptor: int) -> None:
        if failing[0] and Path(f"/proc/self/fd/{descriptor}").readlink() == settings.packages_directory:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    def publish(content: bytes) -> webtest.TestResponse:
        file = [("content", "a-1.0.tar.gz", content)]
        return app.post("/", {":action": "file_upload"}, upload_files=file, expect_errors=True)

    monkeypatch.setattr(os, "fsync", fsync)
    for _ in range(2):
        refused = publish(b"content")
        assert refused.status == "503 The package volume failed: Input/output error"
        assert refused.headers["Retry-After"] == "5"
        assert (settings.packages_directory / "a-1.0.tar.gz").read_bytes() == b"content"
    failing[0] = False
    assert publish(b"another").status_int == 409
    assert publish(b"content").status_int == 200
    assert "a-1.0.tar.gz#sha256=" in app.get("/simple/a/").text
    assert publish(b"content").status_int == 409


@pytest.mark.usefixtures("quiet")
def test_a_package_that_was_removed_is_not_listed_though_the_volume_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = webtest.TestApp(application.create(dataclasses.replace(settings, allow_removal=True)))
    app.post("/", {":action": "file_upload"}, upload_files=[("content", "a-1.0.tar.gz", b"content")])
    records_last = [False]

    def fsync(_: int) -> None:
        # The record of the name is kept first: without it nothing is removed.
        if not records_last[0] or not (settings.packages_directory / "a-1.0.tar.gz").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    app.post("/", {":action": "remove_pkg", "name": "a", "version": "1.0"}, status=503)
    assert "a-1.0.tar.gz" in app.get("/simple/a/")
    records_last[0] = True
    app.post("/", {":action": "remove_pkg", "name": "a", "version": "1.0"}, status=503)
    app.get("/simple/a/", status=404)
