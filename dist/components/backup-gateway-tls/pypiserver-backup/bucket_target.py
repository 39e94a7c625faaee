"""What comes back into a registry's store: an object that was compared, then the line of the catalogue that lists it.

The registry may go on: parts of its catalogue are written by whoever takes the next number (server.store.catalogue).
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from backup.bucket import catalogue_of
from backup.manifest import IDENTITY, OWN
from backup.problems import RunError
from backup.source import RECORDS
from server.index import archives
from server.index.metadata import core_of
from server.index.names import is_reachable, name_and_version
from server.store.metadata import place
from server.store.own_files import LONGEST_SHOWN
from server.store.problems import PresentError, StoreError
from server.store.rows import File, Gone, Record
from server.store.survey import SHOWN
from server.volume.content import CHUNK
from server.volume.durable import make_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from backup.manifest import Entry
    from server.store.remote import Remote
    from server.store.rows import Line

_T = TypeVar("_T")
_ATTEMPTS = 3
_PAUSE_SECONDS = 2.0
_AT_ONCE = 4
_BATCH = 64
"""How many files a part of the catalogue names."""
_PROBE = ".pypiserver/restoring"
_log = logging.getLogger("restore")


class _Came(NamedTuple):
    """A file in the spool, and whether it is what it should be."""

    local: Path
    is_whole: bool


class BucketTarget:
    """See backup.target.Target."""

    def __init__(self, remote: Remote, kept: Remote, cache: Path) -> None:
        """Copy from `kept`, where the backups are, to `remote`, the registry's place.

        Args:
            remote: The registry's objects.
            kept: Those of the store that keeps them.
            cache: An empty directory.
        """
        self._remote = remote
        self._kept = kept
        self._cache = cache
        self._catalogue, _ = catalogue_of(remote, cache)
        self._conditional = False
        self.damaged: list[str] = []

    def prepare(self, wanted: Sequence[Entry]) -> None:
        """See Target: a store has room."""
        del wanted
        make_directory(self._remote.spool)
        self._catalogue.load()
        # Of two that put the same, a store that knows conditional creation refuses the second.
        self._remote.write(_PROBE, uuid.uuid4().hex.encode())
        try:
            self._remote.write(_PROBE, uuid.uuid4().hex.encode(), new=True)
        except PresentError:
            self._conditional = True
        self._catalogue.write_as(lambda: None, conditional=self._conditional)

    def bring(self, entries: Sequence[Entry], replaced: Mapping[str, Sequence[str]]) -> None:
        """See Target."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(entries), _BATCH):
                batch = entries[first : first + _BATCH]
                lines = [line for found in pool.map(partial(self._bring, replaced), batch) for line in found]
                if lines:
                    self._list(lines)

    def end(self) -> None:
        """See Target."""
        self._remote.remove(_PROBE)

    def _list(self, lines: Sequence[Line]) -> None:
        """Have the catalogue name what is there now, and see that it does."""
        for _ in range(_ATTEMPTS):
            self._catalogue.commit(*lines)
            if self._conditional:
                return
            # Where numbers are no bar the registry may have merged the catalogue without this part meanwhile.
            time.sleep(_PAUSE_SECONDS)
            catalogue, holdings = catalogue_of(self._remote, self._cache)
            catalogue.load()
            named = {line.path: line.sha256 for line in holdings.lines() if isinstance(line, File)}
            if all(named.get(line.path) == line.sha256 for line in lines if isinstance(line, File)):
                return
            self._catalogue.load()
        raise RunError("changed", "the catalogue does not keep what is written to it: the registry writes all the time")

    def _bring(self, replaced: Mapping[str, Sequence[str]], entry: Entry) -> list[Line]:
        """Put one file there, and return what the catalogue has to say of it."""
        with self._fetched(entry) as came:
            if not came.is_whole:
                self.damaged.append(entry.path)
                return []
            try:
                return _tried(lambda: [*self._put(came.local, entry, replaced.get(entry.path))])
            except PresentError as error:
                raise RunError("differs", f"{entry.path} has come meanwhile; it stays: {error.strerror}") from error

    @contextmanager
    def _fetched(self, entry: Entry) -> Iterator[_Came]:
        local = self._remote.spool / uuid.uuid4().hex
        is_whole = False
        try:
            for _ in range(_ATTEMPTS):
                # What is damaged on its way comes right the next time.
                is_whole = is_whole or _tried(lambda: self._fetch(entry.stored, local)) == entry.sha256
            yield _Came(local, is_whole)
        finally:
            with suppress(FileNotFoundError):
                local.unlink()

    def _fetch(self, stored: str, local: Path) -> str:
        digest = hashlib.sha256()
        with self._kept.reading(stored) as answer, local.open("wb") as file:
            while block := answer.read(CHUNK):
                digest.update(block)
                file.write(block)
        return digest.hexdigest()

    def _put(self, local: Path, entry: Entry, twins: Sequence[str] | None) -> Iterator[Line]:
        """Put a file there; `twins` are the names that give way to it, None if nothing does."""
        path = entry.path
        if path.startswith(OWN):
            self._remote.put(local, path, new=path == IDENTITY)
            directory, _, name = path.removeprefix(OWN).partition("/")
            if directory in RECORDS:
                content = local.read_bytes()[:LONGEST_SHOWN] if SHOWN[directory] else b""
                yield Record(directory, name, content.decode("utf-8", "replace"))
            return
        if twins is not None or self._is_new(entry):
            self._remote.put(local, path, new=twins is None)
        for twin in twins or ():
            self._remote.remove(twin)
            yield Gone(twin)
        guess = name_and_version(path.rpartition("/")[2])
        if guess and is_reachable(path, guess[0]):
            yield self._line(local, entry)

    def _is_new(self, entry: Entry) -> bool:
        """Whether there is no object; one of a run that was ended is the same.

        Raises:
            PresentError: There is another.
        """
        if self._remote.find(entry.path) is None:
            return True
        if self._remote.digest(entry.path) != (entry.size, entry.sha256):
            raise PresentError(f"{entry.path} is not restored", "there is another object, which is not listed")
        return False

    def _line(self, local: Path, entry: Entry) -> File:
        inside = None
        if read := archives.reader(entry.path):
            with suppress(archives.ArchiveError), local.open("rb") as file:
                inside = read(file)
        core = core_of(entry.path, inside)
        if inside is not None and core.metadata:
            self._remote.write(place(entry.path), inside)
        found = self._remote.find(entry.path)
        # With the time of the store, the registry need not read what it has not put there itself.
        return File(entry.path, entry.size, entry.mtime_ns // 10**9, entry.sha256, *core, found and found.changed)


def _tried(act: Callable[[], _T]) -> _T:
    """What comes of asking a store for something, and again if it fails."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return act()
        except StoreError as error:  # noqa: PERF203 - each has a pause after it
            if error.is_for_good or isinstance(error, PresentError):
                raise
            _log.warning("%s; once more", error.strerror)
            time.sleep(_PAUSE_SECONDS)
    return act()
