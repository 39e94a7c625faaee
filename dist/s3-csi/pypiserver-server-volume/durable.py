"""Writing to the package volume so that it lasts."""

from __future__ import annotations

import errno
import logging
import os
import time
from contextlib import contextmanager, suppress
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
_IN_THE_WAY = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EPERM, errno.EIO, errno.ESTALE}
)
"""The errors of one entry, where the server's own directory should be."""
_log = logging.getLogger("writing")


class UnsuitableVolumeError(RuntimeError):
    """The volume cannot do what the method of publishing needs."""


class UnsettledError(OSError):
    """A name was given or taken away, which others may have seen, but that may not survive a loss of power."""


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


def create_file(path: Path, content: bytes) -> None:
    """Make a small file with a durable content; its name is made durable by `sync_directory`.

    Raises:
        FileExistsError: There is one.
        OSError: It cannot be written; nothing is left of it, if the volume lets go what there is.
    """
    # Whatever this raises, what is there now is not ours to remove.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            sync(file)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


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


def remove_file(path: Path) -> None:
    """Remove a file for good; one that is gone already is not an error.

    Raises:
        UnsettledError: It is gone, and may be back after a loss of power.
        OSError: It is still there.
    """
    path.unlink(missing_ok=True)
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise UnsettledError(error.errno, error.strerror, str(path)) from error


def make_directory(directory: Path) -> None:
    """Make a directory of the server's own, and the one above it, if they are not there.

    The package directory itself is never made: where it is missing, it is another file system that would be written to.

    Raises:
        OSError: It cannot be made; never FileExistsError, which says that a package is there.
    """
    try:
        directory.parent.mkdir(exist_ok=True)
        directory.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from error


def abandoned(directory: Path, seconds: float) -> Iterator[Path]:
    """The files of a directory that have not been written to for this many seconds; with 0 all, whatever a clock says.

    Raises:
        OSError: The directory cannot be listed.
    """
    try:
        paths = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        if seconds:
            # One that cannot be asked is not known to be abandoned.
            try:
                age = time.time() - path.stat().st_mtime
            except OSError:
                continue
            if age < seconds:
                continue
        yield path


@contextmanager
def tolerating(what: Path) -> Iterator[None]:
    """Go on though something on the volume cannot be tidied up: it is read-only, or an entry is broken."""
    try:
        yield
    except OSError as error:
        _log.warning("%a cannot be tidied up: %s", str(what), error.strerror or error)


def pass_if_not_writable(error: OSError) -> None:
    """Accept a volume that is full or read-only, or has something else where the server's own directory should be.

    Reads work, and uploads are refused one by one.

    Raises:
        UnsuitableVolumeError: It is something else.
    """
    if error.errno not in NOT_WRITABLE | _IN_THE_WAY:
        raise UnsuitableVolumeError(f"the package volume cannot be used: {error}") from error
    _log.warning("the package volume cannot be written to (%s): uploads will be refused", error.strerror)
