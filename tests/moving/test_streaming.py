"""What is sent on while it comes: nothing that is not what its source says gets to a target."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest

from copying import PUBLISHER, File, Index, copy, counted, ended, launch, partials, wheel
from programs import wait_for

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from gateway_programs import Registry

SIZE = 8_000_000


class Telling(Index):
    """An index that tells of the size and the METADATA of its files."""

    more = 0
    """By how much the sizes are too large that it tells."""
    has_ranges = True
    metadata: bytes | None = None
    """What it has as METADATA of all files, instead of theirs."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if not self.has_ranges:
            del handler.headers["Range"]
        if handler.path.startswith("/simple/") and handler.path != "/simple/":
            page = {
                "meta": {"api-version": "1.1"},
                "name": "acme",
                "versions": [],
                "files": list(map(self._told, self.files)),
            }
            self.send(handler, 200, json.dumps(page).encode(), {"Content-Type": "application/vnd.pypi.simple.v1+json"})
        elif handler.path.endswith(".metadata"):
            content = self.files[handler.path[7:].removesuffix(".metadata")].content
            self.send(handler, 200, _metadata(content) if self.metadata is None else self.metadata)
        else:
            super().answer(handler)

    def _told(self, name: str) -> dict[str, object]:
        file = self.files[name]
        return {
            "filename": name,
            "url": f"{self.url}/files/{name}",
            "hashes": {"sha256": file.sha256 or hashlib.sha256(file.content).hexdigest()},
            "size": len(file.content) + self.more,
            "core-metadata": {"sha256": hashlib.sha256(_metadata(file.content)).hexdigest()},
        }


class Taking(Index):
    """A registry that takes whatever comes whole, and compares nothing."""

    def __init__(self) -> None:
        super().__init__({})
        self.begun = self.broken = 0
        self.bodies: list[bytes] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.command != "POST":
            super().answer(handler)
            return
        self.begun += 1
        length = int(handler.headers["Content-Length"])
        body = handler.rfile.read(length)
        if len(body) < length:
            self.broken += 1
            handler.close_connection = True
            return
        self.bodies.append(body)
        self.send(handler, 200, b"")


def _metadata(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))


@pytest.fixture
def made(tmp_path: Path) -> tuple[str, bytes]:
    return wheel(tmp_path / "made", "acme", "1.0", SIZE)


def test_an_upload_begins_while_the_download_goes_on(made: tuple[str, bytes], tmp_path: Path, target: Registry) -> None:
    name, content = made
    gate = threading.Event()
    with Telling({name: File(content, gate=gate, gate_at=SIZE // 2)}) as source:
        process = launch(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        unfinished = target.server.packages / ".pypiserver/unfinished"
        wait_for(lambda: any(each.stat().st_size > SIZE // 4 for each in unfinished.glob("*")), "half of the upload")
        gate.set()
        done = ended(process)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (target.server.packages / name).read_bytes() == content
    assert partials(tmp_path) == 0


def test_a_wrong_hash_is_sent_to_nobody_whole(made: tuple[str, bytes], tmp_path: Path) -> None:
    """Not even to a registry that compares no hash."""
    name, content = made
    with Telling({name: File(content, sha256="0" * 64)}) as source, Taking() as target:
        done = copy(tmp_path, f"{source.url}/simple/", target.url, "--retries", "1")
        wait_for(lambda: target.broken == target.begun, "the end of what was begun")
    assert (done.status, done.table) == (1, counted(failed=1)), done.said
    assert f"failed: {name}: what came has not the digest that the source says" in done.said
    assert target.begun
    assert target.bodies == []
    assert partials(tmp_path) == 0


def test_a_source_that_cuts_off_holds_up_one_upload(made: tuple[str, bytes], tmp_path: Path) -> None:
    name, content = made
    with Telling({name: File(content, cuts=[SIZE // 2, 1_000_000])}) as source, Taking() as target:
        copy(tmp_path, f"{source.url}/simple/", target.url)
        assert len(source.ranges(name)) == 3
    assert target.begun == 1
    assert content in target.bodies[0]
    assert b"bdist_wheel" in target.bodies[0]


def test_a_source_without_ranges_is_sent_on_from_its_start(made: tuple[str, bytes], tmp_path: Path) -> None:
    name, content = made
    with Telling({name: File(content, cuts=[SIZE // 2])}) as source, Taking() as target:
        source.has_ranges = False
        copy(tmp_path, f"{source.url}/simple/", target.url)
    assert len(target.bodies) == 1
    assert content in target.bodies[0]


def test_a_source_that_always_cuts_off_leaves_nothing_at_the_target(made: tuple[str, bytes], tmp_path: Path) -> None:
    name, content = made
    file = File(content, cuts=[SIZE // 2, 0])
    with Telling({name: file}) as source, Taking() as target:
        failed = copy(tmp_path, f"{source.url}/simple/", target.url, "--retries", "0")
        assert (failed.status, failed.table) == (1, counted(failed=1)), failed.said
        assert f"failed: {name}: the connection failed" in failed.said
        assert partials(tmp_path) > 0
        wait_for(lambda: target.broken == 1, "the end of what was begun")
        file.cuts.clear()
        copy(tmp_path, f"{source.url}/simple/", target.url)
        assert source.ranges(name)[-1].startswith("bytes=")
    assert [content in body for body in target.bodies] == [True]


@pytest.mark.parametrize("more", [-1_000_000, -1, 1, 1_000_000])
def test_a_size_that_is_none_is_found_out(more: int, made: tuple[str, bytes], tmp_path: Path, target: Registry) -> None:
    name, content = made
    with Telling({name: File(content)}) as source:
        source.more = more
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table["copied"]) == (0, 1), done.said
    assert (target.server.packages / name).read_bytes() == content


def test_metadata_that_is_none_is_read_from_the_wheel(
    made: tuple[str, bytes], tmp_path: Path, target: Registry
) -> None:
    name, content = made
    with Telling({name: File(content)}) as source:
        source.metadata = b"another"
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (target.server.packages / name).read_bytes() == content


def test_interrupted_and_run_again(made: tuple[str, bytes], tmp_path: Path, target: Registry) -> None:
    name, content = made
    file = File(content, gate=threading.Event(), gate_at=SIZE // 2)
    with Telling({name: file}) as source:
        process = launch(tmp_path, f"{source.url}/simple/", target.gateway.url, "--timeout", "5", environment=PUBLISHER)
        wait_for(lambda: partials(tmp_path) >= SIZE // 4, "the unfinished download")
        process.send_signal(signal.SIGTERM)
        assert file.gate
        file.gate.set()
        interrupted = ended(process)
        assert not (target.server.packages / name).exists()
        file.gate = None
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        assert source.ranges(name)[-1].startswith("bytes=")
    assert interrupted.status == 130, interrupted.said
    assert "Traceback" not in interrupted.said
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (target.server.packages / name).read_bytes() == content
