"""Versions that their publishers have withdrawn (PEP 592): who pins one still gets it, nobody else does."""

from __future__ import annotations

import functools
import logging
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from packaging.utils import canonicalize_version

from server.http.errors import RefusedError
from server.http.upstream import HTTPError, normalised, request, version
from server.index.listing import Change, Stamp
from server.volume.watch import SETTLED_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry, Listing
    from server.volume.own_files import Hidden

DIRECTORY = "yanked"
"""The name of the hidden directory."""
LONGEST_REASON = 1000
_log = logging.getLogger("yanks")


class _Record(NamedTuple):
    stamp: Stamp
    reason: str


class Yanks:
    """One file a version: its name says that the version is withdrawn, its content why.

    So two pods never write the same file for two versions, and a file without its content still says the main thing.
    """

    api = 2  # of bottle's plugins: `apply` gets the route

    def __init__(self, hidden: Hidden, listing: Listing, stale: Callable[[Change], None]) -> None:
        """Keep records in `hidden`; `stale` is told what changes before the change is acknowledged."""
        self._hidden = hidden
        self._listing = listing
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

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:  # noqa: ANN401 - bottle's interface
        """Add the actions `yank` and `unyank` to the route that writes (bottle's interface for plugins)."""
        if (route.method, route.rule) != ("POST", "/"):
            return callback

        @functools.wraps(callback)
        def extended() -> object:
            action = request.forms.get(":action")
            if action not in {"yank", "unyank"}:
                return callback()
            self._record(action)
            return ""

        return extended

    def _record(self, action: str) -> None:
        name, asked, reason = (request.forms.getunicode(field, "").strip() for field in ("name", "version", "reason"))
        project, reason = normalised(name), " ".join(reason.split())
        if not project or not asked:
            raise RefusedError("The form needs the fields name and version")
        if len(reason) > LONGEST_REASON:
            raise RefusedError(f"The reason may have {LONGEST_REASON} characters")
        name = _name(project, asked)
        if not any(_name(project, version(entry.name)) == name for entry in self._listing.of_project(project)):
            raise HTTPError(HTTPStatus.NOT_FOUND, f"{project} {asked} is not here")
        with self._lock:
            if action == "yank":
                self._hidden.put(name, reason.encode(), durable=True)
            else:
                self._hidden.remove(name)
            # Its size and time may be those of the one it replaces.
            self._rescan(forget=name)
        user = (request.auth or ("anonymous",))[0]
        _log.info("%r: %s %s %s: %r", user, action, project, asked, reason)

    def _rescan(self, forget: str = "") -> None:
        begun = time.time_ns()
        changed = self._changed()
        before = self._records
        known = {name: record for name, record in before.items() if name != forget}
        records = {}
        for name, stamp in self._found():
            record = known.get(name)
            if record is None or record.stamp != stamp:
                try:
                    record = _Record(stamp, (self._hidden.path / name).read_text("utf-8", "replace"))
                except FileNotFoundError:
                    continue
            records[name] = record
        self._records = records
        self._time = changed if begun - changed > SETTLED_NS else None
        different = {name for name in {*before, *records} if _reason(before, name) != _reason(records, name)}
        if different:
            self._stale(Change(frozenset(_project(name) for name in different), names=False))

    def _changed(self) -> int:
        try:
            return self._hidden.path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _found(self) -> list[tuple[str, Stamp]]:
        found = []
        try:
            paths = list(self._hidden.path.iterdir())
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


def _name(project: str, of: str) -> str:
    # One name for all spellings of a version: 1.0 and 1.0.0 are the same (PEP 440).
    return f"{quote(project, safe='')}@{quote(canonicalize_version(of), safe='')}"


def _project(name: str) -> str:
    return unquote(name.partition("@")[0])


def _reason(records: dict[str, _Record], name: str) -> str | None:
    record = records.get(name)
    return record.reason if record else None
