"""How many requests may be at work on the volume."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from server.http.errors import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

RESERVED = 4
"""How many threads are kept free for the requests that need no volume: health, readiness, authentication."""
PATIENCE_SECONDS = 2.0
"""How long a request waits while the volume is well: a burst, as of clients after a start, is soon over."""


class Needs(Enum):
    """What a request cannot be answered without."""

    NOTHING = auto()
    VOLUME = auto()
    """The package volume, for as long as the answer takes."""
    UPLOAD = auto()
    """The volume, for as long as a client takes to send a file."""


class Limits:
    """Answers 503 to a request for the volume when all but a few threads are at work on it.

    A volume that hangs keeps the threads that wait for it; the others must go on. Uploads, which keep a thread for as
    long as their client takes to send them, are counted by themselves.
    """

    def __init__(self, threads: int, uploads: int, problem: Callable[[], str | None]) -> None:
        """Share out `threads`, of which RESERVED are kept free, and those of `uploads`.

        Nobody waits while there is a `problem`.
        """
        self._free = {
            Needs.VOLUME: threading.BoundedSemaphore(threads - RESERVED),
            Needs.UPLOAD: threading.BoundedSemaphore(uploads),
        }
        self._problem = problem

    def limited(self, handler: Callable[..., Any], needs: Needs) -> Callable[..., Any]:
        """Return what answers as `handler` does, if not too many are at work already."""
        free = self._free.get(needs)
        if free is None:
            return handler

        @functools.wraps(handler)
        def counted(*args: str, **fields: str) -> object:
            if not free.acquire(timeout=0 if self._problem() else PATIENCE_SECONDS):
                raise unavailable("Too many requests are waiting for the package volume")
            with ExitStack() as place:
                place.callback(free.release)
                answer = handler(*args, **fields)
                if isinstance(body := getattr(answer, "body", None), Iterator):
                    # It is read from the volume after this has returned.
                    answer.body = _sent(body, place.pop_all())
                return answer

        return counted


def _sent(body: Iterator[bytes], place: ExitStack) -> Iterator[bytes]:
    """Let another request begin when all is sent, or nobody wants it any more."""
    with place:
        yield from body
