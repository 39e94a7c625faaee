"""Names that are the registry's own though no file of theirs is listed, lest another index supply one.

They had a file here, whose last is gone; or another pod has just published the first.
"""

from __future__ import annotations

import errno
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.index.listing import Change, Listing
    from server.volume.own_files import Files

DIRECTORY = "reserved"
"""The name of the hidden directory."""
_log = logging.getLogger("reserved")


class Reserved:
    """One empty file a name."""

    def __init__(self, files: Files, listing: Listing, *, shared: bool, writes: bool = True) -> None:
        """Keep the names in `files`, when no file of theirs is in `listing` any more.

        If they are `shared`, other pods reserve names too, or go by them. One that never `writes` keeps its own in
        memory: who takes the last file away reserves its name first.
        """
        self._writes = writes
        self._files = files
        self._shared = shared
        self._listing = listing
        self._lock = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._unwritten: set[str] = set()

    def __contains__(self, name: object) -> bool:
        """Whether this pod knows that a normalised name is reserved."""
        return name in self._names or name in self._unwritten

    def is_by_another(self, name: str) -> bool:
        """Whether another pod has reserved a normalised name.

        Raises:
            OSError: The volume cannot tell.
        """
        if not self._shared:
            return False
        try:
            return self._files.has(name)
        except OSError as error:
            # No file has such a name, and so no project.
            if error.errno == errno.ENAMETOOLONG:
                return False
            raise

    def begin(self, name: str) -> None:
        """Reserve a name whose first file is about to be published, if there are pods that do not know of it yet.

        Raises:
            OSError: The volume did not take it.
        """
        if self._shared and not self._listing.of_project(name):
            self.reserve(name)

    def reserve(self, name: str) -> None:
        """Reserve a name; when this returns, that survives a loss of power.

        Raises:
            OSError: The volume did not take it; it counts for this process.
        """
        with self._lock:
            self._unwritten.add(name)
            self._write()

    def notice(self, change: Change) -> None:
        """Reserve what is gone, by whatever hand."""
        gone = {name for name in change.projects if change.names and not self._listing.of_project(name)}
        # Not under the lock: whoever tells may be waited for by what writes names down.
        self._unwritten.update(gone)

    def rescan(self) -> None:
        """Read the names, and write those that could not be written.

        Raises:
            OSError: The volume cannot be read; the last names stay.
        """
        with self._lock:
            self._names = self._files.names()
            self._write()

    def look(self) -> None:
        """Write those that could not be written; and read the names, if nobody looks them up one by one."""
        if not self._shared:
            self.rescan()
            return
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._writes:
            return
        for name in list(self._unwritten):
            if name not in self._names:
                self._files.put(name, b"", durable=True)
                _log.info("%s is this registry's own from now on", name)
            self._names |= {name}
            self._unwritten.discard(name)
