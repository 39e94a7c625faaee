"""Publishing through the real server: durable, visible at once, whole or not at all, once only."""

from __future__ import annotations

import functools
import hashlib
import resource
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, Server, upload, wait_for
from vitals import stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Server]

METHODS = pytest.mark.parametrize("method", ["link", "direct"])
NAME = "sample-1.0-py3-none-any.whl"
STOP = '''
import os, time
from pathlib import Path

_real = os.fsync
_calls = []

def _fsync(descriptor):
    """Do what is asked, and then nothing any more from the wanted call on."""
    _real(descriptor)
    if Path(os.environ["STOPPING"]).exists():
        _calls.append(descriptor)
        if len(_calls) == int(os.environ["STOP_AT"]):
            Path(os.environ["STOPPED"]).touch()
            time.sleep(3600)

os.fsync = _fsync
'''


def links(server: Server, project: str = "sample") -> str:
    response = requests.get(f"{server.url}/simple/{project}/", timeout=PATIENCE)
    return response.text if response.ok else ""


def content(server: Server, name: str = NAME) -> bytes | None:
    response = requests.get(f"{server.url}/packages/{name}", timeout=PATIENCE)
    return response.content if response.ok else None


def lists(server: Server, number: int) -> bool:
    return links(server, "race").count("<a ") == number


def sender(server: Server, body: bytes) -> threading.Thread:
    """A thread that uploads, and expects no answer."""

    def send() -> None:
        with pytest.raises(requests.ConnectionError):
            upload(server.url, NAME, body)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@METHODS
def test_an_upload_is_listed_at_once_with_its_digest(serve: Serve, method: str) -> None:
    server = serve(PUBLISH_METHOD=method)
    assert links(server) == ""
    for version in range(10):
        name = f"sample-{version}-py3-none-any.whl"
        body = name.encode()
        assert upload(server.url, name, body, name="sample", version=str(version)).status_code == 200
        page = links(server)
        assert f"{name}#sha256={hashlib.sha256(body).hexdigest()}" in page
        assert (server.pages / "projects/sample.html").read_text() == page
        assert content(server, name) == body
    assert "sample/" in requests.get(f"{server.url}/simple/", timeout=PATIENCE).text
    assert stored(server.packages) == [f"sample-{version}-py3-none-any.whl" for version in range(10)]


@pytest.mark.parametrize(
    ("method", "stop_at"),
    [("link", 1), ("link", 2), ("direct", 1), ("direct", 2), ("direct", 3), ("direct", 4)],
)
def test_a_server_killed_while_it_publishes_leaves_all_or_nothing(
    serve: Serve, tmp_path: Path, method: str, stop_at: int
) -> None:
    """Killed after each of the moments at which something has become durable."""
    (tmp_path / "sitecustomize.py").write_text(STOP)
    stopping, stopped = tmp_path / "stopping", tmp_path / "stopped"
    server = serve(
        PUBLISH_METHOD=method,
        PYTHONPATH=str(tmp_path),
        STOP_AT=str(stop_at),
        STOPPING=str(stopping),
        STOPPED=str(stopped),
    )
    assert upload(server.url, "before-1.0.tar.gz").status_code == 200
    stopping.touch()
    body = bytes(range(256)) * 4096
    sending = sender(server, body)
    wait_for(stopped.exists, "the server to stop while it publishes")
    server.kill()
    sending.join()
    stopping.unlink()
    server.start()
    there = content(server)
    assert there in {None, body}
    assert (NAME in links(server)) == (there is not None)
    assert content(server, "before-1.0.tar.gz") == b"content"
    again = upload(server.url, NAME, body)
    assert again.status_code == (200 if there is None else 409)
    assert content(server) == body
    assert stored(server.packages) == ["before-1.0.tar.gz", NAME]


