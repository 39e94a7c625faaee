"""Sending raw requests, well framed or not, and reading what comes back."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from typing import TYPE_CHECKING

from gateway_programs import read_all
from programs import PATIENCE

if TYPE_CHECKING:
    from typing import Self

SILENCE = 0.1
"""Seconds after which the other side is taken to wait for more of a request."""
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)


class Wire:
    """A client of one port, with a connection that is kept as long as the other side keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._kept: socket.socket | None = None
        self.answers = 0
        """How many answers came back, over all requests."""

    def ask(self, request: bytes, *, head_only: bool = False) -> int:
        """Send a request that says where it ends, over the kept connection; returns the status of its answer.

        A kept connection may have been closed meanwhile; then the request is sent again over a new one.
        """
        for kept in (self._kept, None):
            if kept is None and self._kept:
                self.close()
            connection = self._kept = kept or self._connect()
            with contextlib.suppress(ConnectionError, http.client.BadStatusLine):
                connection.sendall(request)
                answer = http.client.HTTPResponse(connection, method="HEAD" if head_only else "GET")
                answer.begin()
                answer.read()
                self.answers += 1
                if answer.will_close:
                    self.close()
                return answer.status
            if kept is None:
                break
        self.close()
        return 0

    def throw(self, request: bytes) -> list[int]:
        """Send anything over a connection of its own, and end it where the other side waits for more.

        Returns the status of each answer: there may be several, or none.
        """
        received = bytearray()
        with self._connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(request)
            connection.settimeout(SILENCE)
            try:
                while chunk := connection.recv(65536):
                    received += chunk
            except TimeoutError:
                connection.settimeout(PATIENCE)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                received += read_all(connection)
        statuses = [int(status) for status in _STATUS.findall(received) if status != b"100"]
        self.answers += len(statuses)
        return statuses

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept:
            self._kept.close()
            self._kept = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), PATIENCE)
