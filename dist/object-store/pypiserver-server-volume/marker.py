"""Whether it is the same volume: a file on it bears an identity, so that no empty directory is taken for it.

Where a volume is not mounted there is a directory all the same, which can be listed and looks like a registry whose
packages are all gone.
"""

from __future__ import annotations

import errno
import logging
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from server.volume.content import content, from_disk
from server.volume.durable import UNFINISHED, create_file, make_directory, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".pypiserver/volume"
_LONGEST = 100
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_log = logging.getLogger("marker")


class WrongVolumeError(OSError):
    """Something else is in the place of the volume; `strerror` says what."""


class Marker:
    """The file that tells one volume from another and from none."""

    def __init__(self, root: Path, seen: Path, *, expected: str = "", in_place: bool, makes: bool = True) -> None:
        """Be about the volume that is mounted at `root`.

        Args:
            root: The package directory.
            seen: Where the pod remembers the volume, as a container that starts anew knows nothing.
            expected: The identity that it must have; any will do if this is empty.
            in_place: Whether the file is written under its own name, as in a bucket.
            makes: Whether a volume without an identity is given one; else it has to have one.
        """
        self._makes = makes
        self._root = root
        self._path = root / FILE
        self._seen = seen
        self._expected = expected.encode()
        self._in_place = in_place
        self._identity = b""

    def check(self) -> None:
        """Compare the volume with the one that is expected, or that the pod has seen.

        Raises:
            WrongVolumeError: It is not that one.
            OSError: The file cannot be read.
        """
        known = self._expected
        with suppress(OSError):
            known = known or content(self._seen, _LONGEST)
        if known:
            self._compare(known)
        elif not self._makes and self._read() is None:
            raise WrongVolumeError(errno.ENODEV, f"No writer has begun with it: it has no {FILE}")

    def adopt(self) -> None:
        """Learn which volume it is, and give an identity to one that has none: a new one, or an earlier version's.

        Only a writer does; without an identity there is nothing to read yet.

        Raises:
            OSError: See `check`.
        """
        self.check()
        try:
            self._identity = self._read() or self._make()
        except OSError as error:
            _log.warning("an empty directory would be taken for the package volume: %s: %s", FILE, error.strerror)
            return
        try:
            # In one step: with half of an identity no container would start again.
            new = self._seen.with_suffix(".new")
            new.write_bytes(self._identity)
            new.rename(self._seen)
        except OSError as error:
            _log.warning("which volume it is cannot be remembered: %s", error)

    def verify(self) -> None:
        """Make sure that it is still the volume of the start.

        Raises:
            WrongVolumeError: It is not.
        """
        if not self._identity:
            return
        try:
            self._compare(self._identity)
        except WrongVolumeError:
            raise
        except OSError:
            # One file that cannot be read does not say that the volume is another.
            return

    def _compare(self, known: bytes) -> None:
        found = self._read()
        if found is None:
            raise WrongVolumeError(errno.ENODEV, f"It is not there: what is in its place has no {FILE}")
        if found != known:
            raise WrongVolumeError(errno.ENODEV, f"Another is in its place: its {FILE} is not {known.decode()}")

    def _read(self) -> bytes | None:
        try:
            return from_disk(self._path, _LONGEST).strip()
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    def _make(self) -> bytes:
        if not self._makes:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        identity = f"{uuid.uuid4()}\n".encode()
        make_directory(self._path.parent)
        # Another pod may be first.
        with suppress(FileExistsError):
            if self._in_place:
                create_file(self._path, identity)
            else:
                self._link(identity)
        return content(self._path, _LONGEST).strip()

    def _link(self, identity: bytes) -> None:
        temporary = self._root / UNFINISHED / uuid.uuid4().hex
        make_directory(temporary.parent)
        try:
            create_file(temporary, identity)
            os.link(temporary, self._path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        for directory in (self._path.parent, self._root):
            sync_directory(directory)
