"""What a file is until it is published, and what publishes it; each method of publishing has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from server.index.packed import Core
    from server.volume.content import Stamp


class Facts(NamedTuple):
    """What is known of a file that came whole."""

    digest: str
    """As a link to the file carries it."""
    core: Core
    metadata: bytes | None
    """METADATA, of a wheel that shows it."""


class Draft(Protocol):
    """A file that is being uploaded, and that nobody lists yet."""

    def write(self, block: bytes, /) -> None:
        """Take the next bytes.

        Raises:
            OSError: They cannot be kept.
        """

    def content(self) -> BinaryIO:
        """All that was written, to be read from its start; nothing may be written after."""

    def publish(self, name: str, facts: Facts, *, again: bool = False) -> Stamp:
        """Put the file into the package directory; when this returns, it survives a loss of power.

        Args:
            name: Its name there.
            facts: What is known of it.
            again: Whether an earlier attempt ended with UnsettledError: then the same content may be there.

        Raises:
            FileExistsError: There is a file of this name.
            UnsettledError: It is there, and may be gone after a loss of power.
            OSError: It cannot be written; nothing of it is left under this name.
        """

    def discard(self) -> None:
        """Remove what there is of it, but for what was published; to be called in any case."""


class Publisher(Protocol):
    """A way to put files onto the volume."""

    unsettled: set[str]
    """Names of files that are there, though whoever has published them was told that they may not be."""

    def draft(self) -> Draft:
        """Begin a file.

        Raises:
            OSError: There is no room to begin it.
        """

    def check(self) -> None:
        """Try the volume out; one that is full or read-only passes, because reads work.

        Raises:
            UnsuitableVolumeError: Publishing can never work.
        """

    def clean(self, abandoned_seconds: float) -> None:
        """Remove what was left unfinished, and has not been touched for this many seconds."""

    def remove(self, path: str) -> None:
        """Remove a published file for good; one that is gone already is not an error.

        Args:
            path: Relative to the package directory.

        Raises:
            UnsettledError: It is gone, and may be back after a loss of power.
            OSError: It is still there.
        """

    def unfinished(self) -> frozenset[str]:
        """The names in the package directory that must not be listed."""
