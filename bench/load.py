"""Load on a web server: wrk where it is installed, else a generator in Python that is good enough for ratios."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from report import number

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 8
PROCESSES = 2
SCRIPT = Path(__file__).with_name("paths.lua")


class LoadError(RuntimeError):
    """Some answers were not what was asked for."""


@dataclass(frozen=True)
class Load:
    """What is asked of a server."""

    url: str
    """Where it listens."""
    paths: Sequence[str]
    """Asked for one after the other."""
    authorization: str = ""

    def run(self, seconds: float, directory: Path) -> float:
        """Ask for the paths for so long and return how many answers came each second; files go to `directory`.

        Raises:
            LoadError: an answer was not 200.
        """
        return self._wrk(seconds, directory) if shutil.which("wrk") else self._python(seconds)

    def _wrk(self, seconds: float, directory: Path) -> float:
        paths = directory / "paths.txt"
        paths.write_text("".join(f"{path}\n" for path in self.paths), "utf-8")
        command = ["wrk", f"-t{PROCESSES}", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        # proxpi answers nobody who does not say what is accepted.
        command += ["-H", "Accept: */*"]
        if self.authorization:
            command += ["-H", f"Authorization: {self.authorization}"]
        command += ["-s", str(SCRIPT), self.url, "--", str(paths)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result = json.loads(output.strip().rpartition("\n")[2])
        if result["errors"]:
            raise LoadError(f"{self.url}: {number(result['errors'])} errors in {number(result['requests'])} requests")
        return float(result["requests"]) / float(result["microseconds"]) * 1e6

    def _python(self, seconds: float) -> float:
        shares = [(self, share, seconds) for share in range(CONNECTIONS)]
        with multiprocessing.Pool(CONNECTIONS) as pool:
            return sum(pool.starmap(_connection, shares))


def _connection(load: Load, share: int, seconds: float) -> float:
    """Ask over one connection; every connection begins with another path."""
    host, port = urlsplit(load.url).hostname, urlsplit(load.url).port
    header = "Accept: */*\r\n" + (f"Authorization: {load.authorization}\r\n" if load.authorization else "")
    requests = [f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n".encode() for path in load.paths]
    answers = share
    connection = socket.create_connection((host, port))
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        connection.sendall(requests[answers % len(requests)])
        # nginx closes a connection after a thousand requests.
        if not _receive(connection):
            connection.close()
            connection = socket.create_connection((host, port))
        answers += 1
    connection.close()
    return (answers - share) / (time.perf_counter() - begun)


def _receive(connection: socket.socket) -> bool:
    """Read one answer to its end, and return whether another request may follow."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (chunk := connection.recv(65536)):
            raise LoadError("the connection was closed before an answer")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    if b" 200 " not in head[:13]:
        raise LoadError(head.partition(b"\r\n")[0].decode())
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding") == b"chunked":
        while not body.endswith(b"\r\n0\r\n\r\n"):
            if not (chunk := connection.recv(65536)):
                raise LoadError("the connection was closed within an answer")
            body += chunk
        return fields.get(b"connection") != b"close"
    missing = int(fields[b"content-length"]) - len(body)
    while missing > 0:
        chunk = connection.recv(min(missing, 2**20))
        if not chunk:
            raise LoadError("the connection was closed within an answer")
        missing -= len(chunk)
    return fields.get(b"connection") != b"close"


def described() -> str:
    """What makes the load, for the report."""
    if shutil.which("wrk"):
        return f"wrk, {PROCESSES} threads, {CONNECTIONS} connections"
    return (
        f"a generator in Python with {CONNECTIONS} processes of one connection, since wrk is not installed; it is "
        "slower than nginx, so that ratios between two nginx come out too near to 1 and those to pypi-server too low"
    )
