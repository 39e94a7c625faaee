from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.index.digests import Digests
from server.index.listing import Change, Listing
from server.index.provenance import Provenance
from server.publish.claims import Claims
from server.publish.packages import Packages
from server.volume.content import Stamp
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    import webtest


def test_a_file_that_is_gone_is_removed_without_an_error(tmp_path: Path) -> None:
    listing, changes = Listing(), list[Change]()
    listing.add("", "a-1.0.tar.gz", Stamp(1, 1))
    entry = listing.at("a-1.0.tar.gz")
    assert entry
    provenance = Provenance(OwnFiles(tmp_path, "provenance", in_place=False), changes.append)
    Packages(tmp_path, listing, changes.append, Claims(tmp_path, shared=False), provenance).remove(entry)
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
