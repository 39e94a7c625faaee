"""What goes on while the server is away, and what the end of either program loses: nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socketserver
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

import vitals
from gateway_programs import (
    Gateway,
    Recorder,
    Registry,
    Setup,
    basic,
    make_wheel,
    multipart,
    read_answer,
    registry,
    run,
    scene,
    twine_upload,
)
from programs import Server, wait_for
from remote_volume import ALL, READ, mounted
from server.http.negotiation import JSON
from server.volume import marker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gateway_programs import Scene
    from remote_volume import RemoteVolume

PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
SLOW = Setup(slow_volume=True, changes={"proxy_read_timeout 10s;\n# As": "proxy_read_timeout 1s;\n# As"})
THREADS = 8
"""Of a server that is to run out of them."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path) as started:
        yield started


def bytes_waiting_for(port: int) -> int:
    """How many bytes the kernel holds for the program that listens on a port."""
    address = f":{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if row[1].endswith(address) and row[3] == "01")


def test_the_server_is_killed_during_an_upload(running: Registry, tmp_path: Path) -> None:
    gateway, server = running.gateway, running.server
    assert running.upload(make_wheel(tmp_path, "before", "1.0")).status_code == 200
    wheel = make_wheel(tmp_path, "during", "1.0", padding=os.urandom(3_000_000))
    answers: list[requests.Response] = []
    assert server.process
    os.killpg(server.process.pid, signal.SIGSTOP)
    upload = threading.Thread(target=lambda: answers.append(running.upload(wheel)))
    upload.start()
    wait_for(lambda: bytes_waiting_for(server.port) > 10_000, "the upload at the server")
    server.kill()
    upload.join()
    assert answers[0].status_code == 503
    assert answers[0].headers["Retry-After"]
    server.start()
    assert gateway.get("/simple/during/", *READER).status_code == 404
    assert "during" not in gateway.get("/simple/", *READER).text
    assert gateway.get(f"/packages/{wheel.name}", *READER).status_code == 404
    retry = twine_upload(tmp_path, gateway.url, wheel, credentials=PUBLISHER)
    assert retry.returncode == 0, retry.stdout
    assert gateway.get(f"/packages/{wheel.name}", *READER).content == wheel.read_bytes()


def test_reads_go_on_while_the_server_is_away(running: Registry, tmp_path: Path) -> None:
    gateway = running.gateway
    wheel = make_wheel(tmp_path, "known", "1.0")
    assert running.upload(wheel).status_code == 200
    for path in ("/simple/", "/simple/known/"):
        for accept in ("text/html", JSON):
            assert gateway.get(path, *READER, Accept=accept).status_code == 200
    running.server.kill()
    for path in ("/simple/", "/simple/known/", f"/packages/{wheel.name}"):
        assert gateway.get(path, *READER).status_code == 200
    assert gateway.get(f"/packages/{wheel.name}", *READER).content == wheel.read_bytes()
    assert gateway.get("/simple/").status_code == 401
    waiting = [
        gateway.get("/simple/unknown/", *READER),
        gateway.get("/", *READER),
        gateway.get("/packages/", *READER),
        gateway.get("/known/json", *READER),
        gateway.get("/simple/known/", "other-reader", "not-yet-judged"),
        gateway.request("POST", "/", *PUBLISHER, data=b"x"),
        gateway.request("POST", "/", "other-publisher", "not-yet-judged", data=b"x"),
        gateway.get("/health"),
        gateway.get("/ready"),
    ]
    for answer in waiting:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.text == "The package server does not answer; try again.\n"
    pip = ["uv", "pip", "install", "--no-cache", "--target", str(tmp_path / "got"), "--default-index"]
    address = gateway.url.replace("://", f"://{READER[0]}:{READER[1]}@")
    done = run(tmp_path, *pip, f"{address}/simple/", "known==1.0")
    assert done.returncode == 0, done.stdout
    running.server.start()
    assert gateway.get("/simple/unknown/", *READER).status_code == 404
    assert gateway.request("POST", "/", *PUBLISHER, data=b"x").status_code == 400


