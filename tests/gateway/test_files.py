"""How files go out: validators, ranges, compression, caching, types."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from gateway_programs import Scene, Setup, scene

if TYPE_CHECKING:
    from pathlib import Path

WHEEL = "/packages/demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize("path", ["/simple/", "/simple/demo/", WHEEL])
def test_revalidation(shared_anonymous: Scene, path: str) -> None:
    first = shared_anonymous.gateway.get(path)
    for condition in (
        {"If_None_Match": first.headers["ETag"]},
        {"If_None_Match": f'"other", W/{first.headers["ETag"].removeprefix("W/")}'},
        {"If_Modified_Since": first.headers["Last-Modified"]},
    ):
        again = shared_anonymous.gateway.get(path, **condition)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    assert shared_anonymous.gateway.get(path, If_None_Match='"other"').status_code == 200


def test_a_replaced_page_is_sent_again(anonymous: Scene) -> None:
    page = anonymous.pages / "projects/demo.html"
    tag = anonymous.gateway.get("/simple/demo/").headers["ETag"]
    written = int(page.stat().st_mtime)
    replacement = page.with_suffix(".new")
    replacement.write_text(page.read_text().replace("demo", "omed"))
    os.utime(replacement, (written + 1, written + 1))
    replacement.rename(page)
    answer = anonymous.gateway.get("/simple/demo/", If_None_Match=tag)
    assert answer.status_code == 200
    assert "omed" in answer.text


def test_a_page_that_is_gone_is_the_servers(anonymous: Scene) -> None:
    page = anonymous.pages / "projects/demo.html"
    assert "href" in anonymous.gateway.get("/simple/demo/").text
    page.unlink()
    answer = anonymous.gateway.get("/simple/demo/")
    assert answer.text == "the server answers /simple/demo/\n"
    assert answer.headers["Cache-Control"] == "public, no-cache"


@pytest.mark.parametrize("path", ["/simple/", "/simple/demo/", "/simple/other/", "/packages/", "/", "/demo/json"])
def test_pages_are_revalidated_each_time(shared_anonymous: Scene, path: str) -> None:
    answer = shared_anonymous.gateway.get(path)
    assert answer.headers["Cache-Control"] == "public, no-cache"
    assert answer.headers["Content-Type"].lower() == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_packages_are_bytes_and_kept_for_long(shared_anonymous: Scene) -> None:
    for path in (WHEEL, "/packages/nested/demo-1!2.0+local.1.tar.gz"):
        answer = shared_anonymous.gateway.get(path)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "Content-Encoding" not in answer.headers
    assert "Cache-Control" not in shared_anonymous.gateway.get("/packages/absent-1.0.zip").headers


def test_private_packages_are_for_the_clients_own_cache(private: Scene) -> None:
    for path, freshness in ((WHEEL, "max-age=31536000"), ("/simple/demo/", "no-cache"), ("/demo/json", "no-cache")):
        answer = private.gateway.get(path, "reader", "read")
        assert answer.headers["Cache-Control"] == f"private, {freshness}"


def test_a_package_that_can_be_removed_is_asked_for_each_time(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(environment={"ALLOW_REMOVAL": "yes"})) as started:
        assert started.gateway.get(WHEEL, "reader", "read").headers["Cache-Control"] == "private, no-cache"


def test_no_link_leads_out_of_the_package_directory(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "secret-1.0.zip").write_text("secret")
    real = tmp_path / "volume"
    real.mkdir()
    # The directory itself may be a link, as a mount of a folder can be.
    (tmp_path / "packages").symlink_to(real)
    with scene(tmp_path, Setup(anonymous=True)) as started:
        (started.packages / "stolen-1.0.zip").symlink_to(secret / "secret-1.0.zip")
        (started.packages / "folder").symlink_to(secret)
        (started.packages / "loop-1.0.zip").symlink_to("loop-1.0.zip")
        for path in ("stolen-1.0.zip", "folder/secret-1.0.zip", "loop-1.0.zip"):
            answer = started.gateway.get(f"/packages/{path}")
            assert (answer.status_code, answer.text) == (404, "Not found.\n")
        assert started.gateway.get(WHEEL).status_code == 200


def test_pages_are_compressed_for_those_who_can(shared_anonymous: Scene) -> None:
    plain = shared_anonymous.gateway.get("/simple/demo/", Accept_Encoding="identity")
    answer = shared_anonymous.gateway.request("GET", "/simple/demo/", headers={"Accept_Encoding": "gzip"}, stream=True)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding, Accept"
    assert answer.headers["ETag"] == f"W/{plain.headers['ETag']}"
    assert gzip.decompress(answer.raw.read()) == plain.content
    assert "Content-Encoding" not in plain.headers
    assert "Content-Encoding" not in shared_anonymous.gateway.get(WHEEL, Accept_Encoding="gzip").headers


def test_head_tells_what_get_sends(shared_anonymous: Scene) -> None:
    for path in ("/simple/demo/", WHEEL):
        body = shared_anonymous.gateway.get(path, Accept_Encoding="identity")
        head = shared_anonymous.gateway.request("HEAD", path, headers={"Accept_Encoding": "identity"})
        assert head.content == b""
        for name in ("Content-Length", "ETag", "Last-Modified", "Content-Type", "Accept-Ranges"):
            assert head.headers[name] == body.headers[name]


def test_ranges(shared_anonymous: Scene) -> None:
    whole = shared_anonymous.gateway.get(WHEEL)
    middle = shared_anonymous.gateway.get(WHEEL, Range="bytes=100-199")
    assert (middle.status_code, middle.content) == (206, whole.content[100:200])
    assert middle.headers["Content-Range"] == "bytes 100-199/51200"
    # How pip and uv read the metadata at the end of a wheel, and how a broken download goes on.
    assert shared_anonymous.gateway.get(WHEEL, Range="bytes=-22").content == whole.content[-22:]
    assert shared_anonymous.gateway.get(WHEEL, Range="bytes=51200-").status_code == 416
    changed = shared_anonymous.gateway.get(WHEEL, Range="bytes=0-9", If_Range='"other"')
    assert (changed.status_code, len(changed.content)) == (200, 51200)
