"""What Jobs tell the server of their runs: small files in a place of their own, which nobody lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from server.volume.content import content
from server.volume.durable import make_directory
from server.volume.own_files import OwnFiles

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = ".pypiserver/backup"
"""Where they are, in the package directory or in the store; on a volume the pods of backups may write nothing else."""
EXPECTED = "expected"
"""An empty file there, whose time says since when any are expected."""
LARGEST = 2**16


class Notes(Protocol):
    """The files, wherever they are."""

    def read(self, name: str) -> bytes:
        """All that one of them has in it.

        Raises:
            FileNotFoundError: There is none.
            OSError: It cannot be read.
        """

    def write(self, name: str, text: bytes) -> None:
        """Put one there, in the place of an earlier one.

        Raises:
            OSError: It was not taken.
        """

    def since(self, *, writes: bool) -> float:
        """Since when any are expected, in seconds since 1970: once that has been said, by who `writes`, it stays so.

        Raises:
            OSError: Nobody has said so, or it cannot be read.
        """


class VolumeNotes:
    """Those of a package volume."""

    def __init__(self, root: Path, *, in_place: bool = False, writes: bool = True) -> None:
        """Be about the volume that is mounted at `root`; see server.volume.own_files.OwnFiles."""
        self._directory = root / DIRECTORY
        self._files = OwnFiles(root, self._directory.name, in_place=in_place, writes=writes)

    def read(self, name: str) -> bytes:
        """See Notes."""
        return content(self._directory / name, LARGEST)

    def write(self, name: str, text: bytes) -> None:
        """See Notes."""
        self._files.put(name, text, durable=False)

    def since(self, *, writes: bool) -> float:
        """See Notes: the directory is made too, which is mounted in the Jobs' pods."""
        path = self._directory / EXPECTED
        if writes:
            make_directory(self._directory)
            if not path.exists():
                path.touch()
        return path.stat().st_mtime
