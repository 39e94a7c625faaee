"""What is wrong with the store, said to the log: once, and not at every look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_SECONDS = 300.0
"""After how long what has not changed is said once more."""


class Complaint:
    """Something that is wrong, or is not."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Have texts said by `say`."""
        self._say = say
        self._clock = clock
        self._said = 0.0
        self.reason: str | None = None
        """Why, in a word; None while nothing is wrong."""

    def make(self, reason: str, text: str) -> None:
        """Say what is wrong, unless the reason is that of the last time: texts have numbers of requests in them."""
        now = self._clock()
        if reason != self.reason or now - self._said >= AGAIN_SECONDS:
            self._say(text)
            self._said = now
        self.reason = reason

    def end(self) -> bool:
        """Take it back; whether there was one."""
        before, self.reason = self.reason, None
        return before is not None
