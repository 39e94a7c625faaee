"""Whose password is checked next: a flood of wrong ones gets a share of the work, and keeps nobody else out."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.http.errors import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 2
"""How many passwords are checked at the same time, each of a user of its own; a bcrypt hash takes a core for long."""
EACH = 4
"""How many requests of one user may be checked or wait."""
ALL = 16
"""How many requests in all: the server's other threads stay free."""


@dataclass
class _Line:
    """The requests of one user."""

    waiting: int = 0
    first: threading.Lock = field(default_factory=threading.Lock)


class Turns:
    """Lets each user have one password checked at a time, and turns away who would wait for long.

    Whoever tries one name in vain hinders that name alone; names that nobody has are one user together. (So a flood
    shows whether a name exists. That is no secret here, as a password is.)
    """

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._running = threading.Semaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def of(self, user: str) -> Iterator[None]:
        """Wait for a user's turn, which lasts as long as the context.

        Raises:
            HTTPError: 503, too many wait already.
        """
        with self._lock:
            line = self._lines.setdefault(user, _Line())
            if line.waiting >= EACH or sum(each.waiting for each in self._lines.values()) >= ALL:
                raise unavailable("Too many passwords are being checked")
            line.waiting += 1
        try:
            with line.first, self._running:
                yield
        finally:
            with self._lock:
                line.waiting -= 1
                if not line.waiting:
                    del self._lines[user]
