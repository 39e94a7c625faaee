"""What files on the volume have in common."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 2**20
"""How many bytes are read at a time."""
SETTLED_NS = 2_000_000_000
"""How old a directory's time of change must be to prove that nothing has changed since it was listed.

Kernels count it in ticks of some milliseconds, some file systems in seconds.
"""


NO_FILE = "It is no file"


class Stamp(NamedTuple):
    """What tells one content of a file from another."""

    size: int
    mtime_ns: int


def is_file(path: Path) -> bool:
    """Whether there is a file of packages at a path: in its place somebody may have put a link, or a pipe.

    A link could lead to any file of the container, and a pipe would hold its reader up for ever.

    Raises:
        OSError: That cannot be told, or there is nothing.
    """
    return stat.S_ISREG(os.lstat(path).st_mode)


def check_file(path: Path) -> None:
    """Make sure that there is a file of packages at a path.

    Raises:
        OSError: It is something else, or nothing; or that cannot be told.
    """
    if not is_file(path):
        raise OSError(errno.ENXIO, NO_FILE, str(path))


def content(path: Path, most: int) -> bytes:
    """All that is in a small file.

    Raises:
        OSError: It cannot be read: it is none (a pipe would hold its reader up for ever), or larger than `most`.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
            raise OSError(number, NO_FILE, str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"It has more than {most} bytes", str(path))
        return file.read(most)


def from_disk(path: Path, most: int) -> bytes:
    """All that is in a small file, past the kernel's memory, which goes on answering for a disk that does not.

    Raises:
        OSError: It cannot be read, as by `content`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_DIRECT)
        with os.fdopen(descriptor, "rb", buffering=0) as file, mmap.mmap(-1, mmap.PAGESIZE) as block:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return block[: file.readinto(block)]
    except OSError as error:
        # Of a file system that reads through memory only.
        if error.errno != errno.EINVAL:
            raise
    return content(path, most)