def test_an_old_verdict_lets_readers_in_while_the_server_is_away(tmp_path: Path) -> None:
    with scene(tmp_path, Setup(changes={"proxy_cache_valid 204 30s": "proxy_cache_valid 204 1s"})) as started:
        gateway, recorder = started.gateway, started.recorder
        assert gateway.get("/simple/", "reader", "read").status_code == 200
        recorder.stop()
        asked = len(recorder.received)
        # The verdict is over when asking for it has failed.
        wait_for(
            lambda: gateway.get("/simple/", "reader", "read").status_code != 200 or "auth/reader" in gateway.error_log,
            "the end of the verdict",
        )
        assert len(recorder.received) == asked
        assert gateway.get("/simple/", "reader", "read").status_code == 200
        assert gateway.get("/simple/", "reader", "guess").status_code == 503


def test_the_gateway_does_not_keep_the_server_from_ending(running: Registry, tmp_path: Path) -> None:
    for number in range(2):
        wheel = make_wheel(tmp_path, "restarted", f"1.{number}")
        assert running.upload(wheel).status_code == 200
        assert wheel.name in running.gateway.get("/simple/restarted/", *READER).text
        # Fails if the server waits for a connection that the gateway keeps: that takes longer than a test's patience.
        running.server.stop()
        running.server.start()
        assert wheel.name in running.gateway.get("/simple/restarted/", *READER).text


def test_quit_finishes_what_has_begun(running: Registry, tmp_path: Path) -> None:
    gateway = running.gateway
    content = os.urandom(40_000_000)
    (running.server.packages / "large-1.0.zip").write_bytes(content)
    wheel = make_wheel(tmp_path, "slowly", "1.0", padding=os.urandom(1_000_000))
    body, content_type = multipart(wheel)
    with gateway.connect() as download, gateway.connect() as upload, gateway.connect() as idle:
        download.sendall(
            f"GET /packages/large-1.0.zip HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*READER)}\r\n\r\n".encode()
        )
        assert download.recv(15) == b"HTTP/1.1 200 OK"
        upload.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*PUBLISHER)}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:-1]
        )
        idle.sendall(b"GET /simple HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(idle)[0] == 301
        wait_for(running.received, "the body of the upload")
        gateway.quit()
        wait_for(lambda: not gateway.accepts(), "the end of accepting")
        assert idle.recv(1) == b""
        upload.sendall(body[-1:])
        assert read_answer(upload)[0] == 200
        rest = b"".join(iter(lambda: download.recv(1 << 20), b""))
        sent = rest.partition(b"\r\n\r\n")[2]
        assert hashlib.sha256(sent).digest() == hashlib.sha256(content).digest()
    assert gateway.process
    assert gateway.process.wait(20) == 0
    assert not gateway.pid_file.exists()
    gateway.start()
    assert wheel.name in gateway.get("/simple/slowly/", *READER).text


def test_the_gateway_is_killed_during_an_upload(running: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "cut_off", "1.0", padding=os.urandom(1_000_000))
    body, content_type = multipart(wheel)
    with running.gateway.connect() as upload:
        upload.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*PUBLISHER)}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:-1]
        )
        wait_for(running.received, "the body of the upload")
        running.gateway.kill()
    running.gateway.start()
    assert running.gateway.get("/simple/cut-off/", *READER).status_code == 404
    assert running.upload(wheel).status_code == 200


def test_a_server_that_hangs_holds_up_no_file(private: Scene) -> None:
    assert private.gateway.get("/simple/", "reader", "read").status_code == 200
    private.recorder.hold.clear()
    upload = threading.Thread(
        target=private.gateway.request, args=("POST", "/", "publisher", "publish"), kwargs={"data": b"x"}
    )
    upload.start()
    wait_for(lambda: private.recorder.asked("/", "POST"), "the upload at the server")
    assert private.gateway.get("/simple/demo/", "reader", "read").status_code == 200
    private.recorder.hold.set()
    upload.join()


