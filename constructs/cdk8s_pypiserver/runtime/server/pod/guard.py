"""Whether this pod may change the package volume: it is the volume, it answers, and nobody else writes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.pod.start import writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.pod.settings import Settings


class Guard:
    """What is asked before a change, and before it is acknowledged."""

    def __init__(self, settings: Settings, verify: Callable[[], None], problem: Callable[[], str | None]) -> None:
        """Ask `verify` whether it is the volume, and `problem` why it cannot be used."""
        self._verify = verify
        self._problem = problem
        self._writer = writer(settings)
        self._writes = settings.writes

    def start(self) -> None:
        """Begin to look whether another pod has become the writer."""
        if self._writer:
            self._writer.look()
            self._writer.start()

    def verify(self) -> None:
        """Make sure that a change is one to the volume, by the pod that may change it.

        Raises:
            OSError: It is not.
        """
        self._verify()
        if self._writer:
            self._writer.verify()

    def problem(self) -> str | None:
        """Why nothing can be changed, or None if it can; asking never waits for the volume."""
        return self._problem() or (self._writer.problem() if self._writer else None)

    def writes(self) -> bool:
        """Whether this pod is the one that changes the volume, or one of several that may."""
        return self._writes and (not self._writer or self._writer.is_known())
