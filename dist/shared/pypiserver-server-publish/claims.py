"""Who publishes a file under which name: of several that mean the same file one, also if two pods are at it at once.

link(2) keeps two pods from one name; it knows nothing of `Demo-1.0.zip` and `demo-1.0.0.zip`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from server.index.identity import identity
from server.volume.durable import abandoned, make_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORY = "claims"
"""The name of the hidden directory."""
UNFINISHED_SECONDS = 60.0
"""How long a claim counts that was not finished, where files cannot be locked."""
KEPT_SECONDS = 3600.0
"""How long a claim is kept: long enough for every pod to have listed the file, and then of no use."""


class Claims:
    """One small file an identity: empty while the file is being published, then with its name in it.

    A claim whose file is gone is none. It needs not to be durable: a pod that starts lists what there is.
    """

    def __init__(self, root: Path, *, shared: bool) -> None:
        """Claim names in the package directory `root`, which other pods publish to if it is `shared`."""
        self._root = root
        self._directory = root / ".pypiserver" / DIRECTORY
        self._shared = shared
        self._lock = threading.Lock()
        self._identities: set[str] = set()
        self._cleaned = float("-inf")

    @contextmanager
    def of(self, filename: str) -> Iterator[None]:
        """Keep everybody else from publishing this file under any name, until the context ends.

        Raises:
            FileExistsError: Somebody has published it, or is about to; it names the file if it is known.
            OSError: The volume does not take the claim.
        """
        claimed = identity(filename)
        with self._lock:
            if claimed in self._identities:
                raise exists(filename)
            self._identities.add(claimed)
        try:
            if self._shared:
                with self._on_volume(claimed, filename):
                    yield
            else:
                yield
        finally:
            with self._lock:
                self._identities.discard(claimed)

    @contextmanager
    def _on_volume(self, claimed: str, filename: str) -> Iterator[None]:
        self._clean()
        # Its own name could be too long for one.
        path = self._directory / hashlib.sha256(claimed.encode()).hexdigest()
        make_directory(self._directory)
        while (file := _created(path)) is None:
            self._end(path, filename)
        with os.fdopen(file, "wb") as claim:
            with suppress(OSError):
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                yield
            except BaseException:
                with suppress(OSError):
                    path.unlink()
                raise
            with suppress(OSError):
                claim.write(filename.encode())
                claim.flush()

    def _end(self, path: Path, filename: str) -> None:
        """Remove a claim that is none any more."""
        with suppress(FileNotFoundError), path.open("r+b") as claim:
            name = claim.read().decode("utf-8", "replace")
            if name and os.path.lexists(self._root / name):
                raise exists(name)
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise exists(filename) from None
            except OSError:
                # This file system has no locks.
                pass
            status = os.fstat(claim.fileno())
            if not name and time.time() - status.st_mtime < UNFINISHED_SECONDS:
                raise exists(filename)
            # Another pod may have done the same, and claimed it anew.
            if os.path.samestat(status, path.stat()):
                path.unlink()

    def _clean(self) -> None:
        if time.monotonic() - self._cleaned < KEPT_SECONDS:
            return
        self._cleaned = time.monotonic()
        with suppress(OSError):
            for path in abandoned(self._directory, KEPT_SECONDS):
                with suppress(OSError):
                    path.unlink()


def exists(name: str) -> FileExistsError:
    """The error of a file that is there already."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _created(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
