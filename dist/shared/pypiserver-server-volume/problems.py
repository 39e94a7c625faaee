"""What on the volume cannot be read: each such entry costs itself, one line of the log and a place in a figure."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENTS = "contents"
"""The place of files that are listed and whose content cannot be read; other places are directories."""
MOST_LINES = 20
"""How many lines of the log one look at a place may add: a directory may be full of entries that cannot be read."""
_log = logging.getLogger("problems")


class Problems:
    """The entries that cannot be read now, by the place where they were met; may be used by any thread."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._places: dict[str, dict[str, str]] = {}

    def of(self, place: str) -> Mapping[str, str]:
        """What could not be read the last time, and why."""
        with self._lock:
            return dict(self._places.get(place, {}))

    def replace(self, place: str, found: Mapping[str, str]) -> None:
        """Take over what a look at a place found; what was there before is not told again."""
        with self._lock:
            before = self._places.pop(place, {})
            if found:
                self._places[place] = dict(found)
        new = [path for path in found if path not in before]
        for path in new[:MOST_LINES]:
            # Names may have bytes that are not text, and line breaks.
            _log.warning("%a on the package volume is left out: %s", path, found[path])
        if len(new) > MOST_LINES:
            _log.warning("%d others in %a are left out", len(new) - MOST_LINES, place)

    def add(self, place: str, path: str, why: str) -> None:
        """Tell of one entry."""
        self.replace(place, {**self.of(place), path: why})

    def remove(self, place: str, path: str) -> None:
        """Tell that an entry can be read."""
        found = dict(self.of(place))
        if found.pop(path, None) is not None:
            self.replace(place, found)

    def keep(self, places: set[str]) -> None:
        """Forget the directories that are not there any more; `places` are those that are."""
        with self._lock:
            self._places = {place: found for place, found in self._places.items() if place in places}

    def paths(self) -> tuple[str, ...]:
        """The paths of all of them."""
        with self._lock:
            return tuple(path for found in self._places.values() for path in found)

    def unlisted(self) -> str | None:
        """A directory that cannot be listed, so that nobody knows what is in it; None if there is none."""
        with self._lock:
            return next((place for place, found in self._places.items() if place in found), None)

    def count(self) -> int:
        """How many there are."""
        with self._lock:
            return sum(map(len, self._places.values()))


def why(error: OSError) -> str:
    """The reason of an error, without the path that it is about."""
    return error.strerror or str(error)
