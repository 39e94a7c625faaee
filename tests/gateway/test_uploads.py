"""Uploads on their way through the gateway: nothing of them is kept there, and what goes wrong is said in full."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

import vitals
from cdk8s_pypiserver import GatewaySpec
from gateway_programs import Registry, Setup, basic, make_wheel, multipart, read_answer, registry, run
from programs import PATIENCE, wait_for

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
LARGE = 20_000_000
"""More than all buffers on the way take: an answer that comes before the end is lost if nobody reads the rest."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path) as started:
        yield started


def begin(running: Registry, wheel: Path, *, framing: str = "") -> tuple[socket.socket, bytes]:
    """Send the head of an upload; returns the connection and the body."""
    body, content_type = multipart(wheel)
    connection = running.gateway.connect()
    connection.sendall(
        f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*PUBLISHER)}\r\nContent-Type: {content_type}\r\n"
        f"{framing or f'Content-Length: {len(body)}'}\r\n\r\n".encode()
    )
    return connection, body


def chunked(body: bytes) -> bytes:
    """A body in chunks, without the last one."""
    blocks = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(block), block) for block in blocks)


def test_a_body_goes_to_the_server_as_it_comes(running: Registry, tmp_path: Path) -> None:
    connection, body = begin(running, make_wheel(tmp_path, "flowing", "1.0", padding=os.urandom(3_000_000)))
    with connection:
        connection.sendall(body[:-1])
        wait_for(lambda: running.received() > 2_900_000, "the file on the volume")
        assert not running.gateway.buffered_bodies()
        assert not vitals.files(running.server.temporary)
        connection.sendall(body[-1:])
        assert read_answer(connection)[0] == 200
    assert not running.received()


def test_a_client_that_stops_sending_leaves_nothing(tmp_path: Path) -> None:
    with registry(tmp_path, Setup(changes={"client_body_timeout 60s": "client_body_timeout 500ms"})) as running:
        connection, body = begin(running, make_wheel(tmp_path, "stalled", "1.0", padding=os.urandom(1_000_000)))
        with connection:
            connection.sendall(body[:-1])
            wait_for(running.received, "a part of the file")
            wait_for(lambda: not running.received(), "the end of the upload")
        assert running.gateway.get("/simple/stalled/", *READER).status_code == 404


def test_a_client_that_goes_away_leaves_nothing(running: Registry, tmp_path: Path) -> None:
    for framing in ("", "Transfer-Encoding: chunked"):
        wheel = make_wheel(tmp_path, "gone", "1.0", padding=os.urandom(1_000_000))
        connection, body = begin(running, wheel, framing=framing)
        with connection:
            connection.sendall(chunked(body) if framing else body[:-1])
            wait_for(running.received, "a part of the file")
        wait_for(lambda: not running.received(), "the end of the upload")
    assert running.gateway.get("/simple/gone/", *READER).status_code == 404
    assert "Traceback" not in running.server.log


def test_chunks(running: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "in_chunks", "1.0", padding=os.urandom(1_000_000))
    connection, body = begin(running, wheel, framing="Transfer-Encoding: chunked")
    with connection:
        connection.sendall(chunked(body))
        # Not a body that had already come whole when the gateway first looked at it.
        wait_for(lambda: running.received() > 900_000, "the file on the volume")
        connection.sendall(b"0\r\n\r\n")
        assert read_answer(connection)[0] == 200
    assert running.gateway.get(f"/packages/{wheel.name}", *READER).content == wheel.read_bytes()


def test_chunks_beyond_the_limit(tmp_path: Path) -> None:
    with registry(tmp_path, Setup(spec=GatewaySpec(max_upload="2Mi"))) as running:
        wheel = make_wheel(tmp_path, "endless", "1.0", padding=os.urandom(4_000_000))
        connection, body = begin(running, wheel, framing="Transfer-Encoding: chunked")
        with connection:
            connection.sendall(chunked(body) + b"0\r\n\r\n")
            assert read_answer(connection) == (413, b"The file is larger than this registry takes: 2Mi at most.\n")
        wait_for(lambda: not running.received(), "the end of the upload")


