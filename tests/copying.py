"""Run `python -m cdk8s_pypiserver copy` as a process, and servers for it that misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import html
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import requests

from gateway_programs import make_wheel
from programs import PATIENCE, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

PUBLISHER = {"COPY_TARGET_USERNAME": "publisher", "COPY_TARGET_PASSWORD": "publisher-password"}
READER = {"COPY_SOURCE_USERNAME": "reader", "COPY_SOURCE_PASSWORD": "reader-password"}


def launch(home: Path, *arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the command, which has `home` for all that it keeps."""
    return subprocess.Popen(
        [sys.executable, "-m", "cdk8s_pypiserver", "copy", *map(str, arguments)],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass
class Done:
    """How a run ended."""

    status: int
    said: str

    @property
    def table(self) -> dict[str, int]:
        """The counts of its table."""
        names = ("copied", "to copy", "already there", "different", "failed")
        lines = [line for line in self.said.splitlines() if line.startswith(names) and ":" not in line]
        return {
            name: int(line.removeprefix(name).split()[0]) for line in lines for name in names if line.startswith(name)
        }


def ended(process: subprocess.Popen[str]) -> Done:
    """Wait for a run."""
    said, _ = process.communicate(timeout=3 * PATIENCE)
    return Done(process.returncode, said)


def copy(home: Path, *arguments: object, environment: dict[str, str] | None = None) -> Done:
    """Run the command to its end."""
    return ended(launch(home, *arguments, environment=environment))


def counted(copied: int = 0, there: int = 0, different: int = 0, failed: int = 0) -> dict[str, int]:
    """The table with these counts."""
    return {"copied": copied, "already there": there, "different": different, "failed": failed}


@dataclass
class File:
    """A file of an index, and how it comes: whole, unless `cuts` has after how many bytes it ends."""

    content: bytes
    sha256: str | None = None
    attributes: str = ""
    fragment: str | None = None
    cuts: list[int] = field(default_factory=list)
    gate: threading.Event | None = None
    gate_at: int = 0


class Index:
    """A simple index in HTML that counts what it is asked for; projects are named as their files are."""

    def __init__(self, files: dict[str, File]) -> None:
        self.files = files
        self.requests: list[tuple[str, str, str]] = []
        """Path, range and Authorization header of each."""
        self.refusals: list[tuple[int, dict[str, str]]] = []
        """What the next requests for files are answered with."""
        self.password: str | None = None
        self.files_at = ""
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.answer(self)

            # uv asks so, whether a part of a file may be had.
            do_HEAD = do_GET  # noqa: N815
            # An index that is a target.
            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files.values():
            if file.gate:
                file.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def ranges(self, filename: str) -> list[str]:
        """The ranges that a file was asked for with, "" for the whole."""
        return [wanted for path, wanted, _ in self.requests if path == f"/files/{filename}"]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        login = handler.headers.get("Authorization", "")
        self.requests.append((handler.path, handler.headers.get("Range", ""), login))
        if self.password and login != self.password:
            self.send(handler, 401, b"")
        elif handler.path == "/simple/":
            names = sorted({name.split("-")[0].replace("_", "-") for name in self.files})
            self.send(handler, 200, "".join(f'<a href="{each}/">{each}</a>' for each in names).encode())
        elif handler.path.startswith("/simple/"):
            project = handler.path.split("/")[2]
            links = [
                self._link(name, file)
                for name, file in self.files.items()
                if name.split("-")[0].replace("_", "-").lower() == project
            ]
            self.send(handler, 200 if links else 404, "".join(links).encode())
        elif handler.path.startswith("/files/") and handler.path[7:] in self.files:
            if self.refusals:
                status, headers = self.refusals.pop(0)
                self.send(handler, status, b"", headers)
            else:
                self._send_file(handler, self.files[handler.path[7:]])
        else:
            self.send(handler, 404, b"")

    def send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        """Answer a request."""
        handler.send_response(status)
        for name, value in {"Content-Type": "text/html", "Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _link(self, name: str, file: File) -> str:
        digest = file.sha256 or hashlib.sha256(file.content).hexdigest()
        fragment = f"#sha256={digest}" if file.fragment is None else file.fragment
        return f'<a href="{self.files_at}/files/{name}{fragment}" {file.attributes}>{html.escape(name)}</a>'

    def _send_file(self, handler: BaseHTTPRequestHandler, file: File) -> None:
        start = int((handler.headers.get("Range") or "bytes=0-")[6:-1])
        body = file.content[start:]
        end = file.cuts.pop(0) if file.cuts else None
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            if file.gate:
                handler.wfile.write(body[: file.gate_at])
                file.gate.wait(PATIENCE)
                body = body[file.gate_at :]
            handler.wfile.write(body if end is None else body[:end])
        if end is not None:
            handler.close_connection = True


def wheel(directory: Path, name: str, version: str, size: int = 0) -> tuple[str, bytes]:
    """Name and content of a wheel with about so many bytes, which no two have in common."""
    directory.mkdir(exist_ok=True)
    path = make_wheel(directory, name, version, os.urandom(size))
    content = path.read_bytes()
    path.unlink()
    return path.name, content


def partials(directory: Path) -> int:
    """How many bytes of unfinished downloads are there."""
    return sum(path.stat().st_size for path in directory.glob("**/*.part"))


@contextlib.contextmanager
def started(command: list[str], url: str, home: Path, ready: Callable[[], bool] | None = None) -> Iterator[str]:
    """Start another server, and wait until its URL answers."""
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log, start_new_session=True)

    def answers() -> bool:
        assert process.poll() is None, (home / "server.log").read_text()
        with contextlib.suppress(requests.ConnectionError):
            return ready() if ready else requests.get(url, timeout=PATIENCE).ok
        return False

    try:
        wait_for(answers, url)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


@contextlib.contextmanager
def pypiserver(home: Path, *options: str) -> Iterator[tuple[str, Path]]:
    """Start pypiserver as its users do, open to anybody; returns its URL and its directory."""
    packages = home / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    port = str(free_port())
    command = [sys.executable, "-m", "pypiserver", "run", "-i", "127.0.0.1", "-p", port, "-P", ".", "-a", ".", *options]
    with started([*command, str(packages)], f"http://127.0.0.1:{port}/", home) as url:
        yield url, packages
