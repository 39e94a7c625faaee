"""What comes back from wherever files are: read with a limit to how long it may take, or an error."""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import WriteableBuffer

SILENCE_SECONDS = 20.0
"""How long somebody may say nothing in the middle of an answer."""
HEAD_SECONDS = 30.0
"""How long an answer may take to begin, and..."""
PIECE_SECONDS = 60.0
"""...how long a piece of it, that somebody reads, may take to come: a byte now and then is no silence."""
REST_SECONDS = 3.0
"""How long somebody who does not answer is left alone: whoever asks meanwhile is told at once."""


class AwayError(Exception):
    """Nobody answers; the text says why, and `retry_after` when to ask again, in seconds."""

    def __init__(self, reason: str, retry_after: float = REST_SECONDS) -> None:
        """Give a reason."""
        super().__init__(reason)
        self.retry_after = retry_after


class RefusedError(Exception):
    """What is answered cannot be used; the text says why."""


class _Bytes(io.RawIOBase):
    """What a connection brings, until a moment at the latest."""

    def __init__(self, connection: socket.socket) -> None:
        self.until = time.monotonic() + HEAD_SECONDS
        self._connection = connection
        self._bytes = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it comes too slowly")
        self._connection.settimeout(min(left, SILENCE_SECONDS))
        try:
            return self._bytes.readinto(buffer)
        finally:
            self._connection.settimeout(SILENCE_SECONDS)

    def close(self) -> None:
        self._bytes.close()
        super().close()


class Response(http.client.HTTPResponse):
    """An answer of which no part can take for ever."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - of the library
        """Read from this socket, as `http.client` has it made."""
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self._bytes = _Bytes(sock)
        self.fp = io.BufferedReader(self._bytes)

    def allow(self, seconds: float) -> None:
        """Give what is read next so much time."""
        self._bytes.until = time.monotonic() + seconds


class Answer:
    """The answer to a GET, to be read as it comes."""

    def __init__(self, name: str, url: str, response: Response, received: Callable[[int], None]) -> None:
        """Of `name`, whose redirections have led to `url`; `received` is told of the bytes that come."""
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self._name = name
        self._response = response
        self._received = received

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end.

        Raises:
            AwayError: The answer breaks off.
        """
        self._response.allow(PIECE_SECONDS)
        try:
            read = self._response.read1(size) if self._response.chunked else self._response.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise AwayError(f"{self._name} broke off: {error or type(error).__name__}") from error
        if not read and self._response.length:
            raise AwayError(f"{self._name} broke off: {self._response.length} bytes are missing")
        self._received(len(read))
        return read
