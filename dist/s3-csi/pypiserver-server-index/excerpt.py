"""What of the listing one client may see: made for one view, and kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.index.listing import Entry, Listing


class Excerpt:
    """The projects that are readable, and their files; it is written as a whole listing is."""

    def __init__(self, listing: Listing, readable: Callable[[str], bool]) -> None:
        """Show of `listing` what is in projects whose normalised names are `readable`."""
        self._listing = listing
        self._readable = readable

    def project_lines(self, _form: str, line: Callable[[str], str], separator: str) -> str:
        """The lines of the projects, sorted by their normalised names."""
        return separator.join(map(line, sorted({entry.project for entry in self._entries()})))

    def file_lines(self, _form: str, line: Callable[[Entry], str], separator: str) -> str:
        """The lines of the files, sorted by their paths."""
        return separator.join(map(line, sorted(self._entries(), key=lambda entry: entry.path)))

    def files(self) -> int:
        """How many files there are."""
        return sum(1 for _ in self._entries())

    def _entries(self) -> Iterator[Entry]:
        return (entry for entry in self._listing if self._readable(entry.project))
