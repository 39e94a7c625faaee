"""What the server keeps its packages in: what the rest of it asks of that, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from server.http.routes import Route
    from server.index.listing import Entry
    from server.index.metadata import Insides
    from server.index.watch import OwnRecords
    from server.pod.notes import Notes
    from server.pod.samples import Sample
    from server.publish.drafts import Publisher
    from server.volume.own_files import Files


class Watching(Protocol):
    """What keeps the listing like what is kept."""

    def rescan(self) -> None:
        """List everything.

        Raises:
            OSError: It cannot be listed.
        """

    def start(self) -> None:
        """Begin to watch, until the process ends."""

    def problem(self) -> str | None:
        """Why the listing may not be all there is, None if it is."""


class Backing(NamedTuple):
    """The parts that know where packages are kept."""

    publisher: Publisher
    files: Callable[[str], Files]
    """The server's own files, by the name of their directory."""
    problem: Callable[[], str | None]
    """Why packages cannot be read."""
    unready: Callable[[], str | None]
    """Why nobody should come to this pod."""
    closed: Callable[[], str | None]
    """Why nothing can be published or removed."""
    verify: Callable[[], None]
    """Raises an OSError if what is changed is not what is kept, or another pod's to change."""
    writes: Callable[[], bool]
    """Whether this pod may publish."""
    insides: Insides
    recall: Callable[[Entry], None]
    """Tells an entry what was found out before."""
    remember: Callable[[str], None]
    """Has what is known of a project's files kept."""
    unread: Callable[[], frozenset[str] | None]
    """The projects of files that are there and not listed yet; None if that is not known."""
    tell: Callable[[str, Entry | None], None]
    """Has pods that only read look at a path that this one has changed, and know what its entry knows."""
    watching: Callable[[Iterable[OwnRecords]], Watching]
    """What watches, and the records of the server's own with it."""
    notes: Notes
    """What Jobs tell of their runs."""
    samples: Callable[[], Iterator[Sample]]
    """What is counted besides."""
    routes: tuple[Route, ...]
    """What is answered besides."""
    start: Callable[[], None]
    """Begins what goes on beside requests, until the process ends."""
