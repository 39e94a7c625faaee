"""Publishing on a file system: the file gets its name by link(2)."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import logging
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from server.volume.durable import (
    NOT_WRITABLE,
    UNFINISHED,
    UnsettledError,
    UnsuitableVolumeError,
    abandoned,
    make_directory,
    pass_if_not_writable,
    remove_file,
    sync,
    sync_directory,
    tolerating,
)

if TYPE_CHECKING:
    from pathlib import Path

    from server.publish.drafts import Draft, Facts
    from server.volume.content import Stamp

_log = logging.getLogger("links")


class Link:
    """Write under a hidden name, then give it its name with link(2).

    link(2) fails if the name exists, for any number of pods on a shared file system.
    """

    def __init__(self, root: Path) -> None:
        """Publish into `root`."""
        self.unsettled: set[str] = set()
        self._root = root
        self._directory = root / UNFINISHED

    def draft(self) -> Draft:
        """See Publisher."""
        return _LinkDraft(self._root)

    def check(self) -> None:
        """See Publisher."""
        first, second = (self._directory / uuid.uuid4().hex for _ in range(2))
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            first.touch()
        except OSError as error:
            pass_if_not_writable(error)
            return
        try:
            os.link(first, second)
        except OSError as error:
            if error.errno not in NOT_WRITABLE - {errno.EACCES}:
                raise UnsuitableVolumeError(
                    f"the package volume has no hard links ({error.strerror}): set PUBLISH_METHOD=direct"
                ) from error
        finally:
            for each in (first, second):
                with suppress(OSError):
                    each.unlink()

    def clean(self, abandoned_seconds: float) -> None:
        """See Publisher."""
        with tolerating(self._directory):
            for path in abandoned(self._directory, abandoned_seconds):
                # A pod that is to end finishes what it has begun, while its successor has started already.
                if _is_in_use(path):
                    continue
                with tolerating(path):
                    path.unlink(missing_ok=True)
                    _log.info("removed the unfinished upload %s", path.name)

    def remove(self, path: str) -> None:
        """See Publisher."""
        remove_file(self._root / path)

    def unfinished(self) -> frozenset[str]:
        """See Publisher: none has its name yet."""
        return frozenset()


class _LinkDraft:
    """A file under a hidden name on the volume, from the first byte that comes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        directory = root / UNFINISHED
        make_directory(directory)
        self._path = directory / uuid.uuid4().hex
        self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), "w+b")
        # Says that it is in use, as long as this process lives; not every file system has locks.
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, block: bytes) -> None:
        """See Draft."""
        self._file.write(block)

    def content(self) -> BinaryIO:
        """See Draft."""
        self._file.seek(0)
        return self._file

    def publish(self, name: str, facts: Facts, *, again: bool = False) -> Stamp:
        """See Draft."""
        del facts
        stamp = sync(self._file)
        final = self._root / name
        try:
            os.link(self._path, final)
        except FileExistsError:
            # NFS may repeat a request whose answer was lost; then it was this link (open(2), O_EXCL).
            if self._path.stat().st_nlink != 2:  # noqa: PLR2004 - the hidden name and the final one
                if not (again and filecmp.cmp(self._path, final, shallow=False)):
                    raise
                # Not only another sync: one that follows a failed one may succeed without having written anything.
                self._path.rename(final)
        try:
            sync_directory(self._root)
        except OSError as error:
            # Another pod lists it already, and the gateway sends it: it stays.
            raise UnsettledError(error.errno, error.strerror, str(final)) from error
        return stamp

    def discard(self) -> None:
        """See Draft."""
        with suppress(OSError):
            self._path.unlink()
        # Closing writes what is still held back.
        with suppress(OSError):
            self._file.close()


def _is_in_use(path: Path) -> bool:
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