def test_what_is_refused_is_said_to_whoever_sends_much(running: Registry, tmp_path: Path) -> None:
    known = make_wheel(tmp_path, "known", "1.0", padding=os.urandom(LARGE))
    assert running.upload(known).status_code == 200
    misnamed = known.rename(tmp_path / "known.whl")
    again = make_wheel(tmp_path, "known", "1.0", padding=os.urandom(LARGE))
    for wheel, status, reason in ((again, 409, "already exists"), (misnamed, 400, "Bad filename")):
        refused = running.upload(wheel)
        assert refused.status_code == status
        assert reason in refused.text
        assert not running.received()
    body, _ = multipart(again)
    for content_type, status in (("multipart/form-data", 400), ("application/x-www-form-urlencoded", 413)):
        headers = {"Content-Type": content_type}
        answer = running.gateway.request("POST", "/", *PUBLISHER, data=body, headers=headers)
        assert answer.status_code == status
    assert not vitals.files(running.server.temporary)
    access = ("--username", PUBLISHER[0], "--password", PUBLISHER[1])
    done = run(tmp_path, "uv", "publish", "--publish-url", f"{running.gateway.url}/", *access, str(again))
    assert done.returncode != 0
    assert "already exists" in done.stdout


def test_slow_uploads_hold_up_nobody(tmp_path: Path) -> None:
    """Each takes a thread of the server, but none of those that make pages and check passwords."""
    with registry(tmp_path) as running:
        running.server.stop()
        running.server.environment |= {"THREADS": "6", "CONCURRENT_UPLOADS": "20"}
        running.server.start()
        uploads = [
            begin(running, make_wheel(tmp_path, f"slow_{number}", "1.0", padding=os.urandom(200_000)))
            for number in range(20)
        ]
        for connection, body in uploads:
            connection.sendall(body[:-1])
        wait_for(lambda: running.received() > 20 * 195_000, "all uploads at the server")
        assert running.gateway.get("/simple/", *READER).status_code == 200
        assert running.gateway.get("/simple/nobody/", "reader", "guess").status_code == 401
        assert running.gateway.get("/ready").status_code == 200
        assert running.upload(make_wheel(tmp_path, "one_more", "1.0")).status_code == 503
        for connection, body in uploads:
            connection.sendall(body[-1:])
            assert read_answer(connection)[0] == 200
            connection.close()
        assert running.upload(make_wheel(tmp_path, "one_more", "1.0")).status_code == 200


def test_the_server_ends_after_the_upload_that_it_has_begun(running: Registry, tmp_path: Path) -> None:
    connection, body = begin(running, make_wheel(tmp_path, "last", "1.0", padding=os.urandom(1_000_000)))
    with connection:
        connection.sendall(body[:-1])
        wait_for(running.received, "a part of the file")
        assert running.server.process
        running.server.process.terminate()
        wait_for(lambda: "Handling signal: term" in running.server.log, "the end to begin")
        connection.sendall(body[-1:])
        assert read_answer(connection)[0] == 200
    assert running.server.process.wait(PATIENCE) == 0
    running.server.start()
    assert "last-1.0" in running.gateway.get("/simple/last/", *READER).text


def test_the_server_is_killed_while_much_is_sent(running: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "cut_short", "1.0", padding=os.urandom(LARGE))
    connection, body = begin(running, wheel)
    with connection:
        connection.sendall(body[:1_000_000])
        wait_for(running.received, "a part of the file")
        running.server.kill()
        sending = threading.Thread(target=connection.sendall, args=(body[1_000_000:],))
        sending.start()
        status, text = read_answer(connection)
        sending.join()
    assert (status, text) == (503, b"The package server does not answer; try again.\n")
    running.server.start()
    assert not running.received()
    assert running.upload(wheel).status_code == 200
