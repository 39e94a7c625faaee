"""One pod at a time on a volume for one: a lock that a pod holds from its start until it begins to end."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".pypiserver/in-use"
_POLL_SECONDS = 0.2
_TAKEN = {errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN}
_log = logging.getLogger("lock")


class VolumeInUseError(RuntimeError):
    """Another pod uses the volume; the text says what to do about it."""


class VolumeLock:
    """The lock of a volume, which ends with the process at the latest.

    It tells pods of one node apart, and of several where the file system knows locks of the network. Where it knows
    none at all the volume is taken to be this pod's.
    """

    def __init__(self, root: Path) -> None:
        """Be about the volume that is mounted at `root`."""
        self._path = root / FILE
        self._descriptor: int | None = None

    def acquire(self, wait_seconds: float) -> None:
        """Take the lock, waiting for whoever has it.

        Raises:
            VolumeInUseError: The other one has kept it for all of the time.
        """
        try:
            self._path.parent.mkdir(exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # A volume that cannot be written to is read by any number of pods.
            _log.warning("no lock: %s: %s", self._path, error.strerror)
            return
        end = time.monotonic() + wait_seconds
        while not self._taken(descriptor):
            if time.monotonic() > end:
                os.close(descriptor)
                raise VolumeInUseError(
                    f"another pod has used the package volume for {wait_seconds:g} s, and this storage is for one"
                    " pod (WRITERS=one): set the replicas to 1, or use storage that several pods can write to"
                )
            time.sleep(_POLL_SECONDS)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up, also for processes that were forked since it was taken."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def release_when(self, stopping: Path) -> None:
        """Give the lock up as soon as a file is there, so that the next pod need not wait until this one has ended."""

        def wait() -> None:
            while not stopping.exists():
                time.sleep(_POLL_SECONDS)
            self.release()

        threading.Thread(target=wait, name="lock", daemon=True).start()

    @staticmethod
    def _taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            _log.warning("no lock: %s", error.strerror)
        return True
