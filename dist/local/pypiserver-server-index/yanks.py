"""Versions that their publishers have withdrawn (PEP 592): who pins one still gets it, nobody else does."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_version

from server.index.listing import Change
from server.index.names import version
from server.volume.content import SETTLED_NS, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry
    from server.volume.own_files import OwnFiles

DIRECTORY = "yanked"
"""The name of the hidden directory."""


class _Record(NamedTuple):
    stamp: Stamp
    reason: str


class Yanks:
    """One file a version: its name says that the version is withdrawn, its content why.

    So two pods never write the same file for two versions, and a file without its content still says the main thing.
    """

    def __init__(self, files: OwnFiles, stale: Callable[[Change], None]) -> None:
        """Keep records in `files`; `stale` is told what changes before the change is acknowledged."""
        self._files = files
        self._stale = stale
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}
        self._time: int | None = None

    def reason(self, entry: Entry) -> str | None:
        """Why a file is withdrawn, "" if nobody said, or None if it is not."""
        record = self._records.get(_name(entry.project, version(entry.name)))
        return record.reason if record else None

    def rescan(self) -> None:
        """Read every record that is new or has changed.

        Raises:
            OSError: The volume cannot be read; the last records stay.
        """
        with self._lock:
            self._rescan()

    def look(self) -> None:
        """Read the records if their directory has changed.

        Raises:
            OSError: The volume cannot be read.
        """
        if self._time is None or self._changed() != self._time:
            self.rescan()

    def withdraw(self, project: str, of: str, reason: str) -> None:
        """Withdraw a version; when this returns, that survives a loss of power, and every page shows it.

        Raises:
            OSError: The volume did not take it.
        """
        with self._lock:
            self._files.put(_name(project, of), reason.encode(), durable=True)
            self._reread(_name(project, of))

    def bring_back(self, project: str, of: str) -> None:
        """Undo `withdraw`; a version that is not withdrawn is not an error.

        Raises:
            OSError: The volume does not let the record go.
        """
        with self._lock:
            self._files.remove(_name(project, of))
            self._reread(_name(project, of))

    def _reread(self, name: str) -> None:
        """Take over one record, whose size and time may be those of the one it replaces."""
        before = _reason(self._records, name)
        if record := self._read(name):
            self._records[name] = record
        else:
            self._records.pop(name, None)
        if before != _reason(self._records, name):
            self._stale(Change(frozenset({_project(name)}), names=False))

    def _rescan(self) -> None:
        begun = time.time_ns()
        changed = self._changed()
        records = {}
        for name, stamp in self._found():
            record = self._records.get(name)
            if record is None or record.stamp != stamp:
                record = self._read(name)
            if record:
                records[name] = record
        self._replace(records)
        self._time = changed if begun - changed > SETTLED_NS else None

    def _read(self, name: str) -> _Record | None:
        path = self._files.path / name
        try:
            status = path.stat()
            return _Record(Stamp(status.st_size, status.st_mtime_ns), path.read_text("utf-8", "replace"))
        except FileNotFoundError:
            return None

    def _replace(self, records: dict[str, _Record]) -> None:
        before, self._records = self._records, records
        different = {name for name in {*before, *records} if _reason(before, name) != _reason(records, name)}
        if different:
            self._stale(Change(frozenset(_project(name) for name in different), names=False))

    def _changed(self) -> int:
        try:
            return self._files.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _found(self) -> list[tuple[str, Stamp]]:
        found = []
        try:
            paths = list(self._files.path.iterdir())
        except FileNotFoundError:
            return []
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if "@" in path.name:
                found.append((path.name, Stamp(status.st_size, status.st_mtime_ns)))
        return found


def is_same_version(first: str, second: str) -> bool:
    """Whether two spellings of a version mean the same (PEP 440)."""
    return canonicalize_version(first) == canonicalize_version(second)


def _name(project: str, of: str) -> str:
    # One name for all spellings of a version: 1.0 and 1.0.0 are the same (PEP 440).
    return f"{quote(project, safe='')}@{quote(canonicalize_version(of), safe='')}"


def _project(name: str) -> str:
    return unquote(name.partition("@")[0])


def _reason(records: dict[str, _Record], name: str) -> str | None:
    record = records.get(name)
    return record.reason if record else None
