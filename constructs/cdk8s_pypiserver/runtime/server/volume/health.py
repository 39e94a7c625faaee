"""Whether the package volume answers, and is still there; asking never waits for it."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks at the volume."""
_log = logging.getLogger("volume")


class Volume:
    """The volume as one thread of its own sees it: a volume that hangs stops that thread and no request.

    A mount whose driver has died fails (ENOTCONN), one whose server is away hangs, and where nothing is mounted there
    is an empty directory.
    """

    def __init__(
        self, root: Path, verify: Callable[[], None], limit: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Look at `root`, and `verify` that it is the volume, which may take `limit` seconds."""
        self._root = root
        self._verify = verify
        self._limit = limit
        self._clock = clock
        self._begun: float | None = None
        self._failure: str | None = None

    def start(self) -> None:
        """Begin to look, every second, until the process ends."""
        threading.Thread(target=self._run, name="volume", daemon=True).start()

    def look(self) -> None:
        """Look once, and remember what came of it."""
        self._begun = self._clock()
        failure = None
        try:
            self._root.stat()
            with os.scandir(self._root) as found:
                next(found, None)
            self._verify()
        except OSError as error:
            failure = f"The package volume fails: {error.strerror or error}"
        if failure != self._failure:
            _log.warning("%s", failure or "The package volume is back")
        self._failure = failure
        self._begun = None

    def problem(self) -> str | None:
        """Why the volume cannot be read, or None if it can."""
        begun = self._begun
        if begun is not None and self._clock() - begun > self._limit:
            return f"The package volume has not answered for {self._clock() - begun:.0f} s"
        return self._failure

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(PAUSE_SECONDS)
