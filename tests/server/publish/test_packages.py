from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.http.upstream import PkgFile
from server.index.digests import Digests, Upload
from server.index.listing import Change, Listing, Stamp
from server.publish.methods import publisher
from server.publish.packages import Packages

if TYPE_CHECKING:
    import webtest


class Backend(Packages):
    def __init__(self, root: Path) -> None:
        self.listing = Listing()
        self.changes: list[Change] = []
        digests = Digests(root, lambda: None)
        super().__init__(root, self.listing, digests, self.changes.append)
        self.publisher = publisher("link", root)

    def publish(self, name: str) -> None:
        upload = Upload(self.publisher.draft())
        upload.write(b"content")
        self.add_package(name, upload)
        upload.discard()


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


def test_what_pypiserver_asks_for_comes_from_the_listing(backend: Backend, tmp_path: Path) -> None:
    backend.publish("My.Pkg-1.0.tar.gz")
    backend.listing.add("sub", "my_pkg-2.0-py3-none-any.whl", Stamp(1, 1))
    backend.listing.add("", "other-1.0.zip", Stamp(1, 1))
    assert sorted(backend.get_projects()) == ["my-pkg", "other"]
    assert backend.package_count() == len(list(backend.get_all_packages())) == 3
    assert [package.relfn for package in backend.find_version("my_pkg", "2.0")] == ["sub/my_pkg-2.0-py3-none-any.whl"]
    first = next(backend.find_project_packages("my-pkg"))
    assert (first.pkgname, first.pkgname_norm, first.version) == ("My.Pkg", "my-pkg", "1.0")
    assert first.fn == str(tmp_path / "My.Pkg-1.0.tar.gz")
    assert str(first.digest).startswith("sha256=")
    assert backend.exists("my_pkg-2.0-py3-none-any.whl")
    assert backend.changes == [Change(frozenset({"my-pkg"}), names=True)]


def test_a_file_that_is_gone_is_removed_without_an_error(backend: Backend, tmp_path: Path) -> None:
    backend.publish("a-1.0.tar.gz")
    (tmp_path / "a-1.0.tar.gz").unlink()
    (package,) = backend.find_version("a", "1.0")
    backend.remove_package(package)
    assert backend.package_count() == 0
    assert backend.digest(PkgFile("a", "1.0", package.fn or "", str(tmp_path), "a-1.0.tar.gz")) is None


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
