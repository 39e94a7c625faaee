"""Noticing what others do to the volume: another pod, or somebody with kubectl cp."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Protocol

from server.index.names import name_and_version
from server.index.yanks import DIRECTORY
from server.volume.content import SETTLED_NS, Stamp
from server.volume.problems import CONTENTS, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from server.index.listing import Change, Listing
    from server.volume.problems import Problems

PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks at the directories' times of change."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_NEVER_A_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO})
"""The errors of entries that will not come back as the files that were there."""
_OWN = ".pypiserver"
_PLACES = frozenset({_OWN, f"{_OWN}/{DIRECTORY}", CONTENTS})
"""The places of problems that are no directories of packages."""
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

    A volume that fails changes nothing: the last listing stays, and `problem` says why. One entry that fails costs
    itself: what was listed stays so, as whoever asks for it gets an error and not silently an older version, and what
    was not listed is left out.
    """

    def __init__(  # noqa: PLR0913
        self,
        root: Path,
        listing: Listing,
        own: Iterable[OwnRecords],
        stale: Callable[[Change], None],
        problems: Problems,
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
            problems: Is told of entries that cannot be read.
            unfinished: Says which names in `root` must not be listed.
            times_tell: Whether a directory's time of change says that it has changed; it does not in a bucket.
            rescan_seconds: How often everything is listed.
        """
        self._root = root
        self._listing = listing
        self._own = tuple(own)
        self._stale = stale
        self._problems = problems
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
        failed = self._list("", times, compare=True)
        self._times = times
        for directory in self._listing.directories():
            if directory not in times and not any(_is_below(directory, each) for each in failed):
                self._take(directory, set(), {}, self._listing.moment())
        self._problems.keep({*times, *failed, *_PLACES})
        unread = self._problems.of(CONTENTS)
        self._problems.replace(CONTENTS, {path: text for path, text in unread.items() if self._listing.at(path)})
        self._ask(lambda each: each.rescan())

    def look(self) -> None:
        """List the directories that have changed, and of them only what is new in them.

        Raises:
            OSError: The volume cannot be listed.
        """
        for directory, known in list(self._times.items()):
            self._look_at(directory, known)
        self._ask(lambda each: each.look())

    def _ask(self, act: Callable[[OwnRecords], None]) -> None:
        problems = {}
        for each in self._own:
            try:
                act(each)
            except OSError as error:  # noqa: PERF203 - there are two
                # The volume has just been listed: it is that directory alone.
                problems[str(error.filename or ".pypiserver")] = why(error)
        self._problems.replace(_OWN, problems)

    def _look_at(self, directory: str, known: int | None) -> None:
        try:
            changed = (self._root / directory).stat().st_mtime_ns
        except OSError as error:
            if not directory:
                raise
            if error.errno not in _GONE:
                self._problems.replace(directory, {directory: why(error)})
                return
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

    def _list(self, directory: str, times: dict[str, int | None], *, compare: bool) -> set[str]:
        """List a directory, and those below it that are not in `times` yet; return those that cannot be listed."""
        failed = set()
        waiting = [directory]
        while waiting:
            each = waiting.pop()
            try:
                below = self._list_one(each, times, compare=compare)
            except OSError as error:
                # Somebody may have removed it, and every file system of its own has lost+found; the package directory
                # itself must be readable.
                if not each:
                    raise
                if error.errno not in _GONE and each != "lost+found":
                    failed.add(each)
                    self._problems.replace(each, {each: why(error)})
            else:
                waiting += (path for path in below if path not in times)
        return failed

    def _list_one(self, directory: str, times: dict[str, int | None], *, compare: bool) -> list[str]:
        """List a directory, and return those in it."""
        moment = self._listing.moment()
        begun = time.time_ns()
        known = self._listing.names(directory)
        names: set[str] = set()
        unsure: list[str] = []
        below: list[str] = []
        problems: dict[str, str] = {}
        changed = (self._root / directory).stat().st_mtime_ns
        for entry in _visible(self._root / directory):
            path = _path(directory, entry.name)
            if not _is_text(entry.name):
                # It could stand in no page.
                problems[path] = "Its name is not UTF-8"
            elif _is_directory(entry):
                below.append(path)
            elif entry.name in known and not compare:
                names.add(entry.name)
            elif entry.name in known or name_and_version(entry.name):
                unsure.append(entry.name)
        times[directory] = changed if begun - changed > SETTLED_NS else None
        # After the files: one that was there then and has no marker now is complete, and so will be its size.
        hidden = self._unfinished() if not directory else frozenset()
        stamps = {}
        for name, found in _stamps(self._root / directory, (name for name in unsure if name not in hidden)):
            if isinstance(found, Stamp):
                stamps[name] = found
                continue
            problems[_path(directory, name)] = why(found)
            if name in known and found.errno not in _NEVER_A_FILE:
                names.add(name)
        if not compare:
            # Not looked at this time.
            before = self._problems.of(directory)
            problems |= {path: text for path, text in before.items() if path.rpartition("/")[2] in names}
        self._problems.replace(directory, problems)
        self._take(directory, (names - hidden) | stamps.keys(), stamps, moment)
        return below

    def _take(self, directory: str, names: set[str], stamps: dict[str, Stamp], moment: int) -> None:
        change = self._listing.replace(directory, names, stamps, moment)
        if change.projects:
            self._stale(change)


def _visible(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _stamps(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, Stamp | OSError]]:
    """What is known of files, or why nothing is; nothing at all of what is gone or is a directory."""
    for name in names:
        try:
            # Not of what a link leads to: the gateway follows none, so that nobody is shown a file of elsewhere.
            status = os.lstat(f"{directory}/{name}")
        except FileNotFoundError:  # noqa: PERF203 - each file fails by itself
            continue
        except OSError as error:
            yield name, error
        else:
            if stat.S_ISREG(status.st_mode):
                yield name, Stamp(status.st_size, status.st_mtime_ns)
            elif not stat.S_ISDIR(status.st_mode):
                yield name, OSError(errno.ENXIO, "It is a link" if stat.S_ISLNK(status.st_mode) else "It is no file")


def _path(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _is_below(directory: str, above: str) -> bool:
    return directory == above or directory.startswith(f"{above}/")
