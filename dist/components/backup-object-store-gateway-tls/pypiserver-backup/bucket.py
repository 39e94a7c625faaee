"""A registry's packages in a store, where its catalogue says what they are.

Only what the catalogue names is a package: an object of such a name that it does not name is an upload that came to no
end, or has not been looked at yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backup.manifest import IDENTITY, OWN
from backup.problems import RunError
from backup.source import RECORDS, Seen
from backup.store import Store
from server.index.listing import Listing
from server.index.names import name_and_version
from server.store.catalogue import DIRECTORY as CATALOGUE
from server.store.catalogue import Catalogue
from server.store.holdings import Holdings
from server.store.metadata import DIRECTORY as METADATA
from server.store.problems import AbsentError
from server.store.rows import File
from server.store.unfinished import DIRECTORY as UPLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from backup.manifest import Entry
    from server.store.remote import Remote

_UNKEPT = (CATALOGUE, METADATA, UPLOADS)
_LONGEST_IDENTITY = 100
_ASKED = 1000
"""Of so many listed files that a listing of the store lacks each is asked for: it may have come meanwhile."""
_log = logging.getLogger("bucket")


def catalogue_of(remote: Remote, cache: Path) -> tuple[Catalogue, Holdings]:
    """The catalogue of a store, and what it says; nothing has been read yet."""
    holdings = Holdings(cache, Listing(), lambda _: None)
    return Catalogue(remote, holdings, "a restore"), holdings


class Bucket:
    """A registry's place in a store, which is only read; see Source."""

    def __init__(
        self, place: str, remote: Remote, cache: Path, *, program: str = "rclone", bandwidth: str = ""
    ) -> None:
        """Be about a place.

        Args:
            place: What rclone calls it.
            remote: Its objects.
            cache: An empty directory.
            program: rclone.
            bandwidth: What is read at most, as rclone's --bwlimit.
        """
        self.place = place
        self.remote = remote
        self._cache = cache
        self._read = Store(place, program=program, bandwidth=bandwidth)
        self.unread: dict[str, str] = {}
        self.lost: frozenset[str] = frozenset()
        self._known: dict[str, str] = {}

    def identity(self) -> str:
        """See Source."""
        try:
            return self.remote.read(IDENTITY, _LONGEST_IDENTITY).decode().strip()
        except AbsentError:
            raise RunError("volume", f"{self.place} is not the place of a registry: there is no {IDENTITY}") from None

    def files(self) -> dict[str, Seen]:
        """See Source."""
        there = {found.path: found for found in self.remote.every(_UNKEPT)}
        # After the objects: what is published meanwhile is named, and asked for.
        catalogue, holdings = catalogue_of(self.remote, self._cache)
        catalogue.load()
        files = [line for line in holdings.lines() if isinstance(line, File)]
        absent = [line.path for line in files if line.path not in there]
        if len(absent) <= _ASKED:
            there |= {path: found for path in absent if (found := self.remote.find(path))}
        seen: dict[str, Seen] = {}
        for line in files:
            found = there.get(line.path)
            if found is None:
                self.unread[line.path] = "it is listed, and the store has it not"
            elif found.size != line.size:
                self.unread[line.path] = f"the store has {found.size} bytes of it, and the catalogue says {line.size}"
            else:
                seen[line.path] = Seen(line.size, line.changed * 10**9)
                self._known[line.path] = line.sha256
        self.lost = frozenset(path for path in absent if path not in there)
        kept = {path: Seen(found.size, found.changed * 10**9) for path, found in there.items() if _is_kept(path)}
        if unlisted := sum(path not in self._known and _is_package(path) for path in there):
            _log.info("%d objects that the registry does not list are left out", unlisted)
        return seen | kept

    def known_digest(self, path: str, seen: Seen) -> str | None:
        """See Source: the catalogue has that of every package."""
        del seen
        return self._known.get(path)

    def digests(self, paths: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """See Source: what the catalogue does not name is read."""
        paths = list(paths)
        read = self._read.digests("", [path for path in paths if path not in self._known])
        for path in paths:
            yield path, self._known.get(path) or read.get(path)

    def send(self, store: Store, folder: str, files: Mapping[str, str]) -> None:
        """See Source."""
        alike = [name for name, path in files.items() if name == path]
        if alike:
            store.take(self.place, folder, alike)
        for name, path in files.items():
            if name != path:
                # versions/<sha256>/<path>
                store.take(self.place, f"{folder}/{name.removesuffix(f'/{path}')}", [path])

    def proven(self, store: Store, folder: str, files: Mapping[str, Entry]) -> Iterator[str]:
        """See Source: what came is read back, since nobody here has seen it."""
        found = store.digests(folder, list(files))
        for name, entry in files.items():
            if found.get(name) == entry.sha256:
                yield name
            else:
                self.unread[entry.path] = f"its copy has the sha256 {found.get(name)}, and it should be {entry.sha256}"


def _is_kept(path: str) -> bool:
    """Whether an object is kept that the catalogue does not name: a record, a signature, or whatever is no package."""
    if path.startswith(OWN):
        return path == IDENTITY or path.startswith(tuple(f"{OWN}{directory}/" for directory in RECORDS))
    return not _is_hidden(path) and not _is_package(path)


def _is_package(path: str) -> bool:
    return not _is_hidden(path) and name_and_version(path.rpartition("/")[2]) is not None


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or not part for part in path.split("/"))
