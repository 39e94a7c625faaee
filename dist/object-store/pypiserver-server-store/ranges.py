"""An object as a file that can be sought, of which only what is read is fetched."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from server.store.remote import Remote

_BLOCK = 2**18
"""How many bytes are fetched at a time, at least."""


class _Ranges(io.RawIOBase):
    def __init__(self, remote: Remote, path: str, size: int) -> None:
        self._remote = remote
        self._path = path
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # whatever BufferedReader gives
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        with self._remote.reading(self._path, self._at, length) as answer:
            block = answer.read(length)
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)


def opened(remote: Remote, path: str, size: int) -> BinaryIO:
    """An object of this size; reading it raises StoreError where the store does."""
    return cast("BinaryIO", io.BufferedReader(_Ranges(remote, path, size), _BLOCK))
