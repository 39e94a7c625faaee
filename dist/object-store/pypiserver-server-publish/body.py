"""The body of a request, read once while it comes: nothing keeps it, so that its size does not matter."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from gunicorn.http.body import Body as GunicornBody
from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import SocketUnreader

from server.http.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

BLOCK = 2**17
"""How many bytes are read at a time, at most: as many as the gateway sends at a time."""


class Body:
    """A body that is read from its start to its end."""

    def __init__(self, environ: MutableMapping[str, Any]) -> None:
        """Read what `environ`, of WSGI, has as its input."""
        length = environ.get("CONTENT_LENGTH")
        self._left = int(length) if length else None
        # Without a length gunicorn finds the end itself, if there is a body at all.
        if self._left is None and "HTTP_TRANSFER_ENCODING" not in environ:
            self._left = 0
        self._read = _source(environ["wsgi.input"])

    def read(self) -> bytes:
        """The next bytes, as many as are there, but at least one; none at the end.

        Raises:
            RefusedError: The connection ended before the body did.
        """
        if self._left == 0:
            return b""
        try:
            block = self._read(BLOCK if self._left is None else min(BLOCK, self._left))
        except OSError as error:
            # gunicorn's own about broken chunks, or that of a connection that was reset.
            raise RefusedError("The request ended before the upload was complete") from error
        if self._left is None:
            if not block:
                self._left = 0
            return block
        if not block:
            raise RefusedError("The request ended before the upload was complete")
        self._left -= len(block)
        return block

    def drop(self) -> None:
        """Read what is left of it.

        The gateway may lose an answer that comes before it has sent everything: the connection is closed with bytes
        that nobody has read, which resets it.

        Raises:
            RefusedError: The connection ended before the body did.
        """
        while self.read():
            pass

    def replace(self, environ: MutableMapping[str, Any], most: int) -> None:
        """Leave the body as bytes in `environ`: what there is beyond `most` is cut off."""
        held = bytearray()
        while len(held) < most and (block := self.read()):
            held += block
        self.drop()
        del held[most:]
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(held))
        environ["wsgi.input"] = io.BytesIO(held)


def _source(stream: Any) -> Callable[[int], bytes]:  # noqa: ANN401 - whatever WSGI has
    """What reads from a stream.

    gunicorn reads 8 KiB at a time, copies each of them a dozen times, and returns only what was asked for in full.
    """
    reader: Any = getattr(stream, "reader", None)
    unreader: Any = getattr(reader, "unreader", None)
    if not (isinstance(stream, GunicornBody) and type(reader) is LengthReader and type(unreader) is SocketUnreader):
        read: Callable[[int], bytes] = stream.read
        return read

    def received(most: int) -> bytes:
        unreader.mxchunk = most
        block: bytes = unreader.read()
        # The next request of a connection that is kept, which came with the last bytes of this one.
        unreader.unread(block[most:])
        block = block[:most]
        # What gunicorn drops after the answer.
        reader.length -= len(block)
        return block

    return received
