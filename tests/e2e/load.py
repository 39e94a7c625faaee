"""Requests to a registry from within its cluster until a file appears; each failure is a line of JSON in another file.

It runs in a pod of the server's image, so it needs nothing but Python. LOAD is a JSON object:

url: Address of the registry, without a path.
user, password: Who asks.
paths: What to GET, in turn.
fresh, kept, uploads: How many clients open a connection for each request, keep one, or publish.
pause: Seconds that each client rests between two requests.
timeout: Seconds after which a request has failed.
record: The file that is written. Not stdout: a node may turn over or lose the log of a container.
stop: The file whose appearance ends the run.

Every second a line has the counts so far; the last line is the one with `"end": true`, after which this waits to be
removed, so that the file can be read.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import json
import os
import secrets
import threading
import time
import urllib.parse
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OK = 200


class Counts:
    """What has happened so far; may be used by several threads."""

    def __init__(self, record: Path) -> None:
        """Begin with nothing, and write to `record`."""
        self._record = record.open("w")
        self._lock = threading.Lock()
        self._total: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._reopened = 0
        self._longest = 0.0

    def add(self, kind: str, begun: float, outcome: str) -> None:
        """Count a request, and write it down if it has failed."""
        seconds = time.time() - begun
        with self._lock:
            self._total[kind] = self._total.get(kind, 0) + 1
            self._longest = max(self._longest, seconds)
            if outcome:
                self._failed[kind] = self._failed.get(kind, 0) + 1
                failure = {"kind": kind, "begun": begun, "seconds": round(seconds, 3), "failure": outcome}
                self._say(failure)

    def _say(self, line: dict[str, Any]) -> None:
        self._record.write(f"{json.dumps(line)}\n")
        self._record.flush()

    def reopen(self) -> None:
        """Count a kept connection that the other side had closed before it answered anything."""
        with self._lock:
            self._reopened += 1

    def show(self, *, end: bool) -> None:
        """Write a line with the counts."""
        with self._lock:
            line = {
                "total": self._total,
                "failed": self._failed,
                "reopened": self._reopened,
                "longest": round(self._longest, 3),
                "end": end,
            }
            self._say(line)


def busy() -> float:
    """How many times longer things take than on a machine that has time: what is bounded is bounded for that."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def authorization(options: Mapping[str, Any]) -> str:
    """The header of this name, with `user` and `password`."""
    credentials = f"{options['user']}:{options['password']}".encode()
    return f"Basic {base64.b64encode(credentials).decode()}"


def connect(options: Mapping[str, Any]) -> http.client.HTTPConnection:
    """A connection to `url`, with `timeout`; it is opened by the first request."""
    return http.client.HTTPConnection(urllib.parse.urlsplit(options["url"]).netloc, timeout=options["timeout"])


def form(fields: Mapping[str, str], content: tuple[str, bytes] | None = None) -> tuple[bytes, str]:
    """A form with these fields, and perhaps a file, as body and Content-Type."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if content:
        name, data = content
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'
        parts += [head.encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


class Client(threading.Thread):
    """One client that asks again and again."""

    def __init__(self, kind: str, options: dict[str, Any], counts: Counts, ended: threading.Event) -> None:
        """Ask until `ended`."""
        super().__init__(daemon=True)
        self._kind = kind
        self._options = options
        self._counts = counts
        self._ended = ended
        self._paths = itertools.cycle(options["paths"])
        self._headers = {"Authorization": authorization(options)}
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Ask until the end."""
        ask = {"fresh": self._get, "kept": self._get_kept, "uploads": self._publish}[self._kind]
        while not self._ended.wait(self._options["pause"]):
            begun = time.time()
            try:
                outcome = ask()
            except (OSError, http.client.HTTPException) as error:
                outcome = repr(error)
                self._connection = None
            self._counts.add(self._kind, begun, outcome)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", content_type: str = ""
    ) -> str:
        headers = {**self._headers, "Content-Type": content_type} if content_type else self._headers
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        text = answer.read()
        return "" if answer.status == OK else f"{method} {path}: {answer.status} {text[:200]!r}"

    def _get(self) -> str:
        connection = connect(self._options)
        try:
            return self._ask(connection, "GET", next(self._paths))
        finally:
            connection.close()

    def _get_kept(self) -> str:
        path = next(self._paths)
        if self._connection:
            try:
                return self._ask(self._connection, "GET", path)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                # A server may close a connection that it keeps while the next request is on its way: clients ask once
                # more on a new one (RFC 9112, 9.3.1), as pip, uv and requests do. It is counted all the same.
                self._counts.reopen()
        self._connection = connect(self._options)
        return self._ask(self._connection, "GET", path)

    def _publish(self) -> str:
        content = os.urandom(10_000)
        # A number of more than 19 digits is refused.
        version = f"1.{secrets.randbits(60)}"
        fields = {":action": "file_upload", "name": "load", "version": version}
        fields["sha256_digest"] = hashlib.sha256(content).hexdigest()
        body, content_type = form(fields, (f"load-{version}.tar.gz", content))
        connection = connect(self._options)
        try:
            return self._ask(connection, "POST", "/", body, content_type)
        finally:
            connection.close()


def main() -> None:
    """Run until the file appears."""
    options = json.loads(os.environ["LOAD"])
    counts, ended = Counts(Path(options["record"])), threading.Event()
    clients = [
        Client(kind, options, counts, ended) for kind in ("fresh", "kept", "uploads") for _ in range(options[kind])
    ]
    for client in clients:
        client.start()
    while not Path(options["stop"]).exists():
        time.sleep(1)
        counts.show(end=False)
    ended.set()
    for client in clients:
        client.join()
    counts.show(end=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
