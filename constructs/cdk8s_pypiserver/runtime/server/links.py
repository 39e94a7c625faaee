"""Publishing on a file system: the file gets its name by link(2)."""

from __future__ import annotations

import errno
import logging
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from writing import (
    NOT_WRITABLE,
    UNFINISHED,
    UnsuitableVolumeError,
    abandoned,
    pass_if_not_writable,
    sync_directory,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

    from digests import Upload
    from listing import Stamp

_log = logging.getLogger("links")


class Link:
    """Write under a hidden name, then give it its name with link(2).

    link(2) fails if the name exists, for any number of pods on a shared file system.
    """

    def __init__(self, root: Path) -> None:
        """Publish into `root`."""
        self._root = root
        self._directory = root / UNFINISHED

    def publish(self, name: str, upload: Upload) -> Stamp:
        """See Publisher."""
        self._directory.mkdir(parents=True, exist_ok=True)
        hidden = self._directory / uuid.uuid4().hex
        try:
            stamp = write(hidden, upload)
            self._name(hidden, self._root / name)
        finally:
            with suppress(OSError):
                hidden.unlink()
        return stamp

    def _name(self, hidden: Path, final: Path) -> None:
        try:
            os.link(hidden, final)
        except FileExistsError:
            # NFS may repeat a request whose answer was lost; then it was this link (open(2), O_EXCL).
            if hidden.stat().st_nlink != 2:  # noqa: PLR2004 - the hidden name and the final one
                raise
        try:
            sync_directory(self._root)
        except OSError:
            with suppress(OSError):
                final.unlink()
            raise

    def check(self) -> None:
        """See Publisher."""
        first, second = (self._directory / uuid.uuid4().hex for _ in range(2))
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            first.touch()
        except OSError as error:
            pass_if_not_writable(error)
            return
        try:
            os.link(first, second)
        except OSError as error:
            if error.errno not in NOT_WRITABLE - {errno.EACCES}:
                raise UnsuitableVolumeError(
                    f"the package volume has no hard links ({error.strerror}): set PUBLISH_METHOD=direct"
                ) from error
        finally:
            for each in (first, second):
                with suppress(OSError):
                    each.unlink()

    def clean(self, abandoned_seconds: float) -> None:
        """See Publisher."""
        for path in abandoned(self._directory, abandoned_seconds):
            with suppress(FileNotFoundError):
                path.unlink()
            _log.info("removed the unfinished upload %s", path.name)

    def unfinished(self) -> frozenset[str]:
        """See Publisher: none has its name yet."""
        return frozenset()
