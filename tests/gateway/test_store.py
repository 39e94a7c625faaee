"""Packages of an object store at the gateway: from the cache, or fetched by a program beside it, through rclone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
import requests

from fetching_programs import BUCKET, Fetching, Rclone, Way, s3, spec_of
from gateway_programs import Gateway, Recorder, Setup, basic
from programs import PATIENCE, wait_for
from vitals import MEBIBYTE

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from remote_programs import RemoteStore

READER = ("reader", "read")
FOLDER = "pypiserver"
MTIME = 1_700_000_000
WHEEL = "demo-1.0-py3-none-any.whl"
SMALL = bytes(range(256)) * 400
CLIENTS = 50


class _Server(Recorder):
    """Stands in for the server, who alone knows what is listed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.listed: dict[str, dict[str, object]] = {}
        self.says_no: str | None = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.startswith("/-/stored/"):
            super().answer(handler)
            return
        self.hold.wait(PATIENCE)
        found = self.listed.get(unquote(handler.path.removeprefix("/-/stored/")))
        status = 503 if self.says_no else 200 if found else 404
        body = (self.says_no or json.dumps(found)).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@dataclass
class Pod:
    """The gateway and what is behind it."""

    gateway: Gateway
    server: _Server
    fetching: Fetching
    rclone: Rclone
    store: RemoteStore
    way: Way
    objects: Path
    contents: dict[str, bytes] = field(default_factory=dict)

    def put(self, name: str, content: bytes = SMALL, *, listed: bytes | None = None) -> str:
        """Put an object into the bucket, and list it; as another one if `listed` is given. Returns its address."""
        self.objects.mkdir(parents=True, exist_ok=True)
        (self.objects / name).write_bytes(content)
        self.list(name, content if listed is None else listed)
        return f"/packages/{name}"

    def list(self, name: str, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        self.server.listed[name] = {"size": len(content), "sha256": sha256, "mtime": MTIME}

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.gateway.get(path, *READER, **headers)

    def opened(self, path: str, *headers: str) -> socket.socket:
        """Ask for a path over a connection of its own, and read nothing of the answer."""
        lines = (f"GET {path} HTTP/1.1", "Host: pypi", f"Authorization: {basic(*READER)}", "Connection: close")
        connection = self.gateway.connect()
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, *headers, "")).encode())
        return connection

    def is_kept(self, name: str) -> None:
        wait_for(lambda: name in self.fetching.kept, f"{name} in the cache")

    def fetched(self) -> float:
        """How many objects the store was asked for."""
        return sum(value for name, value in self.fetching.metrics().items() if name.startswith("requests_total"))


@contextlib.contextmanager
def pod_in(directory: Path, cache_bytes: int = 2**30) -> Iterator[Pod]:
    with (
        # What is put into the bucket by hand is there at once. Nobody writes by it: then this store can hang.
        s3(directory / "s3", "--dir-cache-time", "0s") as store,
        Way(store.port) as way,
        Rclone(directory / "rclone", spec := spec_of(store, way)) as rclone,
        _Server() as server,
        Fetching(
            directory / "fetching",
            directory / "packages",
            rclone=rclone.url,
            path=spec.remote.fs("store", FOLDER),
            server_port=server.port,
            cache_bytes=cache_bytes,
        ) as fetching,
        Gateway(
            directory / "gateway",
            server.port,
            packages=directory / "packages",
            pages=directory / "pages",
            fetching_port=fetching.port,
            setup=Setup(store=True),
        ) as gateway,
    ):
        yield Pod(gateway, server, fetching, rclone, store, way, store.directory / BUCKET / FOLDER)


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """For tests that each have packages of their own."""
    with pod_in(tmp_path_factory.mktemp("pod")) as started:
        yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Pod]:
    with pod_in(tmp_path) as started:
        yield started


