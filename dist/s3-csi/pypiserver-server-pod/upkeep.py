"""What became of the last backup, restore drill and run of retention.

The first two are noted by their Jobs, where the server reads it. The last one knows the server as any client does, and
sends it a form.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from typing import TYPE_CHECKING, TypeGuard

from server.http.errors import RefusedError
from server.pod.notes import DIRECTORY
from server.pod.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.pod.notes import Notes
    from server.pod.settings import Settings

RETENTION = "retention"
_LONGEST_TEXT = 2000
_REASON = re.compile(r"[a-z-]{0,40}")
_FIGURES = {
    "succeeded": ("last_success_timestamp_seconds", "When the last {} that succeeded ended."),
    "ran": ("last_run_timestamp_seconds", "When the last {} ended, however it did."),
    "seconds": ("duration_seconds", "How long that took."),
    "dry_run": ("dry_run", "1 if the last {} only told what it would do."),
    "versions": ("versions", "Versions that the last {} took, or would have taken."),
    "packages": ("packages", "Packages in the last {} that succeeded."),
    "files": ("files", "Files of the last {} that succeeded."),
    "bytes": ("bytes", "Bytes of the last {} that succeeded."),
}
_log = logging.getLogger("upkeep")


class Upkeep:
    """What is expected to be done beside requests, and when it was done."""

    def __init__(self, notes: Notes, expected: Mapping[str, float]) -> None:
        """Tell what `notes` have.

        Args:
            notes: Where the Jobs note how they ended.
            expected: How many seconds ago each of backup, drill and retention may be; 0 for what nobody does.
        """
        self._notes = notes
        self._expected = {kind: seconds for kind, seconds in expected.items() if seconds}
        self._since = 0.0
        self._writes = True
        self._told: dict[str, dict[str, object]] = {}

    @classmethod
    def of(cls, settings: Settings, notes: Notes) -> Upkeep:
        """Tell what the settings expect, from now on."""
        expected = {
            "backup": settings.backup_max_age_seconds,
            "drill": settings.drill_max_age_seconds,
            RETENTION: settings.retention_max_age_seconds,
        }
        upkeep = cls(notes, expected)
        upkeep.prepare(writes=settings.writes)
        return upkeep

    def prepare(self, *, writes: bool = True) -> None:
        """Note since when something is expected, once anything is; a pod that only reads leaves it to others."""
        self._writes = writes
        if not self._expected:
            return
        try:
            # Made once: a pod that starts again expects nothing later than the first one did.
            self._since = self._notes.since(writes=writes)
        except OSError as error:
            _log.warning("nobody will know of backups: %s: %s", DIRECTORY, error.strerror)

    def look(self) -> None:
        """Read what the Jobs have told."""
        if not self._since:
            # Of a pod that started before the one that notes it, or while the store was away.
            self.prepare(writes=self._writes)
        for kind in self._expected:
            try:
                found = json.loads(self._notes.read(f"{kind}.json"))
            except FileNotFoundError:
                continue
            except (OSError, RecursionError, ValueError) as error:
                _log.warning("what became of the last %s is not known: %s", kind, error)
                continue
            if isinstance(found, dict):
                self._told[kind] = found

    def report(self, kind: str, text: str) -> None:
        """Note what a Job says of its own end, in JSON: `reason`, `text`, and figures.

        Raises:
            OSError: It cannot be noted.
            RefusedError: It is none, or of a kind that says so elsewhere.
        """
        if kind != RETENTION:
            raise RefusedError(f"There are no reports of {kind!r}")
        told = self._told.get(kind, {}) | _reported(text)
        told["ran"] = time.time()
        if not told["reason"]:
            told["succeeded"] = told["ran"]
        self._notes.write(f"{kind}.json", json.dumps(told).encode())
        self._told[kind] = told

    def gauges(self) -> Iterator[Sample]:
        """What is known, as it was read last."""
        for kind, seconds in self._expected.items():
            told = self._told.get(kind, {})
            for key, (name, text) in _FIGURES.items():
                value = told.get(key)
                if _is_figure(value):
                    yield Sample(f"pypiserver_{kind}_{name}", text.format(kind), value)
            succeeded = told.get("succeeded")
            # Of one that never succeeded there is only when it was first expected.
            begun = succeeded if _is_figure(succeeded) else self._since
            # A dry run needs nobody who may tell of it, and then nobody waits for that.
            if told or kind != RETENTION:
                text = f"By when the next {kind} has to have succeeded."
                yield Sample(f"pypiserver_{kind}_due_timestamp_seconds", text, begun + seconds)
            if "reason" in told:
                reason = str(told["reason"])
                label = "".join(each for each in reason if each.isascii() and (each.isalnum() or each == "-"))
                text = f"1 if the last {kind} failed, and why."
                yield Sample(f"pypiserver_{kind}_failed", text, bool(reason), labels=f'{{reason="{label}"}}')


def _reported(text: str) -> dict[str, object]:
    """What a report says, as far as it is known.

    Raises:
        RefusedError: It is none.
    """
    try:
        found = json.loads(text)
        reason = found["reason"]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise RefusedError("The field report must be a mapping in JSON with a reason") from error
    if not isinstance(reason, str) or not re.fullmatch(_REASON, reason):
        raise RefusedError(f"The reason of a report must be a word of small letters: {reason!r}")
    figures = {key: found[key] for key in _FIGURES if _is_figure(found.get(key)) and key != "succeeded"}
    return {**figures, "reason": reason, "text": str(found.get("text", ""))[:_LONGEST_TEXT]}


def _is_figure(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that a figure can have; those of JSON have no bounds."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
