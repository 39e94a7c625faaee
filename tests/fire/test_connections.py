"""Ten thousand connections, floods and aborted uploads: honest clients go on, and nothing is left of the others."""

from __future__ import annotations

import contextlib
import logging
import resource
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

import vitals
from gateway_programs import Registry, Setup, basic, make_wheel, multipart, read_all, registry, scene
from hostile_requests import PUBLISHER, READER
from programs import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CONNECTIONS = 10_000
SPARE = 1_000
"""File descriptors for everything else."""
EACH_BYTES = 8_192
"""The most memory that a connection may take which has sent nothing, or half a request."""
_log = logging.getLogger("connections")


@pytest.fixture
def descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + SPARE:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + SPARE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def closed(connections: Sequence[socket.socket], poll: select.epoll) -> int:
    """How many connections the other side has closed; to be asked again and again, each is told once."""
    gone = 0
    for descriptor, _ in poll.poll(0.1, len(connections)):
        poll.unregister(descriptor)
        gone += 1
    return gone


def honest_clients_go_on(running: Registry, wheel: Path, status: int) -> None:
    assert running.gateway.get("/simple/", *READER).status_code == 200
    assert running.gateway.get("/ready").status_code == 200
    assert running.upload(wheel).status_code == status


@pytest.mark.usefixtures("descriptors")
def test_ten_thousand_connections(tmp_path: Path) -> None:
    """Half of them send nothing, half send half a request; all are closed when the time for a header is over."""
    with registry(tmp_path) as running:
        wheel = make_wheel(tmp_path, "honest", "1.0")
        honest_clients_go_on(running, wheel, 200)
        pids = vitals.workers(running.gateway.process)
        memory = [vitals.memory(pids)]
        for _ in range(2):
            connections = [running.gateway.connect() for _ in range(CONNECTIONS)]
            with contextlib.ExitStack() as opened, select.epoll() as poll:
                for connection in connections:
                    opened.enter_context(connection)
                    poll.register(connection, select.EPOLLIN | select.EPOLLHUP)
                for connection in connections[::2]:
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(b"GET /simple/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                honest_clients_go_on(running, wheel, 409)
                memory.append(vitals.memory(pids))
                gone = 0
                deadline = time.monotonic() + 60
                while gone < CONNECTIONS and time.monotonic() < deadline:
                    gone += closed(connections, poll)
                assert gone == CONNECTIONS
            honest_clients_go_on(running, wheel, 409)
            memory.append(vitals.memory(pids))
        _log.info("%d bytes a connection; %s", (max(memory) - memory[0]) // CONNECTIONS, memory)
        # nginx keeps what it has freed, and uses it again for the next ten thousand.
        assert max(memory) - memory[0] < CONNECTIONS * EACH_BYTES
        assert vitals.workers(running.gateway.process) == pids
        assert running.gateway.error_log == ""
        timed_out = [line for line in running.gateway.access_log if line["status"] == 408]
        assert len(timed_out) <= CONNECTIONS


def test_a_header_that_drips_is_cut_off(tmp_path: Path) -> None:
    """The time is for the whole header, not for each byte of it."""
    with scene(tmp_path, Setup(changes={"client_header_timeout 10s": "client_header_timeout 500ms"})) as started:
        with started.gateway.connect() as connection:
            connection.sendall(b"GET /simple/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")

            def refused() -> bool:
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    return True
                return False

            wait_for(refused, "the end of the connection")
        assert len(started.gateway.access_log) == 1


def test_what_is_refused_costs_nothing(tmp_path: Path) -> None:
    with registry(tmp_path) as running:
        gateway = running.gateway
        body, content_type = multipart(make_wheel(tmp_path, "cut", "1.0", padding=bytes(300_000)))
        head = (
            f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*PUBLISHER)}\r\nContent-Type: {content_type}\r\n"
            "Connection: close\r\n"
        ).encode()
        refusals = {
            b"400": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(90)),
            b"413": head + b"Content-Length: 99999999999\r\n\r\n",
            b"414": b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000),
            # Shorter than the form: its end is missing.
            b"400 The": head + b"Content-Length: %d\r\n\r\n" % (len(body) - 10) + body[:-10],
        }
        # Longer than the form, or a client that goes away half way.
        aborted = [head + b"Content-Length: %d\r\n\r\n" % (len(body) + 10) + body[:end] for end in (200_000, len(body))]

        def round_() -> None:
            for status, request in refusals.items():
                with gateway.connect() as connection:
                    connection.sendall(request)
                    assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)
            for request in aborted:
                with gateway.connect() as connection:
                    connection.sendall(request)
                    connection.shutdown(socket.SHUT_WR)
                    read_all(connection)

        for _ in range(10):
            round_()
        pids = vitals.workers(gateway.process) | vitals.workers(running.server.process)
        before, lines = vitals.memory(pids), len(gateway.access_log)
        for _ in range(50):
            round_()
        assert vitals.memory(pids) - before < 4 * vitals.MEBIBYTE
        wait_for(lambda: len(gateway.access_log) >= lines + 300, "the lines of the log")
        assert len(gateway.access_log) == lines + 300
        assert not vitals.files(running.server.packages)
        assert not vitals.files(running.server.temporary)
        assert not gateway.buffered_bodies()
