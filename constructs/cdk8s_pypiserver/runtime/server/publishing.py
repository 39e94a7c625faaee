"""Putting a file onto the volume so that it is there whole and for good, or not at all.

Unfinished files are in `.pypiserver/unfinished` on the volume: pypiserver, like this server, lists no dot names.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from digests import CHUNK, Upload
from listing import Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNFINISHED = ".pypiserver/unfinished"
ABANDONED_SECONDS = 3600.0
"""After this time without a write, an unfinished file is nobody's any more."""
_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT})
_COMPLETE = b"complete"
_log = logging.getLogger("publishing")


class UnsuitableVolumeError(RuntimeError):
    """The volume cannot do what the method of publishing needs."""


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
            stamp = _write(hidden, upload)
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
            _pass_if_not_writable(error)
            return
        try:
            os.link(first, second)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE - {errno.EACCES}:
                raise UnsuitableVolumeError(
                    f"the package volume has no hard links ({error.strerror}): set PUBLISH_METHOD=direct"
                ) from error
        finally:
            for each in (first, second):
                with suppress(OSError):
                    each.unlink()

    def clean(self, abandoned_seconds: float) -> None:
        """See Publisher."""
        for path in _abandoned(self._directory, abandoned_seconds):
            with suppress(FileNotFoundError):
                path.unlink()
            _log.info("removed the unfinished upload %s", path.name)

    def unfinished(self) -> frozenset[str]:
        """See Publisher: none has its name yet."""
        return frozenset()


class Direct:
    """Write under the final name, while a hidden marker of the same name says that the file is not finished.

    For volumes without hard links and without a rename that is one step, such as buckets mounted by GeeseFS (rename
    there copies and deletes: its README). Removing the marker may reach a bucket late, so a marker says "complete"
    first: what it then marks is kept, also if the mount dies before the marker is gone.
    """

    def __init__(self, root: Path) -> None:
        """Publish into `root`."""
        self._root = root
        self._directory = root / UNFINISHED
        self._lock = threading.Lock()
        self._names: set[str] = set()

    def publish(self, name: str, upload: Upload) -> Stamp:
        """See Publisher."""
        final, marker = self._root / name, self._directory / name
        with self._alone(name):
            # Before the marker: one found at the start must never belong to a file that was published earlier.
            if os.path.lexists(final):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            self._directory.mkdir(parents=True, exist_ok=True)
            self._mark(marker)
            try:
                stamp = _write(final, upload)
                sync_directory(self._root)
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
            _pass_if_not_writable(error)

    def clean(self, abandoned_seconds: float) -> None:
        """See Publisher."""
        for marker in _abandoned(self._directory, abandoned_seconds):
            if not _is_complete(marker):
                (self._root / marker.name).unlink(missing_ok=True)
                sync_directory(self._root)
                _log.info("removed the unfinished upload %s", marker.name)
            marker.unlink(missing_ok=True)

    def unfinished(self) -> frozenset[str]:
        """See Publisher."""
        return frozenset(marker.name for marker in _abandoned(self._directory, 0) if not _is_complete(marker))


def publisher(method: str, root: Path) -> Publisher:
    """The publisher for PUBLISH_METHOD."""
    return Direct(root) if method == "direct" else Link(root)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # File systems that have nothing to do here say so with EINVAL (fsync(2)).
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _write(path: Path, upload: Upload) -> Stamp:
    """Create a file, which must not exist, and make its content durable."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := upload.read(CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(descriptor)
        status = os.fstat(descriptor)
    return Stamp(status.st_size, status.st_mtime_ns)


def _complete(marker: Path) -> None:
    # Not created if it is missing: then another process took this upload for abandoned, and removed it.
    descriptor = os.open(marker, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, _COMPLETE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_complete(marker: Path) -> bool:
    try:
        return marker.read_bytes() == _COMPLETE
    except FileNotFoundError:
        return True


def _abandoned(directory: Path, seconds: float) -> Iterator[Path]:
    try:
        paths = list(directory.iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= seconds:
                yield path


def _pass_if_not_writable(error: OSError) -> None:
    if error.errno not in _NOT_WRITABLE:
        raise UnsuitableVolumeError(f"the package volume cannot be used: {error}") from error
    _log.warning("the package volume cannot be written to (%s): uploads will be refused", error.strerror)
