"""Noticing what others do to the volume: another pod, or somebody with kubectl cp."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Protocol

from server.index.names import name_and_version
from server.volume.content import SETTLED_NS, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from server.index.listing import Change, Listing

PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks at the directories' times of change."""
_log = logging.getLogger("watch")


class OwnRecords(Protocol):
    """What this server keeps on the volume beside the packages, and shows in the index."""

    def rescan(self) -> None:
        """Read what is there.

        Raises:
            OSError: The volume cannot be read.
        """

    def look(self) -> None:
        """Read it if it has changed.

        Raises:
            OSError: The volume cannot be read.
        """


class Watch:
    """Keeps the listing like the volume.

    A volume that fails changes nothing: the last listing stays, and `problem` says why.
    """

    def __init__(  # noqa: PLR0913
        self,
        root: Path,
        listing: Listing,
        own: Iterable[OwnRecords],
        stale: Callable[[Change], None],
        *,
        unfinished: Callable[[], frozenset[str]],
        times_tell: bool,
        rescan_seconds: float,
    ) -> None:
        """Watch the package directory `root`.

        Args:
            root: Where the files are.
            listing: What is to be like it.
            own: Are asked to look too.
            stale: Is told what has changed.
            unfinished: Says which names in `root` must not be listed.
            times_tell: Whether a directory's time of change says that it has changed; it does not in a bucket.
            rescan_seconds: How often everything is listed.
        """
        self._root = root
        self._listing = listing
        self._own = tuple(own)
        self._stale = stale
        self._unfinished = unfinished
        self._times_tell = times_tell
        self._rescan_seconds = rescan_seconds
        self._times: dict[str, int | None] = {}
        self._failure: str | None = None

    def start(self) -> None:
        """Begin to watch, until the process ends."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def problem(self) -> str | None:
        """Why the volume could not be listed the last time, or None if it could."""
        return self._failure

    def rescan(self) -> None:
        """List the whole volume, and compare every file's size and time of change.

        Raises:
            OSError: The volume cannot be listed; files of directories not reached stay listed.
        """
        times: dict[str, int | None] = {}
        self._list("", times, compare=True)
        self._times = times
        for directory in self._listing.directories():
            if directory not in times:
                self._take(directory, set(), {}, self._listing.moment())
        for each in self._own:
            each.rescan()

    def look(self) -> None:
        """List the directories that have changed, and of them only what is new in them.

        Raises:
            OSError: The volume cannot be listed.
        """
        for directory, known in list(self._times.items()):
            self._look_at(directory, known)
        for each in self._own:
            each.look()

    def _look_at(self, directory: str, known: int | None) -> None:
        try:
            changed = (self._root / directory).stat().st_mtime_ns
        except FileNotFoundError:
            if not directory:
                raise
            del self._times[directory]
            self._take(directory, set(), {}, self._listing.moment())
        else:
            if changed != known:
                self._list(directory, self._times, compare=False)

    def _run(self) -> None:
        due = time.monotonic() + self._rescan_seconds
        while True:
            time.sleep(PAUSE_SECONDS)
            try:
                if time.monotonic() >= due or self._failure:
                    self.rescan()
                    due = time.monotonic() + self._rescan_seconds
                elif self._times_tell:
                    self.look()
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever it meets
                if self._failure is None:
                    _log.exception("the package volume cannot be listed; the last listing stays")
                self._failure = f"The package volume cannot be listed: {getattr(error, 'strerror', None) or error}"
            else:
                self._failure = None

    def _list(self, directory: str, times: dict[str, int | None], *, compare: bool) -> None:
        """List a directory, and those below it that are not in `times` yet."""
        moment = self._listing.moment()
        begun = time.time_ns()
        known = self._listing.names(directory)
        names: set[str] = set()
        unsure: list[str] = []
        below: list[str] = []
        try:
            changed = (self._root / directory).stat().st_mtime_ns
            for entry in _visible(self._root / directory):
                if entry.is_dir(follow_symlinks=False):
                    below.append(f"{directory}/{entry.name}" if directory else entry.name)
                elif entry.name in known and not compare:
                    names.add(entry.name)
                elif entry.name in known or name_and_version(entry.name):
                    unsure.append(entry.name)
        except (FileNotFoundError, PermissionError):
            # Somebody has removed it, or it is like lost+found; the package directory itself must be readable.
            if not directory:
                raise
            return
        times[directory] = changed if begun - changed > SETTLED_NS else None
        # After the files: one that was there then and has no marker now is complete, and so will be its size.
        hidden = self._unfinished() if not directory else frozenset()
        stamps = dict(_stamps(self._root / directory, (name for name in unsure if name not in hidden)))
        self._take(directory, (names - hidden) | stamps.keys(), stamps, moment)
        for each in below:
            if each not in times:
                self._list(each, times, compare=compare)

    def _take(self, directory: str, names: set[str], stamps: dict[str, Stamp], moment: int) -> None:
        change = self._listing.replace(directory, names, stamps, moment)
        if change.projects:
            self._stale(change)


def _visible(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry


def _stamps(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, Stamp]]:
    for name in names:
        try:
            status = os.stat(f"{directory}/{name}")  # noqa: PTH116 - half the time of Path.stat, for every file there is
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode):
            yield name, Stamp(status.st_size, status.st_mtime_ns)
