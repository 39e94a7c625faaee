"""Listens on loopback for the containers of the pod, and sends them files as they come."""

from __future__ import annotations

import contextlib
import os
import re
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, TYPE_CHECKING, ClassVar, NamedTuple

from server.fetching.answers import AwayError, RefusedError
from server.fetching.cache import NoRoomError
from server.fetching.fetches import CHUNK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.fetching.fetches import Fetch

BYTES = {"Content-Type": "application/octet-stream"}
TEXT = "text/plain; charset=utf-8"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Reply(NamedTuple):
    """An answer whose body is at hand."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = {}


class Sending(NamedTuple):
    """An answer with a file that may still be on its way."""

    fetch: Fetch
    descriptor: int
    """Of what is there of it; closed when all is sent."""
    changed: float
    """The file's time of change."""


class Handler(BaseHTTPRequestHandler):
    """A request of the server or the gateway."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    routes: ClassVar[tuple[tuple[re.Pattern[str], str], ...]] = ()
    """What each path is for: a pattern, and the name that `answer` gets with the pattern's groups."""
    statuses: ClassVar[Mapping[type[Exception], HTTPStatus]] = {
        NoRoomError: HTTPStatus.INSUFFICIENT_STORAGE,
        RefusedError: HTTPStatus.BAD_GATEWAY,
    }
    """What is said of errors of `answer` besides AwayError, with their texts."""

    def answer(self, name: str, *arguments: str) -> Reply | Sending:
        """What is answered to a path of `routes`."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer; an error says why, in words."""
        self.close_connection = True
        matches = ((pattern.fullmatch(self.path), name) for pattern, name in self.routes)
        found, name = next((match for match in matches if match[0]), (None, ""))
        if not found:
            self._reply(Reply(HTTPStatus.NOT_FOUND, b"Not found\n"))
            return
        try:
            answer = self.answer(name, *found.groups())
            if isinstance(answer, Sending):
                self._send(*answer)
            else:
                self._reply(answer)
        except AwayError as error:
            headers = {"Retry-After": str(max(1, round(error.retry_after)))}
            self._reply(Reply(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode(), headers=headers))
        except tuple(self.statuses) as error:
            self._reply(Reply(self.statuses[type(error)], f"{error}\n".encode()))
        except OSError as error:
            if not isinstance(error, ConnectionError | TimeoutError):
                text = f"The cache volume fails: {error.strerror or error}\n"
                self._reply(Reply(HTTPStatus.INSUFFICIENT_STORAGE, text.encode()))

    do_HEAD = do_GET  # noqa: N815 - as http.server calls it

    def log_message(self, *_: object) -> None:
        """Nothing: the gateway has a line of every request."""

    def _reply(self, reply: Reply) -> None:
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body)), **reply.headers}
        self._head(reply.status, headers)
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _head(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, fetch: Fetch, descriptor: int, changed: float) -> None:
        """Send a file, or a part of it, as it comes."""
        with os.fdopen(descriptor, "rb") as file:
            fetch.wait_for_beginning()
            size = fetch.size
            # As nginx makes it of a file with this time and size, so that a client can go on with what it has.
            tags = {"Last-Modified": formatdate(changed, usegmt=True)}
            if size is None:
                self._head(HTTPStatus.OK, {**BYTES, **tags, "Transfer-Encoding": "chunked"})
                if self.command != "HEAD":
                    self._copy_chunks(fetch, descriptor)
                return
            tags["ETag"] = f'"{int(changed):x}-{size:x}"'
            condition = self.headers.get("If-Range")
            first, end = (
                _part(self.headers.get("Range", ""), size) if condition in {None, *tags.values()} else (0, size)
            )
            length = {**BYTES, **tags, "Accept-Ranges": "bytes", "Content-Length": str(max(0, end - first))}
            if first >= end > 0:
                self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {**length, "Content-Range": f"bytes */{size}"})
                return
            if end - first != size:
                self._head(HTTPStatus.PARTIAL_CONTENT, {**length, "Content-Range": f"bytes {first}-{end - 1}/{size}"})
            else:
                self._head(HTTPStatus.OK, length)
            if self.command != "HEAD":
                self._copy(fetch, file, first, end)

    def _copy(self, fetch: Fetch, file: IO[bytes], offset: int, end: int) -> None:
        # A client notices by the length that the end comes too early.
        with contextlib.suppress(AwayError, NoRoomError, RefusedError, OSError):
            while offset < end:
                offset += self.connection.sendfile(file, offset, min(fetch.available(offset), CHUNK, end - offset))

    def _copy_chunks(self, fetch: Fetch, descriptor: int) -> None:
        # Here it is by the last chunk, which is missing.
        offset = 0
        with contextlib.suppress(AwayError, NoRoomError, RefusedError, OSError):
            while count := min(fetch.available(offset), CHUNK):
                self.wfile.write(b"%x\r\n%b\r\n" % (count, os.pread(descriptor, count, offset)))
                offset += count
            self.wfile.write(b"0\r\n\r\n")


def serve(handler: type[Handler], port: int) -> None:
    """Answer on loopback until the process ends.

    Raises:
        OSError: The port is taken.
    """
    with _Server(("127.0.0.1", port), handler) as server:
        server.serve_forever()


class _Server(ThreadingHTTPServer):
    request_queue_size = 4096
    daemon_threads = True


def _part(header: str, size: int) -> tuple[int, int]:
    """The first byte of a Range header's part and the one after its last; those of the whole without such a part."""
    found = _RANGE.fullmatch(header)
    if not found or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    last = int(found[2]) if found[2] else size - 1
    return (int(found[1]), min(last + 1, size)) if last >= int(found[1]) else (0, size)
