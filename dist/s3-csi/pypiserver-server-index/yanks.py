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
from server.volume.problems import Problems, why

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry
    from server.volume.own_files import Files

DIRECTORY = "yanked"
"""The name of the hidden directory."""
LARGEST = 2**16
"""How many bytes a reason may have that somebody has written there."""


class _Record(NamedTuple):
    stamp: Stamp
    reason: str


class Yanks:
    """One file a version: its name says that the version is withdrawn, its content why.

    So two pods never write the same file for two versions, and a file without its content still says the main thing.
    """

    def __init__(self, files: Files, stale: Callable[[Change], None], problems: Problems | None = None) -> None:
        """Keep records in `files`; `stale` is told what changes before the change is acknowledged.

        `problems` is told of records that cannot be read.
        """
        self._files = files
        self._problems = problems or Problems()
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
        if self._time is None or self._files.changed() != self._time:
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
        changed = self._files.changed()
        problems: dict[str, str] = {}
        found = {name: self._found(name, problems) for name in self._files.names() if "@" in name}
        self._replace({name: record for name, record in found.items() if record})
        self._problems.replace(f".pypiserver/{DIRECTORY}", problems)
        self._time = changed if begun - changed > SETTLED_NS else None

    def _found(self, name: str, problems: dict[str, str]) -> _Record | None:
        """The record of a name that is listed; one that cannot be read still says that a version is withdrawn."""
        known = self._records.get(name)
        try:
            if known and known.stamp == self._files.stamp(name):
                return known
            return self._read(name)
        except OSError as error:
            problems[f".pypiserver/{DIRECTORY}/{name}"] = why(error)
            return None if isinstance(error, IsADirectoryError) else known or _Record(Stamp(-1, -1), "")

    def _read(self, name: str) -> _Record | None:
        try:
            stamp = self._files.stamp(name)
            text = self._files.content(name, LARGEST).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        return _Record(stamp, text)

    def _replace(self, records: dict[str, _Record]) -> None:
        before, self._records = self._records, records
        different = {name for name in {*before, *records} if _reason(before, name) != _reason(records, name)}
        if different:
            self._stale(Change(frozenset(_project(name) for name in different), names=False))


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
