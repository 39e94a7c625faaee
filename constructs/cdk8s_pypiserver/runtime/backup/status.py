"""What became of the last run, in a small file on the volume that the server shows to whoever watches it."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

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


def tell(directory: Path, kind: str, outcome: Outcome, begun: float) -> None:
    """Write down how a run ended; of one that failed the figures are those of the last that did not.

    Args:
        directory: Where the file is, called `<kind>.json`.
        kind: What ran: backup or drill.
        outcome: How it ended.
        begun: When it began, in seconds since 1970.
    """
    path = directory / f"{kind}.json"
    told: dict[str, object] = {}
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text("utf-8"))
        told = found if isinstance(found, dict) else {}
    ended = time.time()
    told |= {"ran": ended, "seconds": ended - begun, "reason": outcome.reason, "text": outcome.text[:_LONGEST_TEXT]}
    if not outcome.reason:
        told |= {"succeeded": ended, **outcome.figures}
    try:
        # In one step, as somebody reads it.
        new = path.with_suffix(".new")
        new.write_text(json.dumps(told), "utf-8")
        new.replace(path)
    except OSError as error:
        _log.warning("the server will not know how this ended: %s: %s", path, error.strerror)