@pytest.mark.parametrize("name", [WHEEL, "demo-1!2.0+local.1.tar.gz", "nested/deep/demo-3.0.zip"])
def test_a_package_is_the_same_kept_or_not(pod: Pod, name: str) -> None:
    (pod.objects / name).parent.mkdir(parents=True, exist_ok=True)
    path = pod.put(name)
    answers = []
    for _ in ("fetched", "kept"):
        head = pod.gateway.request("HEAD", path, *READER)
        assert (head.status_code, head.content) == (200, b"")
        answers.append((pod.get(path), head))
        assert answers[-1][0].content == SMALL
        wait_for((pod.fetching.packages / name).exists, f"{name} in the cache")
    for first, second in zip(*answers, strict=True):
        for header in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control", "Accept-Ranges"):
            assert first.headers[header] == second.headers[header], header
        assert first.headers["Last-Modified"] == formatdate(MTIME, usegmt=True)
        assert first.headers["X-Content-Type-Options"] == "nosniff"
    part = pod.get(path, Range="bytes=100-199", If_Range=answers[0][0].headers["ETag"])
    assert (part.status_code, part.content) == (206, SMALL[100:200])


def test_one_that_asks_for_the_head_alone_costs_no_transfer(pod: Pod) -> None:
    path, before = pod.put("head-1.0.tar.gz"), pod.fetched()
    assert pod.gateway.request("HEAD", path, *READER).headers["Content-Length"] == str(len(SMALL))
    assert pod.fetched() == before


def test_what_is_not_listed_is_not_there_whatever_the_bucket_has(pod: Pod) -> None:
    path, before = pod.put("unlisted-1.0.tar.gz"), pod.fetched()
    del pod.server.listed["unlisted-1.0.tar.gz"]
    answer = pod.get(path)
    assert (answer.status_code, answer.text) == (404, "Not found.\n")
    assert pod.fetched() == before


@pytest.mark.parametrize("path", ["/packages/.pypiserver/secret.zip", "/packages/..%2fother/a-1.0.zip"])
def test_no_other_object_can_be_reached(pod: Pod, path: str) -> None:
    before = pod.fetched()
    assert pod.get(path).status_code == 404
    assert pod.fetched() == before


def test_readers_alone_are_answered(pod: Pod) -> None:
    path, before = pod.put("private-1.0.tar.gz"), pod.fetched()
    assert pod.gateway.get(path).status_code == 401
    assert pod.gateway.get(path, "reader", "wrong").status_code == 401
    assert pod.fetched() == before


def test_a_link_in_the_cache_leads_nowhere(pod: Pod) -> None:
    (pod.fetching.packages / "link-1.0.zip").symlink_to("/etc/hostname")
    try:
        assert pod.get("/packages/link-1.0.zip").status_code == 404
    finally:
        (pod.fetching.packages / "link-1.0.zip").unlink()


def test_many_clients_and_one_transfer(own: Pod) -> None:
    content = os.urandom(MEBIBYTE) * 32
    path = own.put("large-1.0.tar.gz", content)
    own.way.hold_at = 4 * MEBIBYTE
    connections = [own.opened(path) for _ in range(CLIENTS)]
    # All have their beginning before the store sends the rest: it is streamed, not stored first.
    for connection in connections:
        assert connection.recv(12) == b"HTTP/1.1 200"
    own.way.go.set()

    def rest(connection: socket.socket) -> int:
        size = 0
        with connection:
            while count := len(connection.recv(2**18)):
                size += count
        return size

    with ThreadPoolExecutor(CLIENTS) as threads:
        sizes = set(threads.map(rest, connections))
    assert min(sizes) > len(content)
    assert max(sizes) - min(sizes) < 1_000
    own.is_kept("large-1.0.tar.gz")
    assert own.fetching.metrics()["received_bytes_total"] == len(content)
    assert own.get(path).content == content
    assert own.fetched() == 1
    # Each client has a thread; none has a part of the file.
    assert own.fetching.peak < 150 * MEBIBYTE


@pytest.mark.parametrize(
    ("asked", "first", "end"), [("0-99", 0, 100), ("-50", -50, None), ("2000000-", 2_000_000, None)]
)
def test_parts_of_what_is_not_there_yet(pod: Pod, asked: str, first: int, end: int | None) -> None:
    content = os.urandom(3_000_000)
    path = pod.put(f"part-1.{abs(first)}.tar.gz", content)
    answer = pod.get(path, Range=f"bytes={asked}")
    assert (answer.status_code, answer.content) == (206, content[first:end])
    assert answer.headers["Content-Range"].endswith(f"/{len(content)}")


