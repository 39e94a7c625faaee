"""What the catalogue says, in memory: the listing, and the records beside it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING

from server.index.listing import Change
from server.index.packed import Core
from server.store.rows import File, Gone, Record
from server.volume.content import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from server.index.listing import Entry, Listing
    from server.store.rows import Line

_log = logging.getLogger("holdings")


class _Changes:
    """What many lines make stale, to be told at once."""

    def __init__(self) -> None:
        self.projects: set[str] = set()
        self.names = False
        self.other: list[str] = []
        """The paths of files whose copies are not of what is listed any more."""

    def add(self, change: Change) -> None:
        self.projects |= change.projects
        self.names |= change.names


class Holdings:
    """Keeps the listing, and the files that are kept of it, like the catalogue; any thread may ask and tell."""

    def __init__(self, root: Path, listing: Listing, stale: Callable[[Change], None]) -> None:
        """Keep `listing`, whose files are kept in `root`; `stale` is told what changes."""
        self._root = root
        self._listing = listing
        self._stale = stale
        self._lock = threading.Lock()
        self._records: dict[str, dict[str, str]] = {}
        self._changes: dict[str, int] = {}

    def seen(self, path: str) -> int | None:
        """When the store got a file, None if no listing has told yet."""
        entry = self._listing.at(path)
        return entry.seen if entry else None

    def saw(self, path: str, seen: int) -> None:
        """Remember when the store got a file; the next snapshot has it."""
        if entry := self._listing.at(path):
            entry.seen = seen

    def records(self, directory: str) -> dict[str, str]:
        """The records of a directory, by name."""
        with self._lock:
            return dict(self._records.get(directory, {}))

    def record(self, directory: str, name: str) -> str | None:
        """What a record says, None if there is none."""
        return self._records.get(directory, {}).get(name)

    def changes(self, directory: str) -> int:
        """How often the records of a directory have changed."""
        return self._changes.get(directory, 0)

    def apply(self, lines: Iterable[Line]) -> None:
        """Take over changes, in their order; what was taken over before changes nothing."""
        changes = _Changes()
        try:
            for line in lines:
                self._take(line, changes)
        finally:
            self._tell(changes)

    def replace(self, lines: Iterable[Line]) -> None:
        """Take over a whole catalogue: what is not in it is gone.

        Raises:
            IncompleteError: It has no end; then nothing is gone.
        """
        changes = _Changes()
        paths: set[str] = set()
        names: dict[str, set[str]] = {}
        try:
            for line in lines:
                if isinstance(line, File):
                    paths.add(line.path)
                elif isinstance(line, Record):
                    names.setdefault(line.directory, set()).add(line.name)
                self._take(line, changes)
            for entry in self._listing:
                if entry.path not in paths:
                    self._drop(entry.path, changes)
        finally:
            self._tell(changes)
        for directory in list(self._records):
            for name in self.records(directory).keys() - names.get(directory, set()):
                self._keep(Record(directory, name, None))

    def lines(self) -> Iterator[Line]:
        """All there is at the time of the call, as a catalogue; it may be read later."""
        with self._lock:
            entries = list(self._listing)
            records = [
                Record(directory, name, content)
                for directory, found in self._records.items()
                for name, content in found.items()
            ]

        def made() -> Iterator[Line]:
            for entry in entries:
                yield line_of(entry)
            yield from records

        return made()

    def tidy(self) -> None:
        """Remove the kept files that are not what is listed: a cache may be older than the bucket.

        Raises:
            OSError: It cannot be listed.
        """
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            with os.scandir(self._root / directory) as found:
                for each in found:
                    path = f"{directory}/{each.name}" if directory else each.name
                    if each.name.startswith("."):
                        continue
                    if each.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    else:
                        status = each.stat(follow_symlinks=False)
                        self._forget(path, Stamp(status.st_size, int(status.st_mtime)))

    def _take(self, line: Line, changes: _Changes) -> None:
        if isinstance(line, File):
            self._list(line, changes)
        elif isinstance(line, Gone):
            self._drop(line.path, changes)
        else:
            self._keep(line)

    def _tell(self, changes: _Changes) -> None:
        if changes.projects:
            self._stale(Change(frozenset(changes.projects), changes.names))
        for path in changes.other:
            self._unlink(path)

    def _list(self, line: File, changes: _Changes) -> None:
        directory, _, name = line.path.rpartition("/")
        stamp = Stamp(line.size, line.changed * 10**9)
        core = Core(line.metadata, line.requires_python)
        digest = f"sha256={line.sha256}"
        before = self._listing.at(line.path)
        if before and before.digest != digest:
            changes.other.append(line.path)
        # A snapshot names all files anew, and the pages of those that are as they were are not stale.
        if not before or (before.stamp, before.digest, before.core) != (stamp, digest, core):
            changes.add(self._listing.add(directory, name, stamp, digest, core))
        if line.seen is not None:
            self.saw(line.path, line.seen)

    def _drop(self, path: str, changes: _Changes) -> None:
        changes.add(self._listing.remove(path))
        changes.other.append(path)

    def _keep(self, line: Record) -> None:
        with self._lock:
            records = self._records.setdefault(line.directory, {})
            if records.get(line.name) == line.content:
                return
            if line.content is None:
                del records[line.name]
            else:
                records[line.name] = line.content
            self._changes[line.directory] = self._changes.get(line.directory, 0) + 1

    def _forget(self, path: str, found: Stamp) -> None:
        """Remove a kept file that is not the listed one."""
        stamp = self._listing.stamp(path)
        if stamp is None or (stamp.size, stamp.mtime_ns // 10**9) != found:
            _log.info("%s is not what is listed, and is not kept", path)
            self._unlink(path)

    def _unlink(self, path: str) -> None:
        with contextlib.suppress(OSError):
            (self._root / path).unlink()


def line_of(entry: Entry) -> File:
    """The line of a listed file."""
    stamp, core = entry.stamp, entry.core or Core(None, None)
    return File(
        path=entry.path,
        size=stamp.size,
        changed=stamp.mtime_ns // 10**9,
        sha256=(entry.digest or "").partition("=")[2],
        metadata=core.metadata,
        requires_python=core.requires_python,
        seen=entry.seen,
    )
