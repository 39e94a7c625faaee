"""Tells the gateway that the volume is away: it opens packages in its workers, and one that waits answers nobody."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "volume-away"
"""The file's name in the directory that the pod's containers share; what is in it is sent to clients."""
PAUSE_SECONDS = 0.5
"""How long the thread rests between two looks at what is known of the volume."""
_log = logging.getLogger("notice")


class Notice:
    """The file that is there while the volume is away."""

    def __init__(self, directory: Path, problem: Callable[[], str | None] = lambda: None) -> None:
        """Keep it in `directory`; `problem` says why the volume is away, or None if it is not."""
        self._path = directory / FILE
        self._problem = problem

    def start(self) -> None:
        """Begin to look, until the process ends; nothing here touches the volume."""
        threading.Thread(target=self._run, name="notice", daemon=True).start()

    def look(self) -> None:
        """Look once.

        Raises:
            OSError: The file cannot be written or removed.
        """
        text = self._problem()
        if text is None:
            self._path.unlink(missing_ok=True)
        elif not self._path.exists():
            self.put(text)

    def put(self, text: str) -> None:
        """Say that the volume is away, and why.

        Raises:
            OSError: The file cannot be written.
        """
        # In one step: the gateway may send it at any time.
        new = self._path.with_suffix(".new")
        new.write_text(f"{text}\n")
        new.rename(self._path)

    def _run(self) -> None:
        failing = False
        while True:
            try:
                self.look()
            except OSError as error:
                if not failing:
                    _log.warning("the gateway cannot be told about the package volume: %s", error)
                failing = True
            else:
                failing = False
            time.sleep(PAUSE_SECONDS)