def test_packages_of_a_volume_that_can_hang_are_opened_by_the_server_alone(running: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "remote", "1.0", padding=os.urandom(3_000_000))
    assert running.upload(wheel).status_code == 200
    nothing, path = tmp_path / "nothing", f"/packages/{wheel.name}"
    setup = Setup(slow_volume=True)
    server = running.server
    with Gateway(
        tmp_path / "slow",
        server.port,
        verdicts_port=server.verdicts_port,
        packages=nothing,
        pages=server.pages,
        setup=setup,
    ) as gateway:
        whole = gateway.get(path, *READER)
        assert (whole.status_code, whole.content) == (200, wheel.read_bytes())
        assert whole.headers["Cache-Control"] == "private, max-age=31536000"
        part = gateway.get(path, *READER, Range="bytes=100-199")
        assert (part.status_code, part.content) == (206, wheel.read_bytes()[100:200])
        unchanged = gateway.get(path, *READER, If_Modified_Since=whole.headers["Last-Modified"])
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert gateway.request("HEAD", path, *READER).headers["Content-Length"] == str(len(wheel.read_bytes()))
        assert gateway.get(path).status_code == 401
        assert gateway.get("/packages/missing-1.0-py3-none-any.whl", *READER).status_code == 404


def test_a_question_that_meets_the_end_of_the_server_is_asked_again(tmp_path: Path) -> None:
    """The gateway keeps connections for its questions, and the next one may come as their process ends."""
    asked: list[int] = []

    class Ending(socketserver.StreamRequestHandler):
        """Answers one question, and takes another, which it does not answer."""

        def handle(self) -> None:
            for answer in (b"HTTP/1.1 204 No Content\r\n\r\n", b""):
                while self.rfile.readline().strip():
                    pass
                asked.append(self.client_address[1])
                self.wfile.write(answer)

    with (
        Recorder() as server,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ending) as ending,
        Gateway(
            tmp_path / "gateway",
            server.port,
            verdicts_port=ending.server_address[1],
            packages=tmp_path / "packages",
            pages=tmp_path / "pages",
        ) as gateway,
    ):
        threading.Thread(target=ending.serve_forever, daemon=True).start()
        answers = [gateway.get("/simple/demo/", f"user-{each}", "any").status_code for each in range(20)]
        ending.shutdown()
    assert answers == [200] * 20
    assert len(set(asked)) < len(asked), "no connection was kept"


@contextlib.contextmanager
def remote_registry(
    directory: Path, files: Mapping[str, bytes], setup: Setup = SLOW
) -> Iterator[tuple[RemoteVolume, Gateway]]:
    """A registry whose packages are on a volume that can hang; unless it is a slow one, nginx opens them."""
    (directory / "remote").mkdir()
    environment = {
        "PACKAGES_DIRECTORY": str(directory / "remote"),
        "PUBLISH_METHOD": "direct",
        "READY_TIMEOUT_SECONDS": "1",
        "THREADS": str(THREADS),
    }
    with (
        mounted(directory / "remote", {**files, marker.FILE: b"identity"}) as volume,
        Server(directory / "server", environment) as server,
    ):
        gateway = Gateway(
            directory,
            server.port,
            verdicts_port=server.verdicts_port,
            packages=directory / ("nothing" if setup.slow_volume else "remote"),
            pages=server.pages,
            setup=setup,
        )
        with gateway:
            try:
                yield volume, gateway
            finally:
                # What waits for it can not be killed.
                volume.come_back()


@contextlib.contextmanager
def reading(gateway: Gateway, path: str, clients: int) -> Iterator[list[requests.Response]]:
    """Clients that ask for a path all at once; the block is given their answers, which are complete after it."""
    answers: list[requests.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.get(path, *READER))) for _ in range(clients)]
    for thread in threads:
        thread.start()
    yield answers
    for thread in threads:
        thread.join()


