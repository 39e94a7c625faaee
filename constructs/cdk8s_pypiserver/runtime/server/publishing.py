"""Putting a file onto the volume so that it is there whole and for good, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from links import Link
from markers import Direct

if TYPE_CHECKING:
    from pathlib import Path

    from digests import Upload
    from listing import Stamp

ABANDONED_SECONDS = 3600.0
"""After this time without a write, an unfinished file is nobody's any more."""


class Publisher(Protocol):
    """A way to put files onto the volume."""

    def publish(self, name: str, upload: Upload) -> Stamp:
        """Put a file into the package directory; when this returns, it survives a loss of power.

        Raises:
            FileExistsError: There is a file of this name.
            OSError: It cannot be written; nothing of it is left.
            RefusedError: Its digest is not the one announced; nothing of it is left.
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


def publisher(method: str, root: Path) -> Publisher:
    """The publisher for PUBLISH_METHOD."""
    return Direct(root) if method == "direct" else Link(root)
