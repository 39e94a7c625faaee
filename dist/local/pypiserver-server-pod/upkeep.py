"""What became of the last backup and the last restore drill, which their Jobs write down on the volume."""

from __future__ import annotations

import json
import logging
import math
from typing import TYPE_CHECKING

from server.pod.samples import Sample
from server.volume.content import content
from server.volume.durable import make_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from server.pod.settings import Settings

DIRECTORY = ".pypiserver/backup"
"""Where they do, in the package directory; their pods may write nothing else on the volume."""
EXPECTED = "expected"
"""An empty file there, whose time says since when."""
_LARGEST = 2**16
_FIGURES = {
    "succeeded": ("last_success_timestamp_seconds", "When the last {} that succeeded ended."),
    "ran": ("last_run_timestamp_seconds", "When the last {} ended, however it did."),
    "seconds": ("duration_seconds", "How long that took."),
    "packages": ("packages", "Packages in the last {} that succeeded."),
    "files": ("files", "Files of the last {} that succeeded."),
    "bytes": ("bytes", "Bytes of the last {} that succeeded."),
}
_log = logging.getLogger("upkeep")


class Upkeep:
    """What is expected to be done to the volume, and when it was done."""

    def __init__(self, root: Path, expected: Mapping[str, float]) -> None:
        """Tell about the volume of `root`.

        Args:
            root: The package directory.
            expected: How many seconds ago each of backup and drill may be; 0 for what nobody does.
        """
        self._directory = root / DIRECTORY
        self._expected = {kind: seconds for kind, seconds in expected.items() if seconds}
        self._since = 0.0
        self._told: dict[str, dict[str, object]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Upkeep:
        """Tell what the settings expect, from now on."""
        expected = {"backup": settings.backup_max_age_seconds, "drill": settings.drill_max_age_seconds}
        upkeep = cls(settings.packages_directory, expected)
        upkeep.prepare(writes=settings.writes)
        return upkeep

    def prepare(self, *, writes: bool = True) -> None:
        """Make the directory that the Jobs write to, once somebody is to; a pod that only reads leaves it to others."""
        if not self._expected:
            return
        try:
            if writes:
                make_directory(self._directory)
            # Made once: a pod that starts again expects nothing later than the first one did.
            path = self._directory / EXPECTED
            if writes and not path.exists():
                path.touch()
            self._since = path.stat().st_mtime
        except OSError as error:
            _log.warning("nobody will know of backups: %s: %s", DIRECTORY, error.strerror)

    def look(self) -> None:
        """Read what the Jobs have told."""
        for kind in self._expected:
            try:
                found = json.loads(content(self._directory / f"{kind}.json", _LARGEST))
            except FileNotFoundError:
                continue
            except (OSError, RecursionError, ValueError) as error:
                _log.warning("what became of the last %s is not known: %s", kind, error)
                continue
            if isinstance(found, dict):
                self._told[kind] = found

    def gauges(self) -> Iterator[Sample]:
        """What is known, as it was read last."""
        for kind, seconds in self._expected.items():
            told = self._told.get(kind, {})
            for key, (name, text) in _FIGURES.items():
                value = told.get(key)
                if isinstance(value, int | float) and math.isfinite(value):
                    yield Sample(f"pypiserver_{kind}_{name}", text.format(kind), value)
            succeeded = told.get("succeeded")
            # Of one that never succeeded there is only when it was first expected.
            begun = succeeded if isinstance(succeeded, int | float) else self._since
            text = f"By when the next {kind} has to have succeeded."
            yield Sample(f"pypiserver_{kind}_due_timestamp_seconds", text, begun + seconds)
            if "reason" in told:
                reason = str(told["reason"])
                label = "".join(each for each in reason if each.isascii() and (each.isalnum() or each == "-"))
                text = f"1 if the last {kind} failed, and why."
                yield Sample(f"pypiserver_{kind}_failed", text, bool(reason), labels=f'{{reason="{label}"}}')
