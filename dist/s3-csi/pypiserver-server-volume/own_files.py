"""Small files of the server's own on the package volume, under a name that nobody lists."""

from __future__ import annotations

import errno
import os
import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from server.volume.content import Stamp, content
from server.volume.durable import UNFINISHED, create_file, make_directory, sync_directory

if TYPE_CHECKING:
    from pathlib import Path


class Files(Protocol):
    """One directory below `.pypiserver`, wherever that is kept."""

    def put(self, name: str, content: bytes, *, durable: bool) -> None:
        """Create or replace a file; if it is to be durable, it survives a loss of power when this returns.

        Raises:
            OSError: It was not taken.
        """

    def create(self, name: str, content: bytes) -> None:
        """Make a file, which survives a loss of power when this returns; of several that are at it one alone does.

        Raises:
            FileExistsError: There is one of this name, which lasts as well; nothing of it is changed.
            OSError: It was not taken.
        """

    def remove(self, name: str) -> None:
        """Remove a file for good; one that is gone already is not an error.

        Raises:
            OSError: It is still there.
        """

    def names(self) -> frozenset[str]:
        """The names of the files; none if there is no such directory.

        Raises:
            OSError: They cannot be listed.
        """

    def has(self, name: str) -> bool:
        """Whether there is a file of this name.

        Raises:
            OSError: That cannot be told.
        """

    def stamp(self, name: str) -> Stamp:
        """What tells one content of a file from another.

        Raises:
            OSError: It cannot be told, or there is no such file.
        """

    def content(self, name: str, most: int) -> bytes:
        """All that is in a file.

        Raises:
            OSError: It cannot be read, is larger than `most` bytes, or there is no such file.
        """

    def changed(self) -> int:
        """When the directory has changed the last time, in nanoseconds, or a number that only ever grows; 0 for none.

        Raises:
            OSError: It cannot be told.
        """


class OwnFiles:
    """One directory below `.pypiserver` on the package volume; see Files."""

    def __init__(self, root: Path, name: str, *, in_place: bool, writes: bool = True) -> None:
        """Keep files in the directory `name` of the package directory `root`.

        `in_place` is for mounted buckets, where a rename copies and deletes: an object is there whole or not at all.
        A pod that only reads has it that nothing `writes`.
        """
        self._writes = writes
        self.path = root / ".pypiserver" / name
        self._root = root
        self._unfinished = root / UNFINISHED
        self._in_place = in_place
        self._lock = threading.Lock()

    def put(self, name: str, content: bytes, *, durable: bool) -> None:
        """See Files.

        Raises:
            OSError: The volume did not take it; there may be half a file if it is written in place.
        """
        self._refuse_readers()
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
                self._sync()

    def create(self, name: str, content: bytes) -> None:
        """See Files: link(2) and O_EXCL fail if there is one, also for other pods."""
        self._refuse_readers()
        final = self.path / name
        with self._lock:
            make_directory(self.path)
            if self._in_place:
                create_file(final, content)
                return
            temporary = self._unfinished / uuid.uuid4().hex
            make_directory(temporary.parent)
            try:
                create_file(temporary, content)
                _link(temporary, final)
            except FileExistsError:
                # Whoever has made it may not have come as far as this.
                self._sync()
                raise
            finally:
                with suppress(OSError):
                    temporary.unlink()
            self._sync()

    def remove(self, name: str) -> None:
        """See Files."""
        self._refuse_readers()
        with self._lock:
            try:
                (self.path / name).unlink()
            except FileNotFoundError:
                return
            sync_directory(self.path)

    def names(self) -> frozenset[str]:
        """See Files."""
        try:
            # Of a hundred thousand the paths would take as long again.
            return frozenset(os.listdir(self.path))  # noqa: PTH208
        except FileNotFoundError:
            return frozenset()

    def has(self, name: str) -> bool:
        """See Files."""
        try:
            (self.path / name).stat()
        except FileNotFoundError:
            return False
        return True

    def stamp(self, name: str) -> Stamp:
        """See Files."""
        status = (self.path / name).stat()
        return Stamp(status.st_size, status.st_mtime_ns)

    def content(self, name: str, most: int) -> bytes:
        """See Files."""
        return content(self.path / name, most)

    def changed(self) -> int:
        """See Files."""
        try:
            return self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _sync(self) -> None:
        # The directories may be new, made by whatever was not to be durable.
        for directory in (self.path, self.path.parent, self._root):
            sync_directory(directory)

    def _refuse_readers(self) -> None:
        if not self._writes:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.path))


def _link(temporary: Path, final: Path) -> None:
    try:
        os.link(temporary, final)
    except FileExistsError:
        # NFS may repeat a request whose answer was lost; then it was this link (open(2), O_EXCL).
        if temporary.stat().st_nlink != 2:  # noqa: PLR2004 - the hidden name and the final one
            raise


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(descriptor)
