"""Small files of the server's own on the package volume, under a name that nobody lists."""

from __future__ import annotations

import os
import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from server.volume.durable import UNFINISHED, make_directory, sync_directory

if TYPE_CHECKING:
    from pathlib import Path


class OwnFiles:
    """One directory below `.pypiserver`."""

    def __init__(self, root: Path, name: str, *, in_place: bool) -> None:
        """Keep files in the directory `name` of the package directory `root`.

        `in_place` is for mounted buckets, where a rename copies and deletes: an object is there whole or not at all.
        """
        self.path = root / ".pypiserver" / name
        self._root = root
        self._unfinished = root / UNFINISHED
        self._in_place = in_place
        self._lock = threading.Lock()

    def put(self, name: str, content: bytes, *, durable: bool) -> None:
        """Create or replace a file; if it is to be durable, it survives a loss of power when this returns.

        Raises:
            OSError: The volume did not take it; there may be half a file if it is written in place.
        """
        final = self.path / name
        # What is left of a crash is removed from there at the next start.
        temporary = final if self._in_place else self._unfinished / uuid.uuid4().hex
        with self._lock:
            for directory in (self.path, temporary.parent):
                make_directory(directory)
            try:
                _write(temporary, content, durable=durable)
                if not self._in_place:
                    temporary.rename(final)
            except OSError:
                if not self._in_place:
                    with suppress(OSError):
                        temporary.unlink()
                raise
            # In a bucket the file's own fsync brings its name too.
            if durable and not self._in_place:
                # The directories may be new, made by whatever was not to be durable.
                for directory in (self.path, self.path.parent, self._root):
                    sync_directory(directory)

    def remove(self, name: str) -> None:
        """Remove a file for good; one that is gone already is not an error.

        Raises:
            OSError: The volume does not let it go.
        """
        with self._lock:
            try:
                (self.path / name).unlink()
            except FileNotFoundError:
                return
            sync_directory(self.path)


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(descriptor)
