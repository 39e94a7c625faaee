"""Where files go that come back: a package volume, on which each gets its name when it has been compared."""

from __future__ import annotations

import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from backup.layout import FILES, VERSIONS
from backup.problems import RunError
from backup.source import digest_of
from server.publish.direct import Direct
from server.publish.link import Link
from server.volume.content import CHUNK
from server.volume.durable import UnsuitableVolumeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from backup.manifest import Entry
    from backup.store import Store

RESTORING = ".pypiserver/restoring"
"""Where files are until they have been compared with the manifest; nobody lists dot names."""
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05
_VERIFIERS = 2
_log = logging.getLogger("restore")


class Target(Protocol):
    """A package volume, or a store that packages are in."""

    damaged: list[str]
    """Paths of what the store that keeps them has not as it was."""

    def prepare(self, wanted: Sequence[Entry]) -> None:
        """Make sure that there is room, before anything is written.

        Raises:
            RunError: There is not.
        """

    def bring(self, entries: Sequence[Entry], replaced: Mapping[str, Sequence[str]]) -> None:
        """Bring files back; what is damaged is not, and is told in `damaged`.

        Args:
            entries: What.
            replaced: Paths that are there and give way, with other names of the same file that go.

        Raises:
            RunError: Not all of them could be brought; those that could are there.
        """

    def end(self) -> None:
        """See to it that what was brought outlives a loss of power, and that nothing else is left."""


class VolumeTarget:
    """See Target."""

    def __init__(self, root: Path, store: Store) -> None:
        """Copy from `store` to the package volume that is mounted at `root`."""
        self._root = root
        self._store = store
        self._direct: Direct | None = None
        self.damaged: list[str] = []

    def prepare(self, wanted: Sequence[Entry]) -> None:
        """See Target."""
        self._check_space(wanted)
        try:
            Link(self._root).check()
        except UnsuitableVolumeError:
            # As in a mounted bucket.
            self._direct = Direct(self._root)

    def end(self) -> None:
        """See Target."""
        os.sync()
        with suppress(OSError):
            shutil.rmtree(self._root / RESTORING)

    def _check_space(self, wanted: Iterable[Entry]) -> None:
        needed = sum(entry.size for entry in wanted)
        found = os.statvfs(self._root)
        if needed > (free := found.f_bavail * found.f_frsize):
            raise RunError("full", f"the volume has {free} bytes left, and {needed} are to be restored; nothing was")

    def bring(self, entries: Sequence[Entry], replaced: Mapping[str, Sequence[str]]) -> None:
        """See Target."""
        for folder in (FILES, VERSIONS):
            waiting = {
                entry.stored.removeprefix(f"{folder}/"): entry
                for entry in entries
                if entry.stored.startswith(f"{folder}/")
            }
            damaged: set[str] = set()
            for attempt in range(1, _ATTEMPTS + 1):
                if not waiting:
                    break
                try:
                    damaged = self._receive(folder, waiting, replaced)
                except RunError:
                    if attempt == _ATTEMPTS:
                        raise
                    _log.warning("the store failed; %d files are still to come", len(waiting))
            self.damaged += sorted(waiting[name].path for name in damaged)

    def _receive(self, folder: str, waiting: dict[str, Entry], replaced: Mapping[str, Sequence[str]]) -> set[str]:
        """Fetch files, and give each its place as soon as it is whole.

        Args:
            folder: Where the store has them.
            waiting: Those that are still to come, by name.
            replaced: Paths at which there is something that differs.

        Returns:
            Those that came, and are not what they should be; on their way or in the store.
        """
        directory = self._root / RESTORING / folder
        directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_VERIFIERS) as pool:

            def place() -> set[str]:
                came = [name for name in _names(directory, "") if name in waiting]
                whole = list(pool.map(lambda name: self._place(directory / name, waiting[name], replaced), came))
                for name, is_whole in zip(came, whole, strict=True):
                    if is_whole:
                        del waiting[name]
                return {name for name in came if name in waiting}

            # Of a run that was ended: what is whole is not asked for again.
            place()
            damaged: set[str] = set()
            if not waiting:
                return damaged
            with self._store.receiving(folder, directory, sorted(waiting)) as copying:
                while copying.process.poll() is None:
                    damaged |= place()
                    time.sleep(_PAUSE_SECONDS)
                damaged |= place()
        if absent := waiting.keys() - damaged:
            raise RunError("store", f"the store has given {min(absent)} in no attempt")
        return damaged

    def _place(self, staged: Path, entry: Entry, replaced: Mapping[str, Sequence[str]]) -> bool:
        """Give a file its place, if it is what the manifest says; whether it is."""
        digest = digest_of(staged)
        # The kernel begins to write it, so that little is left to wait for at the end; only it knows whether it can.
        with suppress(OSError), staged.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if digest != entry.sha256:
            staged.unlink()
            return False
        final = self._root / entry.path
        final.parent.mkdir(parents=True, exist_ok=True)
        staged.chmod(0o644)
        # Before anybody sees it: the index shows it as the time of the upload. Not every mount knows times.
        with suppress(OSError):
            os.utime(staged, ns=(entry.mtime_ns, entry.mtime_ns))
        try:
            if entry.path in replaced:
                self._replace(staged, final, replaced[entry.path])
            elif self._direct is None:
                os.link(staged, final)
            elif "/" in entry.path:
                _write(staged, final)
            else:
                self._direct.publish(entry.path, _blocks(staged))
        except FileExistsError:
            # Somebody has just published it.
            if digest_of(final) != entry.sha256:
                raise RunError("differs", f"{entry.path} has come with other content meanwhile; it stays") from None
        if self._direct is not None:
            with suppress(OSError):
                os.utime(final, ns=(entry.mtime_ns, entry.mtime_ns))
        with suppress(FileNotFoundError):
            staged.unlink()
        return True

    def _replace(self, staged: Path, final: Path, twins: Iterable[str]) -> None:
        for twin in twins:
            (self._root / twin).unlink(missing_ok=True)
        if self._direct is None:
            staged.replace(final)
            return
        final.unlink(missing_ok=True)
        _write(staged, final)


def _names(directory: Path, below: str) -> Iterator[str]:
    """The files below a directory."""
    with os.scandir(directory / below) as entries:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in inside:
        path = f"{below}/{name}" if below else name
        if is_directory:
            yield from _names(directory, path)
        else:
            yield path


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            yield block


def _write(staged: Path, final: Path) -> None:
    """Write a file that is not there yet, on a mount that has no links."""
    with final.open("xb") as file:
        file.writelines(_blocks(staged))
        file.flush()
        os.fsync(file.fileno())
