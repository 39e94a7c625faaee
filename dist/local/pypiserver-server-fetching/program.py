"""What the programs that fetch have in common: how they begin, and how they end."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from pathlib import Path
from typing import NoReturn

TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads why a container ended (its default terminationMessagePath)."""


def begin(log_level: str) -> None:
    """Log what is at least as severe as `log_level`, and end when the kubelet says so."""
    level = log_level.upper()
    logging.basicConfig(level=level, format="[%(asctime)s] [%(levelname)s] [%(name)s] %(message)s")
    # The first process of a container is told to end in vain if it does not say what then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def end(reason: str) -> NoReturn:
    """Say why the program cannot start, to the log and to the kubelet, and end the process with 1."""
    print(reason, file=sys.stderr)  # noqa: T201 - whoever reads the log of a container that does not start
    with contextlib.suppress(OSError), TERMINATION_LOG.open("r+") as file:
        file.write(f"{reason}\n")
    sys.exit(1)
