"""Noticing what others do to the volume: another pod, or somebody with kubectl cp."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Protocol

from server.index import owners, yanks
from server.index.names import UNREACHABLE, is_reachable, name_and_version
from server.volume.content import NO_FILE, SETTLED_NS, Stamp
from server.volume.marker import WrongVolumeError
from server.volume.problems import CONTENTS, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from server.index.announcements import Announced
    from server.index.listing import Change, Listing
    from server.volume.problems import Problems

PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks at the directories' times of change."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_NEVER_A_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO})
"""The errors of entries that will not come back as the files that were there."""
_OWN = ".pypiserver"
_PLACES = frozenset({_OWN, f"{_OWN}/{yanks.DIRECTORY}", f"{_OWN}/{owners.DIRECTORY}", CONTENTS})
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
        verify: Callable[[], None],
        unfinished: Callable[[], frozenset[str]],
        times_tell: bool,
        rescan_seconds: float,
        announced: Announced | None = None,
    ) -> None:
        """Watch the package directory `root`.

        Args:
            root: Where the files are.
            listing: What is to be like it.
            own: Are asked to look too.
            stale: Is told what has changed.
            problems: Is told of entries that cannot be read.
            verify: Makes sure that it is the volume, and no other directory in its place.
            unfinished: Says which names in `root` must not be listed.
            times_tell: Whether a directory's time of change says that it has changed; it does not in a bucket.
            rescan_seconds: How often everything is listed.
            announced: What the one that writes tells, where this pod only reads.
        """
        self._root = root
        self._listing = listing
        self._own = tuple(own)
        self._stale = stale
        self._problems = problems
        self._verify = verify
        self._unfinished = unfinished
        self._times_tell = times_tell
        self._rescan_seconds = rescan_seconds
        self._announced = announced
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

    def follow(self) -> bool:
        """Look at what the one that writes has told, and return whether everything has to be listed once more.

        Raises:
            OSError: The volume cannot be read.
        """
        announced = self._announced
        if announced is None:
            return False
        paths = announced.look()
        if paths is None:
            self.rescan()
            return True
        hidden = self._unfinished() if paths else frozenset()
        for path in paths - hidden:
            self._look_at_file(path, announced)
        if announced.turned:
            self._ask(lambda each: each.rescan())
        return False

    def _look_at_file(self, path: str, announced: Announced) -> None:
        if any(part.startswith(".") for part in path.split("/")):
            return
        directory, _, name = path.rpartition("/")
        entry = self._listing.at(path)
        found = next((each for _, each in _stamps(self._root / directory, (name,))), None)
        if isinstance(found, Stamp) and (entry is None or entry.stamp != found):
            self._verify()
            digest, core = announced.facts(path, found)
            self._stale(self._listing.add(directory, name, found, digest, core))
        elif found is None and entry:
            self._verify()
            self._stale(self._listing.remove(path))

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
        # What was listed at the start may have been what a mount remembered.
        due = time.monotonic() + self._settled()
        while True:
            time.sleep(PAUSE_SECONDS)
            try:
                if time.monotonic() >= due or self._failure:
                    self.rescan()
                    due = time.monotonic() + self._rescan_seconds
                elif self._times_tell:
                    self.look()
                elif self.follow():
                    due = min(due, time.monotonic() + self._settled())
            except Exception as error:  # noqa: BLE001 - the thread must outlive whatever it meets
                if self._failure is None:
                    _log.exception("the package volume cannot be listed; the last listing stays")
                self._failure = f"The package volume cannot be listed: {getattr(error, 'strerror', None) or error}"
            else:
                self._failure = None

    def _settled(self) -> float:
        """In how many seconds a mount shows nothing from before, or everything is listed anyway."""
        return min(self._announced.settle_seconds if self._announced else self._rescan_seconds, self._rescan_seconds)

    def _list(self, directory: str, times: dict[str, int | None], *, compare: bool) -> set[str]:
        """List a directory, and those below it that are not in `times` yet; return those that cannot be listed."""
        failed = set()
        waiting = [directory]
        while waiting:
            each = waiting.pop()
            try:
                below = self._list_one(each, times, compare=compare)
            except WrongVolumeError:
                raise
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
            elif entry.name in known or _is_package(path, problems):
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
        if names != self._listing.names(directory):
            # After they were read, so that they are the volume's.
            self._verify()
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


def _is_package(path: str, problems: dict[str, str]) -> bool:
    """Whether a file is a package; one that clients would choose and cannot get is a problem."""
    guess = name_and_version(path.rpartition("/")[2])
    if guess and not is_reachable(path, guess[0]):
        problems[path] = UNREACHABLE
        return False
    return guess is not None


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
                yield name, OSError(errno.ENXIO, "It is a link" if stat.S_ISLNK(status.st_mode) else NO_FILE)


def _path(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _is_below(directory: str, above: str) -> bool:
    return directory == above or directory.startswith(f"{above}/")
