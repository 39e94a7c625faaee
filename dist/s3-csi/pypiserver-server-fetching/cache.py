"""Files on the cache volume, where the gateway finds them; those that nobody asks for go first."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
import time
import uuid
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from server.fetching.answers import AwayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.fetching.counters import Counters

YOUNG_SECONDS = 3600.0
"""A cache that lets go of what was used so lately is too small."""
REARM_SECONDS = 60.0
LOOK_SECONDS = 1.0
"""How often is looked what others have put onto the volume."""
_BLOCK = 4096


class NoRoomError(Exception):
    """The cache cannot take a file; the text says why."""


class _Used(NamedTuple):
    time: float
    path: str


class Cache:
    """Whole, verified files below `files`, and unfinished ones below `unfinished`.

    The gateway reads them, so that only the file system knows when one was last used (atime). Linux usually notes just
    the first use after a change (relatime): so `rearm` makes a change, of a file's status, after each use noted.
    """

    def __init__(
        self, files: Path, unfinished: Path, limit: int, counters: Counters, *, beside: Callable[[], int] | None = None
    ) -> None:
        """Keep up to `limit` bytes; what is unfinished is of an earlier process, and is removed.

        Args:
            files: The directory of the files. Whatever in it begins with a dot is none of them.
            unfinished: The directory of those that are not whole yet, on the same volume.
            limit: How many bytes they may take.
            counters: Told of those that have to go.
            beside: How many bytes others take of the limit. Whoever they are, they may put whole files among these too,
                and take any away. None where nobody else writes to the volume.

        Raises:
            OSError: The directories cannot be used.
        """
        self.files = files
        self.limit = limit
        self._unfinished = unfinished
        self._counters = counters
        self._beside = beside
        self._lock = threading.Lock()
        self._promised = self._arrived = self._others = 0
        self._queue: deque[_Used] = deque()
        shutil.rmtree(self._unfinished, ignore_errors=True)
        for each in (self.files, self._unfinished):
            each.mkdir(parents=True, exist_ok=True)
        self._changed = 0
        self._sizes: dict[str, int] = {}
        self._size = 0
        self._list()
        for name in ("evictions_total", "evicted_young_total"):
            counters.add(name, 0)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return self._size

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self._sizes)

    def new(self) -> Path:
        """A name for an unfinished file."""
        return self._unfinished / uuid.uuid4().hex

    @contextlib.contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Promise room to a file of this size while it is fetched; others go for it as it `arrives`, and not before.

        Raises:
            AwayError: Others that are on their way need the room, for now.
            NoRoomError: It is larger than the whole cache.
        """
        size = _room(size)
        with self._lock:
            if size > self.limit:
                raise NoRoomError(f"a file of {size} bytes is more than the cache takes ({self.limit})")
            if size + self._promised > self.limit - self._others:
                raise AwayError("The cache has no room for more files at once; try again")
            self._promised += size
        try:
            yield
        finally:
            with self._lock:
                self._promised -= size

    @contextlib.contextmanager
    def arriving(self) -> Iterator[Callable[[int], None]]:
        """Give a function that makes room for so many more bytes of a file, which has it until the context ends."""
        arrived = 0

        def arrives(more: int) -> None:
            nonlocal arrived
            with self._lock:
                arrived += more
                self._arrived += more
                self._evict(self.limit - self._others - self._arrived)

        try:
            arrives(_room(0))
            yield arrives
        finally:
            with self._lock:
                self._arrived -= arrived

    def keep(self, unfinished: Path, final: Path, changed: float) -> None:
        """Give a verified file its name.

        Args:
            unfinished: The file.
            final: Where it shall be, below `files`.
            changed: Its time of change, which is the same wherever it is fetched: clients go on with a file by it.

        Raises:
            OSError: The volume did not take it.
        """
        os.utime(unfinished, (time.time(), changed))
        unfinished.chmod(0o644)
        size = _room(unfinished.stat().st_size)
        with self._lock:
            final.parent.mkdir(parents=True, exist_ok=True)
            unfinished.rename(final)
            self._know(str(final), size)

    def make_room(self) -> None:
        """Let go of the quarter that was not used for the longest time: the volume is fuller than was thought."""
        with self._lock:
            self._evict(self._size * 3 // 4)

    def discard(self, final: Path) -> None:
        """Let go of a file, if it is there."""
        with self._lock:
            self._sizes.setdefault(str(final), 0)
            self._remove(str(final))

    def drop(self, is_wanted: Callable[[Path], bool]) -> None:
        """Let go of the files that are not wanted any more."""
        with self._lock:
            for path in [each for each in self._sizes if not is_wanted(Path(each))]:
                self._remove(path)

    def look(self) -> None:
        """Notice what others have put there and taken away, and let go of what does not fit beside it."""
        with self._lock, contextlib.suppress(OSError):
            self._others = self._beside() if self._beside else 0
            # Others' files come and go in the directory itself.
            if self.files.stat().st_mtime_ns != self._changed:
                self._list()
            self._evict(self.limit - self._others - self._arrived)

    def rearm(self) -> None:
        """Have the next use of each file noted as well."""
        for path in list(self._sizes):
            with contextlib.suppress(OSError):
                status = Path(path).stat()
                if status.st_atime_ns > status.st_ctime_ns:
                    Path(path).chmod(status.st_mode & 0o777)

    def start(self) -> None:
        """Begin to `rearm` every minute, and to `look` every second where others write, until the process ends."""
        threading.Thread(target=self._run, args=(self.rearm, REARM_SECONDS), name="cache", daemon=True).start()
        if self._beside:
            threading.Thread(target=self._run, args=(self.look, LOOK_SECONDS), name="look", daemon=True).start()

    def _run(self, work: Callable[[], None], seconds: float) -> None:
        while True:
            time.sleep(seconds)
            work()

    def _list(self) -> None:
        # Before: what comes meanwhile is looked for the next time.
        self._changed = self.files.stat().st_mtime_ns
        found = set(_below(str(self.files)))
        for path in self._sizes.keys() - found:
            self._size -= self._sizes.pop(path)
        for path in found - self._sizes.keys():
            with contextlib.suppress(OSError):
                status = Path(path).lstat()
                if stat.S_ISREG(status.st_mode):
                    self._know(path, _room(status.st_size))

    def _know(self, path: str, size: int) -> None:
        self._size += size - self._sizes.get(path, 0)
        self._sizes[path] = size

    def _evict(self, limit: int) -> None:
        """Let go of files in the order of their last use, which is looked up once for many of them."""
        for _ in range(2):
            while self._size > limit and self._queue:
                used = self._queue.popleft()
                # Whoever has been used since comes later.
                if used.path in self._sizes and _last_use(used.path) <= used.time:
                    self._counters.add("evictions_total")
                    self._counters.add("evicted_young_total", time.time() - used.time < YOUNG_SECONDS)
                    self._remove(used.path)
            if self._size <= limit:
                return
            self._queue = deque(sorted(_Used(_last_use(path), path) for path in self._sizes))

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):
            Path(path).unlink(missing_ok=True)
            self._size -= self._sizes.pop(path)
            for directory in Path(path).relative_to(self.files).parents[:-1]:
                (self.files / directory).rmdir()


def _below(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            else:
                yield entry.path


def _last_use(path: str) -> float:
    try:
        return Path(path).stat().st_atime
    except OSError:
        # Somebody has removed it.
        return 0.0


def _room(size: int) -> int:
    """What a file of a size takes on a volume, with the two directories that it may be alone in."""
    return (-(-size // _BLOCK) + 2) * _BLOCK
