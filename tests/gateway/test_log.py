"""The access log: one JSON line a request, and no secret in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cdk8s_pypiserver import GatewaySpec
from gateway_programs import Setup, basic, scene

if TYPE_CHECKING:
    from pathlib import Path

    from gateway_programs import Scene

PASSWORD = "correct-horse-battery"


def test_a_line(private: Scene) -> None:
    headers = {
        "User_Agent": 'pip/26 {"ci":null}',
        "X_Forwarded_For": "192.0.2.7, 10.0.0.1",
        "Accept_Encoding": "identity",
    }
    private.gateway.get("/simple/demo/?token=sesame", "reader", "read", **headers)
    line = private.gateway.logged(status=200)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", line.pop("time"))
    assert line.pop("duration") >= 0
    assert line.pop("request_length") > 100
    assert line == {
        "remote": "127.0.0.1",
        "user": "reader",
        "method": "GET",
        "path": "/simple/demo/",
        "status": 200,
        "bytes": 5500,
        "upstream_duration": None,
        "request_id": "",
        "user_agent": 'pip/26 {"ci":null}',
    }


def test_the_server_is_told_the_id_that_is_logged(private: Scene) -> None:
    private.gateway.get("/simple/other/", "reader", "read", X_Request_ID="of-the-client")
    line = private.gateway.logged(path="/simple/other/")
    assert [each.headers["X-Request-ID"] for each in private.recorder.received] == [line["request_id"]] * 2
    assert re.fullmatch("[0-9a-f]{32}", line["request_id"])
    assert line["upstream_duration"] >= 0


@pytest.mark.parametrize(
    ("proxies", "forwarded", "remote"),
    [
        ("127.0.0.0/8", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.0/8", "192.0.2.7", "192.0.2.7"),
        ("::1 127.0.0.1", "198.51.100.9, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1 10.0.0.0/8", "198.51.100.9, 192.0.2.7, 10.0.0.1", "192.0.2.7"),
        ("127.0.0.0/8", '"}, {"a":"', "127.0.0.1"),
        ("127.0.0.0/8", "", "127.0.0.1"),
        ("10.0.0.0/8", "192.0.2.7", "127.0.0.1"),
        ("", "192.0.2.7", "127.0.0.1"),
    ],
)
def test_the_client_is_whom_a_trusted_proxy_names(tmp_path: Path, proxies: str, forwarded: str, remote: str) -> None:
    with scene(tmp_path, Setup(environment={"TRUSTED_PROXIES": proxies})) as started:
        gateway = started.gateway
        gateway.get("/demo/json", "reader", "read", X_Forwarded_For=forwarded, X_Forwarded_Host="a.example")
        assert gateway.logged(path="/demo/json")["remote"] == remote
        (verdict,) = started.recorder.asked("/-/auth/")
        assert verdict.headers["X-Forwarded-For"] == remote
        (described,) = started.recorder.asked("/demo/json")
        # Where no proxy is named an Ingress still has to work.
        assert ("X-Forwarded-Host" in described.headers) is (not proxies.startswith("10."))


def test_every_request_leaves_a_line_that_can_be_read(private: Scene) -> None:
    gateway = private.gateway
    authorization = f"Authorization: {basic('reader', 'read')}\r\n".encode()
    for request in (
        b"GET /\xff\xfe?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b'GET /simple/ HTTP/1.1\r\nHost: x\r\nUser-Agent: \xff\xfe"\\\r\nConnection: close\r\n'
        + authorization
        + b"\r\n",
        b'GET /"},{"/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
        b"GET /simple/\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"GET http://alice:sesame@host/simple/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ):
        gateway.exchange(request)
    assert gateway.stop() == 0
    assert len(gateway.access_log) == 7
    assert all(isinstance(line["status"], int) for line in gateway.access_log)


def test_probes_are_logged_only_when_they_fail(private: Scene) -> None:
    for _ in range(3):
        assert private.gateway.get("/health").ok
        assert private.gateway.get("/ready").ok
    private.recorder.stop()
    assert private.gateway.get("/health").status_code == 503
    assert private.gateway.get("/ready").status_code == 503
    private.gateway.get("/last")
    private.gateway.logged(path="/last")
    assert [(line["path"], line["status"]) for line in private.gateway.access_log] == [
        ("/health", 503),
        ("/ready", 503),
        ("/last", 303),
    ]


def test_no_log_has_a_secret(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(spec=GatewaySpec(max_upload="10Ki"))) as started:
        gateway, recorder = started.gateway, started.recorder
        recorder.users = {"alice": (PASSWORD, "publisher")}
        encoded = basic("alice", PASSWORD)
        for path in ("/", "/simple/", "/simple/demo/", "/simple/other/", "/packages/absent-1.0.zip", "/.x", "/RPC2"):
            gateway.get(path, "alice", PASSWORD, Cookie=PASSWORD, Referer=f"http://alice:{PASSWORD}@host/")
            gateway.get(f"{path}?password={PASSWORD}", "alice", PASSWORD)
            # User and password swapped: refused, and the name is not logged.
            gateway.get(path, PASSWORD, "alice")
        gateway.request("POST", "/", "alice", PASSWORD, data=f"password={PASSWORD}".encode())
        gateway.request("POST", "/", "alice", PASSWORD, data=bytes(20_000))
        line = f"GET /simple/ HTTP/1.1\r\nHost: x\r\nAuthorization: {encoded}\r\n"
        gateway.exchange(f"{line}Authorization: {encoded}\r\n\r\n".encode())
        gateway.exchange(f"{line}X: {'a' * 9000}\r\n\r\n".encode())
        # The server is away, and the verdict is not yet known.
        recorder.stop()
        assert gateway.get("/simple/", "alice", PASSWORD + "x").status_code == 503
        assert gateway.request("POST", "/", "alice", PASSWORD, data=b"x").status_code == 503
        gateway.get("/simple/", PASSWORD, "alice")
        assert gateway.stop() == 0
        logs = (tmp_path / "access.log").read_text() + gateway.error_log
    assert "alice" in logs
    for secret in (PASSWORD, encoded.removeprefix("Basic "), basic(PASSWORD, "alice").removeprefix("Basic ")):
        assert secret not in logs
