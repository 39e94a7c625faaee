"""What became of the last run, in a small file that the server shows to whoever watches it."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LONGEST_TEXT = 2000
_log = logging.getLogger("status")


class Outcome(NamedTuple):
    """How a run ended."""

    reason: str
    """Why it failed, in one word; "" if it did not."""
    text: str
    """The same for people."""
    figures: Mapping[str, float]
    """Numbers of what was done."""


class Notes(Protocol):
    """Where the server reads how runs ended."""

    def read(self, name: str) -> bytes:
        """What is noted under a name.

        Raises:
            OSError: It cannot be read, or nothing is.
        """

    def write(self, name: str, text: bytes) -> None:
        """Note it, in one step, as somebody reads it.

        Raises:
            OSError: It cannot be.
        """


class DirectoryNotes:
    """Those of a package volume; the server reads them as server.pod.notes.VolumeNotes."""

    def __init__(self, directory: Path) -> None:
        """Write to a directory, which is there."""
        self._directory = directory

    def read(self, name: str) -> bytes:
        """See Notes."""
        return (self._directory / name).read_bytes()

    def write(self, name: str, text: bytes) -> None:
        """See Notes."""
        path = self._directory / name
        new = path.with_suffix(".new")
        new.write_bytes(text)
        new.replace(path)


def tell(notes: Notes, kind: str, outcome: Outcome, begun: float) -> None:
    """Write down how a run ended; of one that failed the figures are those of the last that did not.

    Args:
        notes: Where to; under the name `<kind>.json`.
        kind: What ran: backup or drill.
        outcome: How it ended.
        begun: When it began, in seconds since 1970.
    """
    name = f"{kind}.json"
    told: dict[str, object] = {}
    with suppress(OSError, ValueError):
        found = json.loads(notes.read(name))
        told = found if isinstance(found, dict) else {}
    ended = time.time()
    told |= {"ran": ended, "seconds": ended - begun, "reason": outcome.reason, "text": outcome.text[:_LONGEST_TEXT]}
    if not outcome.reason:
        told |= {"succeeded": ended, **outcome.figures}
    try:
        notes.write(name, json.dumps(told).encode())
    except OSError as error:
        _log.warning("the server will not know how this ended: %s: %s", name, error.strerror)
