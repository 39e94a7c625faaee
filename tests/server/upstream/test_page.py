from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.upstream import page
from server.upstream.filenames import is_of
from server.upstream.page import PageError, PublicFile, read

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html; charset=utf-8"
URL = "https://index.example.org/simple/my-pkg/"
SHA = "ab" * 32
NAME = "my_pkg-1.0-py3-none-any.whl"
FILE = {"filename": NAME, "url": f"../../files/{NAME}", "hashes": {"sha256": SHA}}


def as_json(*files: object, **said: object) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "My.Pkg", "files": files, **said}).encode()


def files(body: bytes, content_type: str = JSON) -> tuple[PublicFile, ...]:
    return read("my-pkg", body, content_type, URL).files


def test_a_file_in_json() -> None:
    described = {
        **FILE,
        "size": 7,
        "upload-time": "2026-01-02T03:04:05.678901Z",
        "requires-python": ">=3.9,<4",
        "yanked": "broken",
        "core-metadata": {"sha256": SHA},
        "provenance": "https://index.example.org/provenance",
    }
    (file,) = files(as_json(described))
    assert file == PublicFile(
        filename="my_pkg-1.0-py3-none-any.whl",
        url="https://index.example.org/files/my_pkg-1.0-py3-none-any.whl",
        sha256=SHA,
        size=7,
        upload_time="2026-01-02T03:04:05.678901Z",
        requires_python=">=3.9,<4",
        yanked="broken",
        metadata=SHA,
        provenance="https://index.example.org/provenance",
    )
    assert file.uploaded
    assert file.uploaded.year == 2026


def test_the_same_in_html() -> None:
    body = f"""<!DOCTYPE html><meta name="pypi:repository-version" content="1.3">
    <meta name="pypi:project-status" content="archived">
    <a href="../../files/my_pkg-1.0-py3-none-any.whl#sha256={SHA}" data-requires-python="&gt;=3.9,&lt;4" data-yanked
       data-core-metadata="sha256={SHA}">my_pkg</a>"""
    found = read("my-pkg", body.encode(), HTML, URL)
    assert found.status == "archived"
    (file,) = found.files
    assert file.url == "https://index.example.org/files/my_pkg-1.0-py3-none-any.whl"
    assert (file.sha256, file.metadata, file.yanked, file.requires_python) == (SHA, SHA, "", ">=3.9,<4")
    assert file.uploaded is None


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("my_pkg-1.0-py3-none-any.whl", "my-pkg"),
        ("My.Pkg-1.0.tar.gz", "my-pkg"),
        ("my-pkg-1.0.zip", "my-pkg"),
        ("my_pkg-1.0-py2.7.egg", "my-pkg"),
    ],
)
def test_files_of_the_project(filename: str, project: str) -> None:
    assert is_of(project, filename)


@pytest.mark.parametrize(
    "wrong",
    [
        {"filename": "other-1.0-py3-none-any.whl"},
        {"filename": "my_pkg_evil-1.0-py3-none-any.whl"},
        {"filename": "my_pkg-1.0.rpm"},
        {"filename": "../my_pkg-1.0.zip"},
        {"filename": "my_pkg-1.0<script>.zip"},
        {"filename": "my_pkg-1.0\n.zip"},
        {"filename": f"my_pkg-{'1' * 300}.zip"},
        {"filename": None},
        {"filename": 7},
        {"url": "file:///etc/passwd"},
        {"url": "javascript:alert(1)"},
        {"url": "https://user:password@index.example.org/my_pkg-1.0-py3-none-any.whl"},
        {"url": "https://[::1/my_pkg-1.0-py3-none-any.whl"},
        {"url": "https://index.example.org:99999/a"},
        {"url": "https://index.example.org/a b"},
        {"url": "https://index.example.org/a\r\nHost: evil"},
        {"url": None},
        {"url": "h" * 10_000},
    ],
)
def test_a_file_that_is_none_is_left_out(wrong: dict[str, Any]) -> None:
    right = {**FILE, "filename": "my_pkg-2.0-py3-none-any.whl"}
    assert [file.filename for file in files(as_json({**FILE, **wrong}, right))] == ["my_pkg-2.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"hashes": {"md5": "0" * 32}}, "sha256"),
        ({"hashes": {"sha256": "short"}}, "sha256"),
        ({"hashes": [SHA]}, "sha256"),
        ({"size": -1}, "size"),
        ({"size": "7"}, "size"),
        ({"core-metadata": True}, "metadata"),
        ({"core-metadata": {"sha256": 7}}, "metadata"),
        ({"provenance": "file:///etc/passwd"}, "provenance"),
        ({"upload-time": 7}, "upload_time"),
        ({"requires-python": ["3"]}, "requires_python"),
        ({"yanked": False}, "yanked"),
    ],
)
def test_a_field_that_is_none_is_not_said(wrong: dict[str, Any], field: str) -> None:
    (file,) = files(as_json({**FILE, **wrong}))
    assert getattr(file, field) is None


