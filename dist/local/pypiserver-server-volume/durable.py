"""Writing to the package volume so that it lasts."""

from __future__ import annotations

import errno
import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from server.volume.content import CHUNK, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

UNFINISHED = ".pypiserver/unfinished"
"""Where unfinished files are, in the package directory: pypiserver, like this server, lists no dot names."""
NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT})
"""The errors of a volume that is full or read-only."""
_log = logging.getLogger("writing")


class UnsuitableVolumeError(RuntimeError):
    """The volume cannot do what the method of publishing needs."""


class UnsettledError(OSError):
    """A file has its name, which others may have seen, but the name may not survive a loss of power."""


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """All that has been written to a file, from its start."""
    file.seek(0)
    while block := file.read(CHUNK):
        yield block


def sync(file: BinaryIO) -> Stamp:
    """Make the content of a file durable.

    Raises:
        OSError: It cannot be written.
    """
    file.flush()
    os.fsync(file.fileno())
    status = os.fstat(file.fileno())
    return Stamp(status.st_size, status.st_mtime_ns)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # File systems that have nothing to do here say so with EINVAL (fsync(2)).
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def abandoned(directory: Path, seconds: float) -> Iterator[Path]:
    """The files of a directory that have not been written to for this many seconds."""
    try:
        paths = list(directory.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= seconds:
                yield path


def pass_if_not_writable(error: OSError) -> None:
    """Accept a volume that is full or read-only: reads work, and uploads are refused one by one.

    Raises:
        UnsuitableVolumeError: It is something else.
    """
    if error.errno not in NOT_WRITABLE:
        raise UnsuitableVolumeError(f"the package volume cannot be used: {error}") from error
    _log.warning("the package volume cannot be written to (%s): uploads will be refused", error.strerror)
