"""How many requests may be at work on the volume."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from server.http.errors import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

RESERVED = 4
"""How many threads are kept free for the requests that need no volume: health, readiness, authentication."""
PATIENCE_SECONDS = 2.0
"""How long a request waits for a slot while the volume is well: a burst, as of clients after a start, is soon over."""


class Slots:
    """The bottle plugin that answers 503 to a request for the volume when all but a few threads are at work on it.

    A volume that hangs keeps the threads that wait for it; the others must go on. Uploads, which keep a thread for as
    long as their client takes to send them, have slots of their own.
    """

    api = 2  # of bottle's plugins: `apply` gets the route

    def __init__(self, threads: int, uploads: int, problem: Callable[[], str | None]) -> None:
        """Share out `threads`, of which RESERVED are kept free, and those of `uploads`.

        Nobody waits while there is a `problem`.
        """
        self._free = threading.BoundedSemaphore(threads - RESERVED)
        self._uploads = threading.BoundedSemaphore(uploads)
        self._problem = problem

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:  # noqa: ANN401 - bottle's interface
        """Count the requests of a route (bottle's interface for plugins)."""
        if route.rule == "/health":
            return callback
        free = self._uploads if route.method == "POST" else self._free

        @functools.wraps(callback)
        def counted(*args: str, **fields: str) -> object:
            if not free.acquire(timeout=0 if self._problem() else PATIENCE_SECONDS):
                raise unavailable("Too many requests are waiting for the package volume")
            with ExitStack() as slot:
                slot.callback(free.release)
                answer = callback(*args, **fields)
                if isinstance(body := getattr(answer, "body", None), Iterator):
                    # It is read from the volume after this has returned.
                    answer.body = _sent(body, slot.pop_all())
                return answer

        return counted


def _sent(body: Iterator[bytes], slot: ExitStack) -> Iterator[bytes]:
    """Give the slot back when all is sent, or nobody wants it any more."""
    with slot:
        yield from body
