"""What others do to the bucket: all of it is listed from time to time, and compared with the catalogue."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from server.index import archives, owners, provenance, removed, reserved, yanks
from server.index.metadata import core_of
from server.index.names import is_reachable, name_and_version, normalised
from server.store import catalogue as catalogues
from server.store import metadata as stored_metadata
from server.store import ranges
from server.store import unfinished as uploads
from server.store.metadata import place
from server.store.own_files import LONGEST_SHOWN
from server.store.problems import AbsentError, StoreError
from server.store.rows import File, Gone, Record
from server.volume.problems import CONTENTS, why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from server.index.listing import Entry, Listing
    from server.store.catalogue import Catalogue
    from server.store.holdings import Holdings
    from server.store.identity import Identity
    from server.store.remote import Found, Remote
    from server.store.unfinished import Unfinished
    from server.volume.problems import Problems

SHOWN = {
    yanks.DIRECTORY: True,
    provenance.DIRECTORY: False,
    reserved.DIRECTORY: False,
    owners.DIRECTORY: True,
    removed.DIRECTORY: False,
}
"""The directories of records, and whether the catalogue has what is in them."""
MOST_LOST = 0.5
"""Which share of the files may be gone at once, however few that are."""
AT_ONCE = 4
"""How many objects are read at the same time."""
_BATCH = 64
"""How many files a part of the catalogue names that were put there by hand."""
_SETTLED_SECONDS = 300
"""How far apart the store's clock and this server's are, at most, when it gets what this server has just sent."""
_OWN = ".pypiserver/"
_UNLISTED = (catalogues.DIRECTORY, stored_metadata.DIRECTORY, uploads.DIRECTORY)
_log = logging.getLogger("survey")


class Survey:
    """Compares the bucket with the catalogue, and has the catalogue follow."""

    def __init__(  # noqa: PLR0913
        self,
        remote: Remote,
        *,
        catalogue: Catalogue,
        holdings: Holdings,
        listing: Listing,
        unfinished: Unfinished,
        identity: Identity,
        problems: Problems,
    ) -> None:
        """Look at `remote`; `problems` is told of what cannot be read."""
        self._remote = remote
        self._catalogue = catalogue
        self._holdings = holdings
        self._listing = listing
        self._unfinished = unfinished
        self._identity = identity
        self._problems = problems
        self.lost = 0
        """How many listed files the bucket has not, if they are too many to be believed gone."""
        self.unread = 0
        """How many objects wait to be read, since they were put there by hand."""
        self.projects: frozenset[str] | None = None
        """The projects of which the last look found such objects; None before the first."""

    def run(self) -> None:
        """Look once.

        Raises:
            OSError: The store cannot be looked at, or does not take what was found; what is known stays.
        """
        self._identity.verify()
        missing = {entry.path for entry in self._listing}
        missing_records = {directory: set(self._holdings.records(directory)) for directory in SHOWN}
        listed = len(missing)
        to_read: list[Found] = []
        records: list[tuple[str, str]] = []
        for found in self._remote.every(_UNLISTED):
            if found.path.startswith(_OWN):
                directory, _, name = found.path.removeprefix(_OWN).partition("/")
                if directory in SHOWN and name and name not in missing_records[directory]:
                    records.append((directory, name))
                elif directory in SHOWN:
                    missing_records[directory].discard(name)
            elif _is_package(found.path):
                missing.discard(found.path)
                entry = self._listing.at(found.path)
                if found.path not in self._unfinished and (entry is None or self._differs(entry, found)):
                    to_read.append(found)
        self.projects = frozenset(map(_project, to_read))
        if to_read:
            # After the objects: whoever puts one there has said so before, another server too.
            self._unfinished.look()
        # Before the files: who sees a file sees that it is withdrawn.
        self._read_records(records)
        self._read(to_read)
        self._lose(missing, listed)
        for directory, names in missing_records.items():
            self._lose_records(directory, names)

    def _differs(self, entry: Entry, found: Found) -> bool:
        """Whether an object may be another than what is listed."""
        seen = self._holdings.seen(found.path)
        if entry.stamp.size != found.size:
            return True
        if seen is None and abs(found.changed - entry.stamp.mtime_ns // 10**9) <= _SETTLED_SECONDS:
            self._holdings.saw(found.path, found.changed)
            return False
        return seen != found.changed

    def _read(self, objects: Sequence[Found]) -> None:
        self.unread = len(objects)
        if objects:
            _log.info("%d objects are new or have changed, and are read", len(objects))
        with ThreadPoolExecutor(AT_ONCE) as readers:
            for begin in range(0, len(objects), _BATCH):
                batch = objects[begin : begin + _BATCH]
                lines = [self._as_listed(line) for line in readers.map(self._line, batch) if line]
                if lines:
                    self._catalogue.commit(*lines)
                self.unread -= len(batch)

    def _line(self, found: Found) -> File | None:
        """What is to be listed of an object; None if it cannot be read."""
        entry = self._listing.at(found.path)
        if found.path in self._unfinished or (entry and not self._differs(entry, found)):
            # It is being published, or was meanwhile.
            return None
        try:
            content = self._remote.digest(found.path)
            if content.size != found.size:
                # It is being replaced: the next look will tell.
                return None
            if entry and entry.digest == f"sha256={content.sha256}" and entry.core:
                return File(found.path, found.size, found.changed, content.sha256, *entry.core, found.changed)
            if entry:
                _log.warning("%s was replaced in the bucket: it has the sha256 %s now", found.path, content.sha256)
            inside = self._inside(found)
            line = File(
                found.path, found.size, found.changed, content.sha256, *core_of(found.path, inside), found.changed
            )
            if inside is not None and line.metadata:
                self._remote.write(place(found.path), inside)
        except AbsentError:
            return None
        except StoreError as error:
            # Is it that object alone?
            self._remote.find(found.path)
            self._problems.add(CONTENTS, found.path, why(error))
            return None
        self._problems.remove(CONTENTS, found.path)
        return line

    def _as_listed(self, line: File) -> File:
        """The line of a file that may have been published while it was read: it keeps its time."""
        entry = self._listing.at(line.path)
        if entry and entry.digest == f"sha256={line.sha256}":
            return line._replace(changed=entry.stamp.mtime_ns // 10**9)
        return line

    def _inside(self, found: Found) -> bytes | None:
        read = archives.reader(found.path)
        if read is None:
            return None
        try:
            return read(ranges.opened(self._remote, found.path, found.size))
        except archives.ArchiveError as error:
            _log.warning("%s shows no metadata: %s", found.path, error)
            return None

    def _lose(self, missing: Iterable[str], listed: int) -> None:
        """Have those not listed any more that are gone from the bucket, unless that is beyond reason."""
        gone = [path for path in missing if self._listing.at(path)]
        if len(gone) > listed * MOST_LOST:
            if len(gone) != self.lost:
                _log.error(
                    "%d of %d files are not in the bucket any more; they stay listed until they are back, or are"
                    " removed through the registry",
                    len(gone),
                    listed,
                )
            self.lost = len(gone)
            return
        self.lost = 0
        sure = (path for path in gone if self._remote.find(path) is None)
        for batch in _batches(sure):
            _log.warning("%s are not in the bucket any more", ", ".join(batch))
            self._catalogue.commit(*map(Gone, batch))

    def _read_records(self, records: Iterable[tuple[str, str]]) -> None:
        for directory, name in records:
            content = ""
            if SHOWN[directory]:
                try:
                    content = self._remote.read(f"{_OWN}{directory}/{name}", LONGEST_SHOWN).decode("utf-8", "replace")
                except AbsentError:
                    continue
                except StoreError as error:
                    self._problems.add(CONTENTS, f"{_OWN}{directory}/{name}", why(error))
                    # Of a withdrawn version the name says the main thing; whose a project is the next look reads.
                    if directory == owners.DIRECTORY:
                        continue
                else:
                    self._problems.remove(CONTENTS, f"{_OWN}{directory}/{name}")
            self._catalogue.commit(Record(directory, name, content))

    def _lose_records(self, directory: str, names: Iterable[str]) -> None:
        for name in names:
            known = self._holdings.record(directory, name) is not None
            if known and self._remote.find(f"{_OWN}{directory}/{name}") is None:
                self._catalogue.commit(Record(directory, name, None))


def _is_package(path: str) -> bool:
    if any(part.startswith(".") or part == "" for part in path.split("/")):
        return False
    guess = name_and_version(path.rpartition("/")[2])
    return guess is not None and is_reachable(path, guess[0])


def _project(found: Found) -> str:
    guess = name_and_version(found.path.rpartition("/")[2])
    return normalised(guess[0]) if guess else ""


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for path in paths:
        batch.append(path)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