def test_texts_are_short_and_printable() -> None:
    (file,) = files(as_json({**FILE, "yanked": "a\nb\x00\u202e" + "c" * 10_000}))
    assert file.yanked
    assert file.yanked.startswith("a b  ccc")
    assert len(file.yanked) == page.LONGEST_TEXT


def test_the_first_of_a_name_counts() -> None:
    (file,) = files(as_json(FILE, {**FILE, "hashes": {"sha256": "cd" * 32}}))
    assert file.sha256 == SHA


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"{", JSON, "no JSON"),
        (b"[" * 100_000, JSON, "no JSON"),
        (b'{"a":' * 50_000, JSON, "no JSON"),
        (b"7", JSON, "no JSON"),
        (b"1" * 10_000, JSON, "no JSON"),
        (as_json(FILE, name="other"), JSON, "about 'other'"),
        (as_json(FILE, name=7), JSON, "about '7'"),
        (as_json(FILE, meta={"api-version": "2.0"}), JSON, "of version '2.0'"),
        (as_json(FILE, files={}), JSON, "no list"),
        (b"[" + b"{}," * 2_000_000 + b"{}]", JSON, "parts"),
        (b'<meta name="pypi:repository-version" content="2.0">', HTML, "of version '2.0'"),
        (b'<a href="a">' * 50_001, HTML, "links"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes, content_type: str, reason: str) -> None:
    with pytest.raises(PageError, match=reason):
        read("my-pkg", body, content_type, URL)


def test_a_status_that_nobody_knows_is_none() -> None:
    assert read("my-pkg", as_json(**{"project-status": {"status": "<script>"}}), JSON, URL).status is None
    quarantined = read("my-pkg", as_json(**{"project-status": {"status": "quarantined", "reason": "bad"}}), JSON, URL)
    assert (quarantined.status, quarantined.status_reason) == ("quarantined", "bad")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
FIELDS = st.sampled_from(["filename", "url", "hashes", "size", "yanked", "core-metadata", "provenance", "upload-time"])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(FIELDS, VALUES))
def test_whatever_a_file_says_is_read_or_left_out(wrong: dict[str, Any]) -> None:
    for file in files(as_json({**FILE, **wrong})):
        assert file.filename == FILE["filename"]
        assert file.url.startswith("https://index.example.org/") or "url" in wrong


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary())
def test_whatever_is_no_page_is_refused_or_has_no_files(body: bytes) -> None:
    for content_type in (JSON, HTML):
        try:
            found = files(body, content_type)
        except PageError:
            continue
        assert found == ()


def test_a_provenance_in_html_is_an_address_too() -> None:
    links = {"1": "integrity/1", "2": "javascript:alert(1)", "3": "https://user@evil.example.org/", "4": "a b\n"}
    lines = (
        f'<a href="/f/my_pkg-{number}-py3-none-any.whl#sha256={SHA}" data-provenance="{link}">x</a>'
        for number, link in links.items()
    )
    found = read("my-pkg", "".join(lines).encode(), HTML, URL)
    assert [file.provenance for file in found.files] == [f"{URL}integrity/1", None, None, None]
