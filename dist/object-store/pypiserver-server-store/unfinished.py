"""Uploads on their way into the store: an object each, which is there before the file is, and until it is acknowledged.

So a file that a server has left behind is told from one that somebody has put there by hand.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from server.store.problems import AbsentError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.index.listing import Listing
    from server.store.remote import Remote

DIRECTORY = ".pypiserver/unfinished"
ABANDONED_SECONDS = 3600.0
"""After this time nobody comes to publish the same file again."""
_LONGEST = 4096
_MOST = 20
"""How many digests of earlier attempts are kept."""
_log = logging.getLogger("unfinished")


class Upload(NamedTuple):
    """What is known of an upload."""

    sha256: tuple[str, ...]
    """Of the file, and of those that were begun before it under this name."""
    begun: float
    sizes: tuple[int, ...] = ()
    """Of the same, where the store may keep what it has got of one: not of what is there whole or not at all."""

    def has_left(self, size: int) -> bool:
        """Whether an object of this size, of which nothing was there when the first of them began, is what is left."""
        return size < max(self.sizes, default=0)


class Unfinished:
    """The uploads that were begun and of which nobody is known to have been told that they were stored."""

    def __init__(self, remote: Remote, listing: Listing) -> None:
        """Keep them in `remote`; whether one is stored all the same, `listing` says."""
        self._remote = remote
        self._listing = listing
        self._lock = threading.Lock()
        self._uploads: dict[str, Upload] = {}
        self._busy: set[str] = set()
        self._told: set[str] = set()
        self._acknowledged: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.doubtful: set[str] = set()
        """Names of files that are stored, and whose publisher may have been told nothing."""

    def __contains__(self, name: object) -> bool:
        """Whether what is in the store under a name is none of the registry's files yet, as far as it is not listed."""
        with self._lock:
            return name in self._uploads

    def is_busy(self, name: str) -> bool:
        """Whether an upload has this name alone, or what one has left of it is being removed."""
        with self._lock:
            return name in self._busy

    def load(self) -> None:
        """Learn what earlier servers have left.

        Raises:
            StoreError: The store does not say.
        """
        for name in self._learn():
            entry = self._listing.at(name)
            if entry and entry.digest in _digests(self._uploads[name]):
                self.doubtful.add(name)

    def look(self) -> None:
        """Learn what another server has begun since.

        Raises:
            StoreError: The store does not say.
        """
        self._learn()

    def _learn(self) -> list[str]:
        """Read the uploads that are not known yet; their names."""
        learned = []
        for name, found in self._remote.names(DIRECTORY).items():
            if name in self:
                continue
            try:
                record = json.loads(self._remote.read(f"{DIRECTORY}/{name}", _LONGEST))
                sizes = tuple(map(int, record.get("sizes", ())))
                upload = Upload(tuple(map(str, record["sha256"])), float(record["begun"]), sizes)
            except AbsentError:
                continue
            except (AttributeError, KeyError, TypeError, ValueError):
                upload = Upload((), found.changed)
            with self._lock:
                self._uploads.setdefault(name, upload)
            learned.append(name)
        return learned

    @contextmanager
    def of(self, name: str, sha256: str, size: int | None, others: Mapping[str, bytes]) -> Iterator[Upload]:
        """Say that an upload begins, which has the file's name alone until the context ends, and return earlier ones.

        What is small and comes before the file, `others`, is put at the same time. Of a `size` the store may keep a
        part, where it is no other's: then nothing was there before.

        Raises:
            StoreError: The store did not take it.
            OSError: The spool did not.
        """
        with self._lock:
            if name in self._busy:
                raise StoreError(f"{name} is not stored", "what an earlier upload has left of it is being removed")
            self._busy.add(name)
            before = self._uploads.get(name, Upload((), 0))
        try:
            sizes = () if size is None else (size,)
            upload = Upload((sha256, *before.sha256[:_MOST]), time.time(), (*sizes, *before.sizes[:_MOST]))
            self._remote.write_all({f"{DIRECTORY}/{name}": json.dumps(upload._asdict()).encode(), **others})
            with self._lock:
                self._uploads[name] = upload
            yield before
        finally:
            with self._lock:
                self._busy.discard(name)

    def end(self, name: str) -> None:
        """Have what says that an upload is unfinished removed, soon."""
        self._acknowledged.put(name)

    def start(self) -> None:
        """Begin to remove what `end` tells of, until the process ends."""
        threading.Thread(target=self._run, name="unfinished", daemon=True).start()

    def sweep(self) -> None:
        """Remove what was abandoned.

        Raises:
            StoreError: The store does not.
        """
        with self._lock:
            now = time.time()
            old = [name for name, upload in self._uploads.items() if now - upload.begun > ABANDONED_SECONDS]
        for name in old:
            with self._lock:
                if name in self._busy:
                    continue
                self._busy.add(name)
            try:
                if self._listing.at(name) is None and not self._is_clear(name, self._uploads[name]):
                    continue
                self._forget(name)
            finally:
                with self._lock:
                    self._busy.discard(name)

    def _is_clear(self, name: str, upload: Upload) -> bool:
        """Remove what an upload has left, if that is sure; whether what is there now, if anything, may be listed."""
        found = self._remote.find(name)
        if found is None:
            return True
        if upload.has_left(found.size):
            # Of half a file nobody knows the digest, and it could be another's.
            if name not in self._told:
                _log.warning(
                    "%s is shorter than what was begun to be published under this name, and is not listed: publish that"
                    " again, or remove it from the store",
                    name,
                )
            self._told.add(name)
            return False
        # Somebody may have put another file there by hand.
        with contextlib.suppress(AbsentError):
            if self._remote.digest(name).sha256 in upload.sha256:
                self._remote.remove(name)
                _log.info("removed the unfinished upload %s", name)
        return True

    def _forget(self, name: str) -> None:
        self._remote.remove(f"{DIRECTORY}/{name}")
        with self._lock:
            self._uploads.pop(name, None)
            self.doubtful.discard(name)

    def _run(self) -> None:
        while True:
            name = self._acknowledged.get()
            with self._lock:
                if name in self._busy:
                    # It is being published anew.
                    continue
            # What stays is swept up when it is old enough.
            with contextlib.suppress(StoreError):
                self._forget(name)


def _digests(upload: Upload) -> set[str]:
    return {f"sha256={each}" for each in upload.sha256}
