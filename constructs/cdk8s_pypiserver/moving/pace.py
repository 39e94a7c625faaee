"""How fast bytes may go."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from .problems import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """A limit that all threads share, and the place where each of them learns that the command is to end."""

    def __init__(
        self, stop: threading.Event, rate: int | None = None, seen: Callable[[int], None] | None = None
    ) -> None:
        """Let `rate` bytes a second pass, without a limit if it is None; `seen` is told of each."""
        self._stop = stop
        self._rate = rate
        self._seen = seen
        self._lock = threading.Lock()
        self._free_at = 0.0

    def passed(self, size: int) -> None:
        """Wait until so many bytes more may go.

        Raises:
            StoppedError: The command is to end.
        """
        if self._rate:
            with self._lock:
                now = time.monotonic()
                begins = max(self._free_at, now)
                self._free_at = begins + size / self._rate
            self.wait(begins - now)
        elif self._stop.is_set():
            raise StoppedError
        if self._seen:
            self._seen(size)

    def wait(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            StoppedError: The command is to end.
        """
        if self._stop.wait(max(0.0, seconds)):
            raise StoppedError
