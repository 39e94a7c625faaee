"""Paths: what is refused before anything is asked or opened, and where redirects lead."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from gateway_programs import basic

if TYPE_CHECKING:
    from gateway_programs import Scene

READER = f"Host: x\r\nAuthorization: {basic('reader', 'read')}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    "path",
    [
        b"//simple/",
        b"/simple//demo/",
        b"/simple/../simple/",
        b"/simple/./demo/",
        b"/simple/%2e%2e/",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/packages/%2E%2E/packages/demo-1.0-py3-none-any.whl",
        b"/packages/..%2fdemo-1.0.zip",
        b"/packages/nested%2fdemo-1.0.zip",
        b"/packages/nested%5Cdemo-1.0.zip",
        b"/packages/../conf/nginx.conf",
        b"/../../../../etc/passwd",
        b"/packages/.demo-2.0-py3-none-any.whl",
        b"/packages/%2edemo-2.0-py3-none-any.whl",
        b"/packages/nested/.hidden-1.0.zip",
        b"/packages/.pypiserver/initial-password",
        b"/packages/.pypiserver/initial-password.zip",
        b"/packages/.pypiserver/facts-1/demo.json",
        b"/packages/.pypiserver/yanked/demo@1",
        b"/packages/.demo-2.0-py3-none-any.whl.metadata",
        b"/packages/../metadata/demo-1.0-py3-none-any.whl.metadata",
        b"/metadata/demo-1.0-py3-none-any.whl.metadata",
        b"/packages/demo-1.0.tar.gz.metadata",
        b"/packages/nested/",
        b"/packages/nested",
        b"/packages/demo-1.0-py3-none-any.whl/",
        b"/packages/demo-1.0-py3-none-any.whl%00.zip",
        b"/packages/demo-1.0-py3-none-any.whl%20",
        b"/packages/demo\x00-1.0.zip",
        b"/simple/%00/",
        b"/simple/d%C3%A9mo/",
        b"/simple/d\xc3\xa9mo/",
        b"/simple/%c0%ae%c0%ae/",
        b"/simple/demo%0d%0aX-Injected:1",
        b"/simple/demo%0aX-Injected:1/",
        b"/demo%0d%0aX-Injected:1",
        b"/.git/config",
        b"/.well-known/x",
        b"/demo/.json",
        b"/demo/x/json",
        b"/simple/demo/x/",
        b"/-/",
        b"/-/auth/reader?x=/simple/",
        b"/%2d/ready",
        b"/%2d/auth/reader-verdict",
        b"/\\evil.example/",
        b"/packages/" + b"a" * 300 + b"/" + b"b" * 300 + b".zip",
        b"/" + b"a" * 9000,
        b"/" + b"a/" * 1500 + b"../" * 1500 + b"simple/demo/",
        b"/" + b"a/" * 1500 + b"../" * 1500 + b"simple/demo/%0a",
        b"*",
        b"\\simple\\",
    ],
)
def test_odd_paths_reach_neither_the_server_nor_a_file(shared_private: Scene, path: bytes) -> None:
    gateway, recorder = shared_private.gateway, shared_private.recorder
    answer = gateway.exchange(b"GET " + path + b" HTTP/1.1\r\n" + READER)
    assert answer.split(b" ", 2)[1] in {b"400", b"404", b"414"}
    assert b"X-Injected" not in answer.partition(b"\r\n\r\n")[0]
    assert not [each for each in recorder.received if not each.path.startswith("/-/auth/")]


@pytest.mark.parametrize(
    "path", ["/" + "a/" * 3900, "/packages/" + "a/" * 3900 + "a.zip", "/simple/" + "a-" * 3900 + "a/"]
)
def test_no_path_is_too_long_for_a_pattern(shared_private: Scene, path: str) -> None:
    """nginx takes what PCRE gives up for no match in a map, and answers 500 where it looks for a location."""
    assert shared_private.gateway.get(path, "reader", "wrong").status_code < 500
    assert "pcre" not in shared_private.gateway.error_log


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "/simple/"),
        ("/simple/demo", "/simple/demo/"),
        ("/packages", "/packages/"),
        ("/demo/", "/simple/demo/"),
        ("/evil.example", "/simple/evil.example/"),
        ("/simple/evil.example?next=//evil.example", "/simple/evil.example/"),
        ("/simple/Some_Project/", "/simple/some-project/"),
    ],
)
def test_redirects_stay_here(shared_private: Scene, path: str, location: str) -> None:
    headers = {"Host": "evil.example", "X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    answer = shared_private.gateway.get(path, "reader", "read", **headers)
    assert answer.is_redirect
    assert answer.headers["Location"] == location


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    ],
)
def test_malformed_requests(shared_private: Scene, request_: bytes) -> None:
    with shared_private.gateway.connect() as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_a_flood_of_headers(shared_private: Scene) -> None:
    for flood in (b"X-Long: " + b"a" * 9000 + b"\r\n", b"".join(b"X-%d: %s\r\n" % (n, b"a" * 90) for n in range(999))):
        answer = shared_private.gateway.exchange(b"GET /simple/ HTTP/1.1\r\n" + flood + READER)
        assert answer.startswith(b"HTTP/1.1 400 ")