@METHODS
def test_a_server_killed_while_it_copies_lists_nothing(serve: Serve, method: str) -> None:
    server = serve(PUBLISH_METHOD=method)
    body = b"\0" * 100_000_000
    sending = sender(server, body)
    wait_for(lambda: any(path.stat().st_size > 2**20 for path in server.packages.rglob("*")), "a part of the file")
    server.kill()
    sending.join()
    assert stored(server.packages)
    server.start()
    assert links(server) == ""
    assert stored(server.packages) == []
    assert upload(server.url, NAME, b"new").status_code == 200
    assert content(server) == b"new"


@METHODS
def test_of_two_pods_that_publish_one_name_one_wins(serve: Serve, tmp_path: Path, method: str) -> None:
    shared = {
        "PACKAGES_DIRECTORY": str(tmp_path / "shared"),
        "PUBLISH_METHOD": method,
        "WRITERS": "many",
        "RESCAN_SECONDS": "1",
    }
    (tmp_path / "shared").mkdir()
    pods = [serve("first", **shared), serve("second", **shared)]
    for number in range(50):
        name = f"race-{number}.0.tar.gz"
        together = threading.Barrier(len(pods))
        answers: dict[str, int] = {}

        def publish(pod: Server, together: threading.Barrier, answers: dict[str, int], name: str) -> None:
            together.wait()
            answers[pod.url] = upload(pod.url, name, pod.url.encode() * 1000).status_code

        threads = [threading.Thread(target=publish, args=(pod, together, answers, name)) for pod in pods]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers.values()) == [200, 409]
        (winner,) = (url for url, status in answers.items() if status == 200)
        assert (pods[0].packages / name).read_bytes() == winner.encode() * 1000
    for pod in pods:
        wait_for(functools.partial(lists, pod, 50), "both pods to list all")


def test_a_change_by_others_is_noticed(serve: Serve) -> None:
    server = serve()
    assert upload(server.url, "mine-1.0.tar.gz").status_code == 200
    assert links(server, "mine") != ""
    (server.packages / "theirs-1.0.tar.gz").write_bytes(b"copied")
    wait_for(lambda: links(server, "theirs"), "the copied file to be listed")
    assert "theirs" in requests.get(f"{server.url}/simple/", timeout=PATIENCE).text
    (server.packages / "mine-1.0.tar.gz").unlink()
    wait_for(lambda: not links(server, "mine"), "the removed file to be gone")
    assert not (server.pages / "projects/mine.html").exists()


def test_no_room_is_said_and_passes(serve: Serve) -> None:
    """A limit on the size of files stands for a full disk: the same calls fail, with EFBIG."""
    server = serve()
    assert server.process
    master = server.process.pid
    children = subprocess.run(["ps", "--ppid", str(master), "-o", "pid="], capture_output=True, check=True).stdout
    (worker,) = map(int, children.split())
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (500_000, unlimited[1]))
    refused = upload(server.url, NAME, b"\0" * 1_000_000)
    assert refused.status_code == 507
    assert refused.reason.startswith("No room for the upload")
    assert upload(server.url, "small-1.0.tar.gz").status_code == 200
    resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
    assert links(server) == ""
    assert upload(server.url, NAME, b"\0" * 1_000_000).status_code == 200
    assert stored(server.packages) == [NAME, "small-1.0.tar.gz"]


def test_a_connection_that_ends_early_publishes_nothing(serve: Serve) -> None:
    server = serve()
    sent = requests.Request(
        "POST", f"{server.url}/", data={":action": "file_upload"}, files={"content": (NAME, b"x" * 1_000_000)}
    ).prepare()
    assert isinstance(sent.body, bytes)
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + sent.body[:600_000])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").readline()
    assert answer == b"HTTP/1.1 400 The request ended before the upload was complete\r\n"
    assert stored(server.packages) == []


@pytest.mark.parametrize("body", [b"", b"x", b"5\r\nab", b"x\r\n"])
def test_a_body_of_broken_chunks_publishes_nothing(serve: Serve, body: bytes) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(12) == b"HTTP/1.1 400"
    assert "Traceback" not in server.log
