"""Publishing where names cannot be linked or moved: a marker says that a file is not finished."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from server.volume.content import content
from server.volume.durable import (
    UNFINISHED,
    abandoned,
    blocks,
    make_directory,
    pass_if_not_writable,
    remove_file,
    sync,
    sync_directory,
    tolerating,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from server.publish.drafts import Draft, Facts
    from server.volume.content import Stamp

_COMPLETE = b"complete"
_log = logging.getLogger("markers")


class Direct:
    """Write under the final name, while a hidden marker of the same name says that the file is not finished.

    For volumes without hard links and without a rename that is one step, such as buckets mounted by GeeseFS (rename
    there copies and deletes: its README). Removing the marker may reach a bucket late, so a marker says "complete"
    first: what it then marks is kept, also if the mount dies before the marker is gone.
    """

    def __init__(self, root: Path) -> None:
        """Publish into `root`."""
        self.unsettled: set[str] = set()
        self._root = root
        self._directory = root / UNFINISHED
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._marked: frozenset[str] = frozenset()

    def draft(self) -> Draft:
        """See Publisher."""
        return _DirectDraft(self)

    def publish(self, name: str, body: Iterable[bytes]) -> Stamp:
        """Put a file into the package directory; see Draft."""
        final, marker = self._root / name, self._directory / name
        with self._alone(name):
            # Before the marker: one found at the start must never belong to a file that was published earlier.
            if _is_there(final):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            make_directory(self._directory)
            self._mark(marker)
            try:
                # Its own fsync brings a file's name into a bucket too. One of the root would wait for every other
                # upload: GeeseFS takes it for one of each file of the mount (SyncTree, core/goofys.go).
                stamp = _write(final, body)
                _complete(marker)
            except FileExistsError:
                # Another pod's: it is not ours to remove.
                marker.unlink()
                raise
            except BaseException:
                # A file that cannot be removed keeps its marker, and stays hidden.
                with suppress(OSError):
                    final.unlink(missing_ok=True)
                    marker.unlink()
                raise
            with suppress(OSError):
                marker.unlink()
            return stamp

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with self._lock:
            if name in self._names:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            self._names.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._names.discard(name)

    def _mark(self, marker: Path) -> None:
        descriptor = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(descriptor, b"unfinished")
            os.fsync(descriptor)
            sync_directory(self._directory)
        except OSError:
            with suppress(OSError):
                marker.unlink()
            raise
        finally:
            os.close(descriptor)

    def check(self) -> None:
        """See Publisher: it needs nothing but to write."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            pass_if_not_writable(error)

    def clean(self, abandoned_seconds: float) -> None:
        """See Publisher."""
        with tolerating(self._directory):
            for marker in abandoned(self._directory, abandoned_seconds):
                with tolerating(marker):
                    if not _is_complete(marker):
                        (self._root / marker.name).unlink(missing_ok=True)
                        sync_directory(self._root)
                        _log.info("removed the unfinished upload %s", marker.name)
                    marker.unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        """See Publisher."""
        remove_file(self._root / path)

    def unfinished(self) -> frozenset[str]:
        """See Publisher."""
        # Where the markers cannot be listed, those stay that were there: nobody else makes any.
        with suppress(OSError):
            self._marked = frozenset(marker.name for marker in abandoned(self._directory, 0) if _hides(marker))
        with self._lock:
            # A marker may say "complete", and the volume then refuse to make that durable.
            return self._marked | self._names


class _DirectDraft:
    """A file without a name in /tmp: a bucket gets it when it is whole, and the mount holds no file open for long."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `discard` closes it

    def write(self, block: bytes) -> None:
        """See Draft."""
        self._file.write(block)

    def content(self) -> BinaryIO:
        """See Draft."""
        self._file.seek(0)
        return self._file

    def publish(self, name: str, facts: Facts, *, again: bool = False) -> Stamp:
        """See Draft: nothing is seen of a file before it is durable, so that no attempt leaves one behind."""
        del facts, again
        return self._direct.publish(name, blocks(self._file))

    def discard(self) -> None:
        """See Draft."""
        with suppress(OSError):
            self._file.close()


def _is_there(path: Path) -> bool:
    """Whether there is anything; os.path.lexists takes an error of the mount for nothing.

    Raises:
        OSError: That cannot be told.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _write(path: Path, body: Iterable[bytes]) -> Stamp:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
        file.writelines(body)
        return sync(file)


def _complete(marker: Path) -> None:
    # Not created if it is missing: then another process took this upload for abandoned, and removed it.
    descriptor = os.open(marker, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, _COMPLETE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_complete(marker: Path) -> bool:
    """Whether the file of a marker is whole.

    Raises:
        OSError: The marker cannot be read, or is none.
    """
    try:
        return content(marker, 100) == _COMPLETE
    except FileNotFoundError:
        return True


def _hides(marker: Path) -> bool:
    try:
        return not _is_complete(marker)
    except OSError:
        # What it says is not known; a directory is no marker.
        return not marker.is_dir()
