"""What the pod that writes tells those that read: which files have changed, so that nobody lists a bucket for that."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from server.index.packed import Core

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry
    from server.volume.content import Stamp
    from server.volume.own_files import Files

DIRECTORY = "changes"
"""The name of the hidden directory."""
LATEST = "latest"
"""The one file in it, whose content is whole or not there, as every object of a bucket."""
KEPT = 1000
"""How many paths it names: a reader that missed more lists everything."""
LARGEST = 2**21
PAUSE_SECONDS = 1.0
"""How long the thread rests after it has written: changes in a row are told at once."""
_log = logging.getLogger("announcements")


class _Row(NamedTuple):
    path: str
    size: int
    digest: str | None
    core: Core | None


class Announcements:
    """Tells readers what this process has changed, by a thread of its own: no client waits for it.

    A process that ends before it has told leaves that to the next one, which begins by telling that it is another.
    """

    def __init__(self, files: Files) -> None:
        """Tell in `files`."""
        self._files = files
        self._process = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._last = 0
        self._rows: deque[tuple[str, int, str | None, Core | None]] = deque(maxlen=KEPT)
        self._wanted = threading.Event()

    def tell(self, path: str, entry: Entry | None = None) -> None:
        """Have readers look at a path, relative to the package directory, and know of its file what its entry knows."""
        row = (path, entry.stamp.size, entry.digest, entry.core) if entry else (path, 0, None, None)
        with self._lock:
            self._last += 1
            self._rows.append(row)
        self._wanted.set()

    def start(self) -> None:
        """Begin to tell, until the process ends; first that whatever was told before may not have been all."""
        self._wanted.set()
        threading.Thread(target=self._run, name="announcements", daemon=True).start()

    def write(self) -> None:
        """Tell now.

        Raises:
            OSError: The volume does not take it.
        """
        with self._lock:
            text = json.dumps({"process": self._process, "last": self._last, "rows": list(self._rows)})
        self._files.put(LATEST, text.encode(), durable=True)

    def _run(self) -> None:
        failing = False
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                self.write()
            except OSError as error:
                self._wanted.set()
                if not failing:
                    _log.warning("readers cannot be told what has changed: %s", error.strerror or error)
                failing = True
            else:
                failing = False
            time.sleep(PAUSE_SECONDS)


class Announced:
    """What a reader has been told lately.

    A mount may go on showing what is old for a while, so each path is named again until that is over.
    """

    def __init__(self, files: Files, settle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Read in `files`; a mount shows nothing that is older than `settle_seconds`."""
        self.settle_seconds = settle_seconds
        self._files = files
        self._clock = clock
        self._process: str | None = None
        self._last = 0
        self._due: dict[str, float] = {}
        self._rows: dict[str, _Row] = {}
        self.turned = False
        """Whether the last look was the first or the last one that named a path."""

    def facts(self, path: str, stamp: Stamp) -> tuple[str | None, Core | None]:
        """Digest and inside of the file at a path that was named, if it has this size: nobody has to read it."""
        row = self._rows.get(path)
        return (row.digest, row.core) if row and row.size == stamp.size else (None, None)

    def look(self) -> frozenset[str] | None:
        """The paths that have changed lately, or None if anything may have.

        Raises:
            OSError: The volume cannot be read.
        """
        now = self._clock()
        before = len(self._due)
        self._due = {path: until for path, until in self._due.items() if until > now}
        self._rows = {path: row for path, row in self._rows.items() if path in self._due}
        self.turned = len(self._due) < before
        told = self._told()
        process, last, rows = told or (self._process or "", self._last, ())
        missed = last - self._last
        known, self._process, self._last = self._process, process, last
        if process != known or not 0 <= missed <= len(rows):
            self._due.clear()
            return None
        if missed:
            new = {row.path: row for row in rows[-missed:]}
            self._rows |= new
            self._due |= dict.fromkeys(new, now + self.settle_seconds)
            self.turned = True
        return frozenset(self._due)

    def _told(self) -> tuple[str, int, tuple[_Row, ...]] | None:
        try:
            found = json.loads(self._files.content(LATEST, LARGEST))
        except (FileNotFoundError, ValueError):
            # Nobody has told anything; or a mount shows one half from before.
            return None
        return _record(found)


def _record(found: object) -> tuple[str, int, tuple[_Row, ...]] | None:
    match found:
        case {"process": str(process), "last": int(last), "rows": list(rows)}:
            read = [row for row in map(_row, rows) if row]
            return (process, last, tuple(read)) if len(read) == len(rows) else None
    return None


def _row(found: object) -> _Row | None:
    match found:
        case [str(path), int(size), (str() | None) as digest, None]:
            return _Row(path, size, digest, None)
        case [str(path), int(size), (str() | None) as digest, [(str() | None) as metadata, (str() | None) as requires]]:
            return _Row(path, size, digest, Core(metadata, requires))
    return None
