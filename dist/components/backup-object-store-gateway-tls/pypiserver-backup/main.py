"""One run: `python -m backup.main backup`, `restore` or `drill`."""

from __future__ import annotations

import logging
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from backup.problems import RunError
from backup.settings import Settings
from backup.status import Outcome, tell
from backup.store import Store

TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads why a container ended (its default terminationMessagePath)."""
_log = logging.getLogger("run")


def main(kind: str) -> int:
    """Run, and tell how it ended: to the log, to the kubelet and to the server."""
    logging.basicConfig(level="INFO", format="[%(asctime)s] [%(levelname)s] [%(name)s] %(message)s", stream=sys.stdout)
    begun = time.time()
    # The first process of a container would not end by itself, and nobody would know why it did.
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = Settings.from_environment()
        store = Store(settings.backup_store, program=settings.backup_program, bandwidth=settings.backup_bandwidth)
        with store.listing() as there:
            # What a run is made of takes as long to import as the store takes to list what it has.
            from backup.runs import outcome_of, place_of  # noqa: PLC0415

            with place_of(settings) as place:
                outcome = outcome_of(kind, settings, place, store, there)
                # What was restored, who started it sees.
                if kind != "restore":
                    tell(place.notes, kind, outcome, begun)
    except RunError as error:
        outcome = Outcome(error.reason, str(error), {})
    (_log.error if outcome.reason else _log.info)("%s", outcome.text)
    with suppress(OSError), TERMINATION_LOG.open("r+") as file:
        file.write(f"{outcome.text}\n")
    return 1 if outcome.reason else 0


def _stop(*_: object) -> None:
    raise RunError("stopped", "the run was stopped: its time was over, or its pod had to go; the next one goes on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