def test_a_client_goes_on_where_it_was_cut_off(own: Pod) -> None:
    content = os.urandom(8 * MEBIBYTE)
    path = own.put("resumed-1.0.tar.gz", content)
    own.way.hold_at = 6 * MEBIBYTE
    with own.opened(path) as connection:
        head, _, begun = connection.recv(65536).partition(b"\r\n\r\n")
        while len(begun) < 4 * MEBIBYTE:
            begun += connection.recv(65536)
    etag = next(line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.lower().startswith(b"etag"))
    own.way.go.set()
    own.is_kept("resumed-1.0.tar.gz")
    rest = own.get(path, Range=f"bytes={len(begun)}-", If_Range=etag)
    assert rest.status_code == 206
    assert begun + rest.content == content
    assert own.fetched() == 1


def test_a_transfer_that_breaks_off_goes_on_from_there(own: Pod) -> None:
    content = os.urandom(8 * MEBIBYTE)
    path = own.put("broken-1.0.tar.gz", content)
    own.way.cut_at = 3 * MEBIBYTE
    assert own.get(path).content == content
    assert own.way.received < len(content) + 2 * MEBIBYTE


def test_another_file_than_is_listed_never_reaches_a_client_whole(pod: Pod) -> None:
    content = os.urandom(2_000_000)
    path = pod.put("swapped-1.0.tar.gz", content[:-1] + b"!", listed=content)
    with pod.opened(path) as connection, connection.makefile("rb") as answer:
        received = len(answer.read().partition(b"\r\n\r\n")[2])
    assert received < len(content)
    answer_ = pod.get(path)
    assert answer_.status_code == 502
    assert "sha256" in answer_.text
    assert "swapped-1.0.tar.gz" not in pod.fetching.kept
    assert pod.fetching.unfinished == []


def test_a_store_that_is_away(own: Pod) -> None:
    kept, other = own.put("kept-1.0.tar.gz"), own.put("other-1.0.tar.gz")
    assert own.get(kept).content == SMALL
    own.is_kept("kept-1.0.tar.gz")
    own.store.stop()
    for _ in range(3):
        answer = own.get(other)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "The store does not answer" in answer.text
        assert str(own.way.port) not in answer.text
    assert own.get(kept).content == SMALL
    assert own.get("/packages/never-1.0.tar.gz").status_code == 404
    assert "the store does not answer" in own.fetching.log
    own.store.start()
    wait_for(lambda: own.get(other).content == SMALL, "the store to be asked again")


def test_rclone_that_is_gone(own: Pod) -> None:
    path = own.put("a-1.0.tar.gz")
    own.rclone.kill()
    answer = own.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    own.rclone.start()
    wait_for(lambda: own.get(path).content == SMALL, "the store to be asked again")


