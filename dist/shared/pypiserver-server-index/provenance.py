"""Where files come from (PEP 740): the attestations that were published with them, kept beside them on the volume."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from server.index.listing import Change
from server.index.names import name_and_version, normalised
from server.volume.content import SETTLED_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.volume.own_files import Files

DIRECTORY = "provenance"
"""The name of the hidden directory."""
LARGEST = 2**20
"""How many bytes an object may have that somebody has written there."""
SUFFIX = ".provenance"
"""What the address of a file's provenance object ends in."""


class Provenance:
    """One file a package, of the package's name: its provenance object, as it is served."""

    def __init__(self, files: Files, stale: Callable[[Change], None]) -> None:
        """Keep objects in `files`; `stale` is told what changes."""
        self._files = files
        self._stale = stale
        self._lock = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._time: int | None = None

    def __contains__(self, filename: object) -> bool:
        """Whether there is one of a file of this name."""
        return filename in self._names

    def read(self, filename: str) -> bytes | None:
        """The object of a file, None if there is none.

        Raises:
            OSError: The volume cannot be read.
        """
        if filename not in self._names:
            return None
        try:
            return self._files.content(filename, LARGEST)
        except FileNotFoundError:
            return None

    def keep(self, filename: str, provenance: bytes | None) -> None:
        """Keep the object of a file that is about to be published; none removes what an earlier file has left.

        When this returns, it survives a loss of power.

        Raises:
            OSError: The volume did not take it.
        """
        with self._lock:
            if provenance is not None:
                self._files.put(filename, provenance, durable=True)
                self._names |= {filename}
            elif filename in self._names:
                self._files.remove(filename)
                self._names -= {filename}

    def rescan(self) -> None:
        """See which objects there are.

        Raises:
            OSError: The volume cannot be read; what was seen last stays.
        """
        with self._lock:
            begun = time.time_ns()
            changed = self._files.changed()
            names = self._files.names()
            different, self._names = names ^ self._names, names
            self._time = changed if begun - changed > SETTLED_NS else None
        if different:
            self._stale(Change(frozenset(map(_project, different)), names=False))

    def look(self) -> None:
        """See which objects there are, if their directory has changed.

        Raises:
            OSError: The volume cannot be read.
        """
        if self._time is None or self._files.changed() != self._time:
            self.rescan()


def _project(filename: str) -> str:
    return normalised((name_and_version(filename) or (filename, ""))[0])
