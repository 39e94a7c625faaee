"""A volume whose far end can be away, as a bucket's can: a file system in user space (FUSE) that stops answering.

It is read-only. Only root may mount it; for others `mounted` skips the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import threading
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path

MS_RDONLY, MNT_FORCE, MNT_DETACH = 1, 1, 2
ROOT = 1
"""The node of the directory itself; what is below it comes after it."""
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
        directories = {str(parent) for name in files for parent in PurePath(name).parents} - {"."}
        self._paths = [".", *sorted({*files, *directories})]
        self._files = files
        self._lock = threading.Lock()
        self._hanging: Container[int] = ()
        self._deaf = False
        self._waiting: list[bytes] = []

    def hang(self, operations: Container[int] = ALL, *, deaf: bool = False) -> None:
        """From now on calls wait, or those of some operations; if the far end is `deaf`, signals do not end them."""
        with self._lock:
            self._hanging, self._deaf = operations, deaf

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
            operation = _header(request)[0]
            with self._lock:
                hangs = operation in self._hanging and operation != INTERRUPT
                if hangs:
                    self._waiting.append(request)
            if operation == INTERRUPT:
                self._interrupt(*struct.unpack_from("<Q", request, HEADER))
            elif not hangs:
                self._reply(request)

    def _interrupt(self, call: int) -> None:
        with self._lock:
            interrupted = [] if self._deaf else [each for each in self._waiting if _header(each)[1] == call]
            self._waiting = [each for each in self._waiting if each not in interrupted]
        for _ in interrupted:
            with contextlib.suppress(OSError):
                os.write(self._device, struct.pack("<IiQ", 16, -errno.EINTR, call))

    def _reply(self, request: bytes) -> None:
        operation, unique, node = _header(request)
        if operation in {FORGET, BATCH_FORGET}:
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
        path = self._paths[node - ROOT]
        if operation == LOOKUP:
            wanted = str(PurePath(path, body.rstrip(b"\0").decode()))
            if wanted not in self._paths:
                raise FileNotFoundError(errno.ENOENT, wanted)
            found = ROOT + self._paths.index(wanted)
            return struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + self._attributes(found)
        if operation == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if operation == READ:
            offset, size = struct.unpack_from("<8xQI", body)
            return self._files[path][offset : offset + size]
        if operation == READDIR:
            (offset,) = struct.unpack_from("<8xQ", body)
            below = [ROOT + number for number, each in enumerate(self._paths) if number and _parent(each) == path]
            return b"".join(self._entry(each, number) for number, each in enumerate(below, 1) if number > offset)
        raise OSError(errno.ENOSYS, "")

    def _attributes(self, node: int) -> bytes:
        content = self._files.get(self._paths[node - ROOT])
        mode = stat.S_IFDIR | 0o755 if content is None else stat.S_IFREG | 0o644
        return struct.pack("<6Q10I", node, len(content or b""), 0, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _entry(self, node: int, number: int) -> bytes:
        path = self._paths[node - ROOT]
        name = PurePath(path).name.encode()
        kind = stat.S_IFREG if path in self._files else stat.S_IFDIR
        entry = struct.pack("<QQII", node, number, len(name), kind >> 12) + name
        return entry + bytes(-len(entry) % 8)


def _parent(path: str) -> str:
    return str(PurePath(path).parent)


def _header(request: bytes) -> tuple[int, int, int]:
    operation, unique, node = struct.unpack_from("<4xIQQ", request)
    return operation, unique, node


def kill(directory: Path) -> None:
    """End a mounted volume as the kernel does when the program behind it is killed: the mount stays, and is dead."""
    busy = os.open(directory, os.O_PATH)
    try:
        # It cuts the connection, and then finds somebody there.
        ctypes.CDLL(None).umount2(os.fsencode(directory), MNT_FORCE)
    finally:
        os.close(busy)


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
