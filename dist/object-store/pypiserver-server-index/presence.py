"""Which projects have files here, as far as anybody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.http.errors import unavailable
from server.index.names import name_and_version, normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Listing
    from server.volume.problems import Problems

UNKNOWN = "Nobody has looked yet which projects there are"
"""Why no name is new just after a start."""


class Presence:
    """Tells new names from those that have files, also files that cannot be read."""

    def __init__(
        self,
        listing: Listing,
        problems: Problems,
        problem: Callable[[], str | None],
        unread: Callable[[], frozenset[str] | None] = frozenset,
    ) -> None:
        """Go by `listing`, unless there is a `problem`; `problems` are those of single entries of the volume.

        `unread` tells the projects of files that are not listed yet, None if nobody has looked for any.
        """
        self._listing = listing
        self._problems = problems
        self._problem = problem
        self._unread = unread

    def unknown(self) -> str | None:
        """Why nobody can tell which names have files, None if that is known."""
        if problem := self._problem():
            return problem
        directory = self._problems.unlisted()
        return f"{directory} on the package volume cannot be listed" if directory else None

    def left_out(self) -> set[str]:
        """The projects of files that are there and cannot be read, or are still to be."""
        guesses = (name_and_version(path.rpartition("/")[2]) for path in self._problems.paths())
        return {normalised(guess[0]) for guess in guesses if guess} | (self._unread() or frozenset())

    def is_new(self, project: str) -> bool:
        """Whether a project of this normalised name has no file.

        Raises:
            HTTPError: 503, since nobody can tell.
        """
        if self._listing.of_project(project):
            return False
        if problem := self.unknown():
            raise unavailable(problem)
        if self._unread() is None:
            raise unavailable(UNKNOWN)
        return project not in self.left_out()
