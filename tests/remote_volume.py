"""A volume whose far end can be away, as a bucket's can: a file system in user space (FUSE) that stops answering.

It is read-only and has one directory. Only root may mount it; for others `mounted` skips the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

MS_RDONLY, MNT_FORCE, MNT_DETACH = 1, 1, 2
ROOT = 1
"""The node of the directory; the files come after it."""
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH = 1, 2, 3, 14, 15, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 26, 27, 28, 29, 36, 42
"""Requests of linux/fuse.h, protocol 7.31."""
KEEP_CACHE = 2
"""The flag of a file that may be opened while others wait for its content."""
CONSTANT = {
    INIT: struct.pack("<IIIIHHII32x", 7, 31, 0, 0, 0, 0, 4096, 1),
    **dict.fromkeys((OPEN, OPENDIR), struct.pack("<QII", 0, KEEP_CACHE, 0)),
    **dict.fromkeys((FLUSH, RELEASE, RELEASEDIR), b""),
}
"""What is answered whatever is asked for."""
ALL = range(64)
HEADER = 40
"""How many bytes come before what an operation is about."""


class RemoteVolume:
    """The files, and whether they can be reached."""

    def __init__(self, device: int, files: Mapping[str, bytes]) -> None:
        """Answer what the kernel asks through `device`."""
        self._device = device
        self._names = sorted(files)
        self._contents = [files[name] for name in self._names]
        self._lock = threading.Lock()
        self._hanging: Container[int] = ()
        self._waiting: list[bytes] = []

    def hang(self, operations: Container[int] = ALL) -> None:
        """From now on calls wait, or those of some operations."""
        with self._lock:
            self._hanging = operations

    def come_back(self) -> None:
        """Answer again, what has been waiting too."""
        with self._lock:
            self._hanging = ()
            waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._reply(request)

    def serve(self) -> None:
        """Answer until the volume is unmounted."""
        while True:
            try:
                request = os.read(self._device, 2**20 + 4096)
            except OSError:
                return
            with self._lock:
                hangs = _header(request)[0] in self._hanging
                if hangs:
                    self._waiting.append(request)
            if not hangs:
                self._reply(request)

    def _reply(self, request: bytes) -> None:
        operation, unique, node = _header(request)
        if operation in {FORGET, BATCH_FORGET, INTERRUPT}:
            return
        try:
            answer, error = self._answer(operation, node, request[HEADER:]), 0
        except OSError as failed:
            answer, error = b"", failed.errno or errno.EIO
        # Whoever asked may have been killed.
        with contextlib.suppress(OSError):
            os.write(self._device, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)

    def _answer(self, operation: int, node: int, body: bytes) -> bytes:
        if operation in CONSTANT:
            return CONSTANT[operation]
        if operation == LOOKUP:
            name = body.rstrip(b"\0").decode()
            if name not in self._names:
                raise FileNotFoundError(errno.ENOENT, name)
            found = ROOT + 1 + self._names.index(name)
            return struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + self._attributes(found)
        if operation == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if operation == READ:
            offset, size = struct.unpack_from("<8xQI", body)
            return self._contents[node - ROOT - 1][offset : offset + size]
        if operation == READDIR:
            (offset,) = struct.unpack_from("<8xQ", body)
            return b"".join(self._entry(number) for number in range(offset, len(self._names)))
        raise OSError(errno.ENOSYS, "")

    def _attributes(self, node: int) -> bytes:
        directory = node == ROOT
        size = 0 if directory else len(self._contents[node - ROOT - 1])
        mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o644
        return struct.pack("<6Q10I", node, size, 0, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _entry(self, number: int) -> bytes:
        name = self._names[number].encode()
        entry = struct.pack("<QQII", ROOT + 1 + number, number + 1, len(name), stat.S_IFREG >> 12) + name
        return entry + bytes(-len(entry) % 8)


def _header(request: bytes) -> tuple[int, int, int]:
    operation, unique, node = struct.unpack_from("<4xIQQ", request)
    return operation, unique, node


@contextlib.contextmanager
def mounted(directory: Path, files: Mapping[str, bytes]) -> Iterator[RemoteVolume]:
    """Mount a volume with these files on a directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no file system in user space can be mounted: {error}")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    where = os.fsencode(directory)
    if libc.mount(b"remote", where, b"fuse", MS_RDONLY, options.encode()):
        os.close(device)
        pytest.skip(f"no file system in user space can be mounted: {os.strerror(ctypes.get_errno())}")
    volume = RemoteVolume(device, files)
    serving = threading.Thread(target=volume.serve)
    serving.start()
    try:
        yield volume
    finally:
        volume.come_back()
        # The first ends every call that still waits; it leaves the volume there if a file is open.
        for flag in (MNT_FORCE, MNT_DETACH):
            libc.umount2(where, flag)
        serving.join()
        os.close(device)