def test_an_object_that_has_gone_by_another_hand_is_not_said_to_be_missing(pod: Pod) -> None:
    pod.list("gone-1.0.tar.gz", SMALL)
    answer = pod.get("/packages/gone-1.0.tar.gz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    # Others are not kept waiting for it.
    assert pod.get(pod.put("there-1.0.tar.gz")).content == SMALL


def test_a_server_that_does_not_know_yet_or_does_not_answer(own: Pod) -> None:
    path = own.put("a-1.0.tar.gz")
    own.server.says_no = "The store is listed for the first time"
    answer = own.get(path)
    assert (answer.status_code, answer.text) == (503, "The store is listed for the first time\n")
    assert answer.headers["Retry-After"]
    own.server.says_no = None
    own.gateway.get(path, *READER)
    # In the cache alone would not do: the server is asked once more whether the file is still listed.
    wait_for(lambda: own.fetching.metrics()['fetches_total{result="kept"}'] == 1, "it in the cache for good")
    own.server.stop()
    # Who may read is known for a while without the server.
    assert own.get(path).content == SMALL
    assert own.get("/packages/b-1.0.tar.gz").status_code == 503


def test_a_program_that_is_gone_takes_nothing_of_what_is_kept_with_it(own: Pod) -> None:
    kept, other = own.put("kept-1.0.tar.gz"), own.put("other-1.0.tar.gz")
    assert own.get(kept).content == SMALL
    own.is_kept("kept-1.0.tar.gz")
    own.fetching.kill()
    assert own.get(kept).content == SMALL
    assert own.get(other).status_code == 503
    own.fetching.start()
    assert own.get(other).content == SMALL
    wait_for(lambda: own.fetching.metrics()["cache_files"] == 2, "both in the cache")


def test_one_that_is_killed_leaves_nothing_half(own: Pod) -> None:
    content = os.urandom(8 * MEBIBYTE)
    path = own.put("killed-1.0.tar.gz", content)
    own.way.hold_at = 2 * MEBIBYTE
    with own.opened(path) as connection:
        assert connection.recv(1)
        assert own.fetching.unfinished
        own.fetching.kill()
        own.way.go.set()
    own.fetching.start()
    assert own.fetching.unfinished == []
    assert own.fetching.kept == set()
    assert own.get(path).content == content


def test_what_was_removed_while_it_came_is_not_kept(own: Pod) -> None:
    content = os.urandom(8 * MEBIBYTE)
    path = own.put("removed-1.0.tar.gz", content)
    own.way.hold_at = 2 * MEBIBYTE
    with own.opened(path) as connection:
        assert connection.recv(1)
        del own.server.listed["removed-1.0.tar.gz"]
        own.way.go.set()
        # Whoever had begun when it was listed has it.
        with connection.makefile("rb") as answer:
            assert answer.read().endswith(content[-1000:])
    wait_for(lambda: own.fetching.unfinished == [], "the end of the transfer")
    assert own.fetching.kept == set()
    assert own.get(path).status_code == 404


def test_a_name_that_has_another_file_now(own: Pod) -> None:
    old, new = os.urandom(8 * MEBIBYTE), os.urandom(8 * MEBIBYTE)
    path = own.put("again-1.0.tar.gz", old)
    own.way.hold_at = 2 * MEBIBYTE
    with own.opened(path) as connection:
        assert connection.recv(1)
        own.put("again-1.0.tar.gz", new)
        own.way.hold_at = None
        threading.Timer(0.2, own.way.go.set).start()
        assert own.get(path).content == new
    wait_for(lambda: own.fetching.unfinished == [], "the end of the transfers")
    assert own.get(path).content == new


def test_files_of_others_count_and_go_when_room_is_needed(tmp_path: Path) -> None:
    size = 8 * MEBIBYTE
    with pod_in(tmp_path, cache_bytes=4 * size + MEBIBYTE) as pod:
        packages = pod.fetching.packages
        unfinished = packages / ".pypiserver/unfinished"
        unfinished.mkdir()
        # As the server does with what was published.
        theirs = unfinished / "draft"
        theirs.write_bytes(bytes(size))
        os.utime(theirs, (MTIME, MTIME))
        theirs.rename(packages / "theirs-1.0.tar.gz")
        wait_for(lambda: pod.fetching.metrics()["cache_files"] == 1, "the cache to notice it")
        for number in range(3):
            assert len(pod.get(pod.put(f"a-1.{number}.tar.gz", os.urandom(size))).content) == size
            pod.is_kept(f"a-1.{number}.tar.gz")
        assert len(pod.fetching.kept) == 4
        assert len(pod.get(pod.put("a-1.3.tar.gz", os.urandom(size))).content) == size
        pod.is_kept("a-1.3.tar.gz")
        assert pod.fetching.kept == {f"a-1.{number}.tar.gz" for number in range(4)}
        # An upload that is being received takes the room of two.
        (unfinished / "upload").write_bytes(bytes(2 * size))
        wait_for(lambda: len(pod.fetching.kept) == 2, "room for the upload")
        assert (unfinished / "upload").exists()


def test_a_package_that_the_cache_cannot_take(tmp_path: Path) -> None:
    with pod_in(tmp_path, cache_bytes=MEBIBYTE) as pod:
        answer = pod.get(pod.put("huge-1.0.tar.gz", bytes(2 * MEBIBYTE)))
        assert answer.status_code == 507
        assert str(MEBIBYTE) in answer.text


def test_a_store_that_hangs_is_given_up_in_time(own: Pod) -> None:
    path = own.put("hanging-1.0.tar.gz")
    assert own.store.process
    own.store.process.send_signal(signal.SIGSTOP)
    try:
        answer = requests.get(own.gateway.url + path, auth=READER, timeout=2 * PATIENCE)
    finally:
        own.store.process.send_signal(signal.SIGCONT)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    wait_for(lambda: own.get(path).content == SMALL, "the store to be asked again")
