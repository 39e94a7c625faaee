"""What a file is until it is published, and what publishes it; each method of publishing has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from server.volume.content import Stamp


class Draft(Protocol):
    """A file that is being uploaded, and that nobody lists yet."""

    def write(self, block: bytes, /) -> None:
        """Take the next bytes.

        Raises:
            OSError: They cannot be kept.
        """

    def content(self) -> BinaryIO:
        """All that was written, to be read from its start; nothing may be written after."""

    def publish(self, name: str, *, again: bool = False) -> Stamp:
        """Put the file into the package directory; when this returns, it survives a loss of power.

        Args:
            name: Its name there.
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

    def unfinished(self) -> frozenset[str]:
        """The names in the package directory that must not be listed."""
