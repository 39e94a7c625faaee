"""What the gateway itself says to those it refuses: for a POST in the status line, all that many clients show."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from cdk8s_pypiserver import GatewaySpec
from gateway_programs import Registry, Setup, basic, make_wheel, multipart, read_answer, registry, scene
from programs import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_programs import Scene

REASONS = [
    ("/", ("", ""), 1000, 401, "The user name or the password is missing or wrong; twine"),
    ("/", ("publisher", "guess"), 1000, 401, "The user name or the password is missing or wrong; twine"),
    ("/", ("reader", "reader-password"), 1000, 403, "This user may not publish or remove"),
    (
        "/",
        ("publisher", "publisher-password"),
        20_000_000,
        413,
        "The file is larger than this registry takes: 10Mi at most",
    ),
    ("/simple/", ("", ""), 1000, 405, "This address takes no POST; publish to the address"),
    ("/simple/", ("publisher", "publisher-password"), 1000, 405, "This address takes no POST; publish to the address"),
    (
        "//",
        ("publisher", "publisher-password"),
        1000,
        404,
        "There is nothing at this address; publish to the address of",
    ),
    ("/RPC2", ("", ""), 1000, 404, "There is nothing at this address; publish to the address of the registry itself"),
]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), Setup(spec=GatewaySpec(max_upload="10Mi"))) as running:
        yield running


@pytest.mark.parametrize(("path", "user", "size", "status", "reason"), REASONS)
@pytest.mark.parametrize("empty", [False, True])
def test_a_refused_post_has_its_reason_in_the_status_line(  # noqa: PLR0913, PLR0917
    limited: Registry, path: str, user: tuple[str, str], size: int, status: int, reason: str, *, empty: bool
) -> None:
    if empty and status == 413:
        return
    answer = limited.gateway.request("POST", path, *user, data=b"" if empty else bytes(size))
    assert answer.status_code == status
    assert answer.reason.startswith(reason)
    assert answer.text == f"{answer.reason}.\n"
    assert (answer.headers.get("WWW-Authenticate") == 'Basic realm="pypiserver"') is (status == 401)
    assert ("Allow" in answer.headers) is (status == 405)
    assert "too large body: 1000 bytes" not in limited.gateway.error_log
    assert limited.gateway.logged(status=status, path=path)["method"] == "POST"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
def test_a_page_in_a_browser_publishes_nothing(limited: Registry, tmp_path: Path, origin: str) -> None:
    """A browser sends the credentials that it knows along, whoever has made the page: no program sends this header."""
    body, kind = multipart(make_wheel(tmp_path, "forged", "1.0"))
    headers = {"Content-Type": kind, "Origin": origin}
    for data in (body, b""):
        answer = limited.gateway.request("POST", "/", "publisher", "publisher-password", data=data, headers=headers)
        assert (answer.status_code, answer.text) == (403, f"{answer.reason}.\n")
        assert answer.reason.startswith("A page in a browser has sent this")
    assert limited.gateway.get("/simple/forged/", "reader", "reader-password").status_code == 404
    # Without credentials nobody is told more.
    assert limited.gateway.request("POST", "/", headers={"Origin": origin}).status_code == 403


def test_the_body_of_a_refused_post_is_not_asked_for(limited: Registry) -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
    for authorization in ("", f"Authorization: {basic('reader', 'reader-password')}\r\n"):
        with limited.gateway.connect() as connection:
            connection.sendall(f"{head}{authorization}\r\n".encode())
            assert connection.recv(12) in (b"HTTP/1.1 401", b"HTTP/1.1 403")
    with limited.gateway.connect() as connection:
        connection.sendall(f"{head}\r\n".replace("POST /", "POST //").encode())
        assert connection.recv(12) == b"HTTP/1.1 404"


MALFORMED = "This is no request that can be read, or its header is too large.\n"


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        ("get /simple/ HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request", MALFORMED),
        ("GET /simple/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Bad Request", MALFORMED),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", "400 Bad Request", MALFORMED),
        (f"GET /simple/ HTTP/1.1\r\nHost: x\r\nX-Long: {'x' * 9000}\r\n\r\n", "400 Bad Request", MALFORMED),
        (f"GET /{'x' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n", "414 Request-URI Too Large", "This address is too long.\n"),
    ],
)
def test_what_nginx_cannot_read_is_refused_in_plain_text(
    limited: Registry, request_: str, status: str, text: str
) -> None:
    with limited.gateway.connect() as connection:
        connection.sendall(request_.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(10_000), b"")).decode()
    assert answer.startswith(f"HTTP/1.1 {status}\r\n")
    assert "Content-Type: text/plain" in answer
    assert answer.endswith(f"\r\n\r\n{text}")


def test_nothing_of_a_refused_body_is_kept(limited: Registry) -> None:
    with limited.gateway.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + bytes(3_000_000))
        assert connection.recv(12) == b"HTTP/1.1 401"
        assert not limited.gateway.buffered_bodies()


def test_a_connection_goes_on_after_a_refusal(limited: Registry) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    with limited.gateway.connect() as connection:
        connection.sendall(request)
        assert read_answer(connection)[0] == 401
    with limited.gateway.connect() as connection:
        connection.sendall(
            request.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked").replace(
                b"body", b"4\r\nbody\r\n0\r\n\r\n"
            )
        )
        assert read_answer(connection)[0] == 401


def test_the_refusals_of_a_server_that_is_away(private: Scene) -> None:
    private.recorder.stop()
    answer = private.gateway.request("POST", "/simple/", "publisher", "publish", data=b"body" * 1000)
    assert (answer.status_code, answer.reason, answer.headers["Allow"]) == (405, "Not Allowed", "GET, HEAD")
    for method in ("GET", "POST"):
        answer = private.gateway.request(method, "/", "publisher", "publish", data=b"body")
        assert (answer.status_code, answer.text) == (503, "The package server does not answer; try again.\n")


def test_a_flood_of_passwords_is_told_from_a_server_that_is_away(private: Scene) -> None:
    private.recorder.verdict = lambda *_: 503  # type: ignore[method-assign]
    for method in ("GET", "POST"):
        answer = private.gateway.request(method, "/", "publisher", "publish", data=b"body")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.text == "Too many passwords are being checked; try again.\n"


def test_one_upload_too_many_is_told_when_to_come_again(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(spec=GatewaySpec(concurrent_uploads=1))) as started:
        started.recorder.hold.clear()
        first = threading.Thread(target=started.gateway.request, args=("POST", "/", "publisher", "publish"))
        first.start()
        wait_for(lambda: started.recorder.asked("/", "POST"), "the first upload")
        answer = started.gateway.request("POST", "/", "publisher", "publish", data=b"x" * 1000)
        started.recorder.hold.set()
        first.join()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.reason == "Too many files are being published at once; try again"


def test_a_reader_is_told_where_credentials_belong(limited: Registry) -> None:
    answer = limited.gateway.get("/simple/")
    assert answer.status_code == 401
    assert "https://USER:PASSWORD@HOST/simple/" in answer.text
    assert "netrc" in answer.text
