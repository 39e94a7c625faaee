"""What is bounded: bodies, slow clients, concurrent publishes; and what runs as whom."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cdk8s_pypiserver import GatewaySpec
from flooding import TRUSTED, address
from gateway_programs import (
    Gateway,
    Recorder,
    Scene,
    Setup,
    basic,
    make_wheel,
    read_all,
    read_answer,
    scene,
    twine_upload,
)
from programs import wait_for

PUBLISHER = basic("publisher", "publish")


def post_head(length: int, authorization: str = PUBLISHER) -> bytes:
    return (
        f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def test_a_body_over_the_limit(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(spec=GatewaySpec(max_upload="100Ki"))) as started:
        gateway = started.gateway
        # More than the buffers of both sockets take: the answer is lost unless the rest is read and dropped.
        body = bytes(20_000_000)
        answer = gateway.request("POST", "/", "publisher", "publish", data=body)
        assert (answer.status_code, answer.text) == (
            413,
            "The file is larger than this registry takes: 100Ki at most.\n",
        )
        wheel = make_wheel(tmp_path, "large", "1.0", padding=os.urandom(8_000_000))
        upload = twine_upload(tmp_path, gateway.url, wheel, credentials=("publisher", "publish"))
        assert upload.returncode != 0
        assert "413 Request Entity Too Large" in upload.stdout
        with gateway.connect() as connection:
            connection.sendall(post_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
            chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
            connection.sendall(chunk * 3 + b"0\r\n\r\n")
            assert read_answer(connection)[0] == 413
        assert gateway.request("POST", "/", "publisher", "publish", data=bytes(100_000)).status_code == 200
        assert len(started.recorder.asked("/", "POST")) == 1


def test_a_large_upload_with_a_wrong_password_gets_a_clear_answer(private: Scene, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "large", "1.0", padding=os.urandom(8_000_000))
    for credentials, reason in (
        (("publisher", "guess"), "password is missing or wrong"),
        (("reader", "read"), "may not publish"),
    ):
        upload = twine_upload(tmp_path, private.gateway.url, wheel, credentials=credentials)
        assert upload.returncode != 0
        assert reason in upload.stdout
    assert not private.recorder.asked("/", "POST")


def test_only_a_publish_has_a_body(anonymous: Scene) -> None:
    for path in ("/", "/simple/", "/simple/other/", "/health"):
        assert anonymous.gateway.request("GET", path, data=bytes(2000)).status_code == 413
    assert not anonymous.recorder.received


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ("client_header_timeout 10s", b"GET /simple/ HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        ("client_body_timeout 60s", post_head(1000) + b"x"),
        ("keepalive_timeout 75s", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
)
def test_a_client_that_stops_sending_is_closed(tmp_path: Path, limit: str, sent: bytes) -> None:
    with scene(tmp_path, Setup(changes={limit: limit.rpartition(" ")[0] + " 300ms"})) as started:
        with started.gateway.connect() as connection:
            connection.sendall(sent)
            # Returns at the end of the connection; the socket's own time-out would raise.
            read_all(connection)
        assert started.gateway.get("/health").status_code == 200


def test_a_client_that_stops_reading_is_closed(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(anonymous=True, changes={"send_timeout 30s": "send_timeout 300ms"})) as started:
        with (started.packages / "large-1.0.zip").open("wb") as file:
            file.truncate(100_000_000)
        with started.gateway.connect() as connection:
            connection.sendall(b"GET /packages/large-1.0.zip HTTP/1.1\r\nHost: x\r\n\r\n")
            line = started.gateway.logged(path="/packages/large-1.0.zip")
            assert line["bytes"] < 100_000_000


def test_exchanges_are_bounded_of_one_address_and_of_all(tmp_path: Path) -> None:
    setup = Setup(
        trusted=True,
        environment=TRUSTED,
        changes={"exchanges 8;": "exchanges 2;", "exchanges_in_all 64;": "exchanges_in_all 3;"},
    )
    with scene(tmp_path, setup) as started:
        gateway, recorder = started.gateway, started.recorder
        recorder.hold.clear()

        def exchange(client: int) -> int:
            headers = {"X-Forwarded-For": address(client)}
            return gateway.request("POST", "/_/oidc/mint-token", data=b"{}", headers=headers).status_code

        with ThreadPoolExecutor() as others:
            held = [others.submit(exchange, client) for client in (1, 1)]
            wait_for(lambda: len(recorder.asked("/_/oidc/")) == 2, "two exchanges at the server")
            assert exchange(1) == 503
            held.append(others.submit(exchange, 2))
            wait_for(lambda: len(recorder.asked("/_/oidc/")) == 3, "another one")
            assert exchange(3) == 503
            assert gateway.error_log == ""
            assert gateway.request("POST", "/", "reader", "read").status_code == 403
            recorder.hold.set()
            assert [each.result() for each in held] == [200, 200, 200]
        assert exchange(3) == 200


def test_concurrent_publishes_are_bounded(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(spec=GatewaySpec(concurrent_uploads=2))) as started:
        gateway, recorder = started.gateway, started.recorder
        recorder.hold.clear()
        statuses: list[int] = []

        def publish() -> None:
            statuses.append(gateway.request("POST", "/", "publisher", "publish", data=b"x").status_code)

        threads = [threading.Thread(target=publish) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(recorder.asked("/", "POST")) == 2, "two publishes at the server")
        refused = gateway.request("POST", "/", "publisher", "publish", data=bytes(3_000_000))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert "Too many" in refused.text
        assert gateway.get("/simple/", "reader", "read").status_code == 200
        recorder.hold.set()
        for thread in threads:
            thread.join()
        assert statuses == [200, 200]
        assert gateway.request("POST", "/", "publisher", "publish", data=b"x").status_code == 200


def test_the_refused_take_no_place_of_a_publisher(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(spec=GatewaySpec(concurrent_uploads=1))) as started:
        refused = [started.gateway.connect() for _ in range(3)]
        for connection in refused:
            connection.sendall(post_head(1_000_000, basic("publisher", "guess")) + bytes(500_000))
            assert connection.recv(12) == b"HTTP/1.1 401"
        assert not started.gateway.buffered_bodies()
        assert started.gateway.request("POST", "/", "publisher", "publish", data=b"x").status_code == 200
        for connection in refused:
            connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_any_user_can_run_it() -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        directory.chmod(0o755)
        packages, pages = directory / "packages", directory / "pages"
        with Recorder() as recorder:
            gateway = Gateway(directory, recorder.port, packages=packages, pages=pages)
            make_wheel(packages, "demo", "1.0")
            for path in (gateway.verdicts, directory / "tmp", directory):
                os.chown(path, 12345, 12345)
            try:
                gateway.start(user=12345)
                assert gateway.get("/packages/demo-1.0-py3-none-any.whl", "reader", "read").status_code == 200
                assert gateway.request("POST", "/", "publisher", "publish", data=bytes(500_000)).status_code == 200
                assert {path.stat().st_uid for path in (directory / "tmp").iterdir()} == {12345}
                assert "emerg" not in gateway.error_log
                assert gateway.stop() == 0
            finally:
                gateway.kill()
    finally:
        shutil.rmtree(directory)


def test_many_connections(anonymous: Scene) -> None:
    connections = [anonymous.gateway.connect() for _ in range(400)]
    for connection in connections:
        connection.sendall(b"GET /simple/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert {read_answer(connection)[0] for connection in connections} == {200}
    for connection in connections:
        connection.close()
