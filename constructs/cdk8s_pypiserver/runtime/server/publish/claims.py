"""Who publishes a file under which name: of several that mean the same file one, also if two pods are at it at once.

link(2) keeps two pods from one name; it knows nothing of `Demo-1.0.zip` and `demo-1.0.0.zip`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from server.http.errors import AwayError
from server.index.identity import identity, record_name
from server.volume.durable import abandoned, make_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORY = "claims"
"""The name of the hidden directory."""
PATIENCE_SECONDS = 10.0
"""How long one who wants a name waits for somebody else who is publishing it: that takes as long as a volume takes to
sync."""
UNFINISHED_SECONDS = 60.0
"""How long a claim counts that was not finished, where files cannot be locked."""
ABANDONED_SECONDS = 2.0
"""How long one counts whose pod is gone: by then every pod lists the file, if it was published."""
_POLL_SECONDS = 0.05
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
        self._identities: set[str] = set()
        self._free = threading.Condition()
        self._cleaned = float("-inf")

    @contextmanager
    def of(self, filename: str) -> Iterator[None]:
        """Keep everybody else from publishing this file under any name, until the context ends.

        Whoever comes second waits: that there is such a file is said only when there is.

        Raises:
            FileExistsError: Somebody has published it; it names the file.
            AwayError: Somebody has been publishing it for too long.
            OSError: The volume does not take the claim.
        """
        claimed, end = identity(filename), time.monotonic() + PATIENCE_SECONDS
        with self._free:
            if not self._free.wait_for(lambda: claimed not in self._identities, PATIENCE_SECONDS):
                raise _busy(filename)
            self._identities.add(claimed)
        try:
            if self._shared:
                with self._on_volume(filename, end):
                    yield
            else:
                yield
        finally:
            with self._free:
                self._identities.discard(claimed)
                self._free.notify_all()

    @contextmanager
    def _on_volume(self, filename: str, end: float) -> Iterator[None]:
        self._clean()
        path = self._directory / record_name(filename)
        make_directory(self._directory)
        while (file := _created(path)) is None:
            self._end(path)
            if time.monotonic() > end:
                raise _busy(filename)
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

    def _end(self, path: Path) -> None:
        """Remove a claim that is none any more, or wait a little for whoever has it.

        Raises:
            FileExistsError: He has published the file.
        """
        with suppress(FileNotFoundError), path.open("r+b") as claim:
            name = claim.read().decode("utf-8", "replace")
            if name and os.path.lexists(self._root / name):
                raise exists(name)
            counts = 0.0 if name else ABANDONED_SECONDS
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                counts = float("inf")
            except OSError:
                # This file system has no locks.
                counts = 0.0 if name else UNFINISHED_SECONDS
            status = os.fstat(claim.fileno())
            # Another pod may have done the same, and claimed it anew. A clock may have gone back.
            if abs(time.time() - status.st_mtime) >= counts and os.path.samestat(status, path.stat()):
                path.unlink()
                return
        time.sleep(_POLL_SECONDS)

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


def _busy(name: str) -> AwayError:
    return AwayError(errno.EAGAIN, f"Somebody else is publishing {name} just now; try again")


def _created(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