def test_packages_of_a_volume_that_is_away_are_refused_until_it_is_back(tmp_path: Path) -> None:
    path, content = "/packages/remote-1.0.tar.gz", os.urandom(3_000_000)
    with remote_registry(tmp_path, {"remote-1.0.tar.gz": content}) as (volume, gateway):
        assert gateway.get(path, *READER).content == content
        assert gateway.get("/simple/remote/", *READER).status_code == 200
        volume.hang()
        # Before it is known, and fewer than there are threads for the volume.
        with reading(gateway, path, 2) as early:
            wait_for(lambda: "has not answered" in gateway.get("/ready").text, "the volume to be missed")
            refused = gateway.get(path, *READER)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
            assert "has not answered" in refused.text
            assert gateway.get("/health").status_code == 200
            assert gateway.get("/simple/remote/", *READER).status_code == 200
            # From memory, by the server.
            assert "1 packages" in gateway.get("/", *READER).text
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in early} == {(503, "5")}
        volume.come_back()
        wait_for(lambda: gateway.get(path, *READER).status_code == 200, "the volume to be back")
        assert gateway.get(path, *READER).content == content


def test_readers_whose_file_hangs_leave_threads_to_others(tmp_path: Path) -> None:
    path, content = "/packages/remote-1.0.tar.gz", os.urandom(3_000_000)
    with remote_registry(tmp_path, {"remote-1.0.tar.gz": content}) as (volume, gateway):
        assert gateway.get("/simple/", *READER).status_code == 200
        volume.hang({READ})
        with reading(gateway, path, THREADS + 1) as answers:
            pass
        assert {(answer.status_code, answer.headers["Retry-After"]) for answer in answers} == {(503, "5")}
        assert gateway.get("/health").status_code == 200
        assert gateway.get("/simple/", *PUBLISHER).status_code == 200
        volume.come_back()
        wait_for(lambda: gateway.get(path, *READER).status_code == 200, "the threads to be free again")
        assert gateway.get(path, *READER).content == content


@pytest.mark.parametrize(
    ("hanging", "deaf"), [(ALL, False), ({READ}, False), (ALL, True)], ids=["everything", "content", "deaf"]
)
@pytest.mark.parametrize("clients", [2, 10])
@pytest.mark.parametrize("setup", [Setup(), SLOW], ids=["nginx", "server"])
def test_a_volume_that_hangs_stops_its_packages_alone(
    tmp_path: Path, setup: Setup, clients: int, hanging: Collection[int], deaf: bool
) -> None:
    # Nobody has asked for it, so that it is nowhere in memory.
    path, content = "/packages/unread-1.0.tar.gz", os.urandom(3_000_000)
    files = {"remote-1.0.tar.gz": b"content", "unread-1.0.tar.gz": content}
    with remote_registry(tmp_path, files, setup) as (volume, gateway):
        assert gateway.get("/simple/remote/", *READER).status_code == 200
        assert gateway.process
        before = vitals.workers(gateway.process)
        ends: list[int | None] = []

        def read() -> None:
            try:
                ends.append(gateway.get(path, *READER).status_code)
            except requests.RequestException:
                ends.append(None)

        volume.hang(hanging, deaf=deaf)
        threads = [threading.Thread(target=read) for _ in range(clients)]
        for thread in threads:
            thread.start()
        wait_for((gateway.pages.parent / "volume-away").exists, "the volume to be missed")
        assert gateway.get("/health").status_code == 200
        assert gateway.get("/simple/remote/", *READER).status_code == 200
        assert gateway.get("/simple/remote/").status_code == 401
        refused = gateway.get(path, *READER)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "has not answered" in refused.text
        assert refused.headers["Content-Type"].startswith("text/plain")
        if not deaf:
            # Nobody waits for the volume to be back.
            wait_for(lambda: len(ends) == clients, "the ends of all downloads")
            assert 200 not in ends
            wait_for(lambda: not before & vitals.workers(gateway.process), "the ends of the old workers")
        volume.come_back()
        for thread in threads:
            thread.join()
        wait_for(lambda: gateway.get(path, *READER).status_code == 200, "the volume to be back")
        assert gateway.get(path, *READER).content == content
        wait_for(lambda: len(vitals.workers(gateway.process)) == 2, "the ends of the old workers")
