"""The index in memory: which files there are, by directory and by project."""

from __future__ import annotations

import threading
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from server.index import packed
from server.index.blocks import Blocks
from server.index.identity import identity
from server.index.names import name_and_version, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from server.index.packed import Core
    from server.volume.content import Stamp


class Entry:
    """One file of the index."""

    __slots__ = ("_core", "_digest", "_stamp", "change", "directory", "name", "project", "seen")

    def __init__(self, directory: str, name: str, project: str, stamp: Stamp, change: int) -> None:
        """`directory` is relative to the package directory, "" for itself; `change` is the number of a change."""
        self.directory = directory
        self.name = name
        self.project = project
        self._stamp = packed.pack_stamp(stamp)
        self._digest: packed.PackedDigest = None
        self._core: packed.PackedCore = None
        self.change = change
        self.seen: int | None = None
        """When an object store got it, in seconds; None if no listing of the store has told yet."""

    @property
    def path(self) -> str:
        """The path relative to the package directory."""
        return f"{self.directory}/{self.name}" if self.directory else self.name

    @property
    def stamp(self) -> Stamp:
        """What tells its content from another."""
        return packed.unpack_stamp(self._stamp)

    @stamp.setter
    def stamp(self, stamp: Stamp) -> None:
        self._stamp = packed.pack_stamp(stamp)

    @property
    def digest(self) -> str | None:
        """Its digest as a link carries it, None if it is not known yet."""
        return packed.unpack_digest(self._digest)

    @digest.setter
    def digest(self, digest: str | None) -> None:
        self._digest = packed.pack_digest(digest)

    @property
    def core(self) -> Core | None:
        """What is known of its inside, None if nobody has looked yet."""
        return packed.unpack_core(self._core)

    @core.setter
    def core(self, core: Core | None) -> None:
        self._core = packed.pack_core(core)


class Change(NamedTuple):
    """What a change of the listing made stale."""

    projects: frozenset[str]
    """Projects whose files changed."""
    names: bool
    """Whether the set of projects changed."""


class Totals(NamedTuple):
    """What there is in all."""

    files: int
    projects: int
    size: int
    """The bytes of all files."""
    newest_ns: int
    """When the newest file that this process has listed was written; 0 if there was none."""


class Listing:
    """Every file that is listed; all methods may be called from any thread and touch no volume.

    A walk through the volume takes time, and files are published and removed meanwhile. `moment` before the walk and
    `replace` after it make sure that the walk undoes none of that.

    What a request asks for costs the same however many files there are: it is kept as they come and go.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.Lock()
        self._directories: dict[str, dict[str, Entry]] = {}
        self._projects: dict[str, list[Entry]] = {}
        self._changes = 0
        self._births_and_deaths = 0
        self._removed: dict[tuple[str, str], int] = {}
        self._identities: dict[str, dict[str, str]] = {}
        self._project_lines = Blocks()
        self._path_lines = Blocks()
        self._files = 0
        self._size = 0
        self._newest_ns = 0

    def moment(self) -> int:
        """The number of the latest change."""
        with self._lock:
            return self._changes

    def project_lines(self, form: str, line: Callable[[str], str], separator: str) -> str:
        """The lines of all projects, sorted by their normalised names; see Blocks.text."""
        with self._lock:
            return self._project_lines.text(form, line, separator)

    def file_lines(self, form: str, line: Callable[[Entry], str], separator: str) -> str:
        """The lines of all files, sorted by their paths; see Blocks.text."""
        with self._lock:
            return self._path_lines.text(form, lambda path: line(self._entry(path)), separator)

    def of_project(self, project: str) -> list[Entry]:
        """The files of a project, given by any spelling of its name."""
        with self._lock:
            return list(self._projects.get(normalised(project), ()))

    def __iter__(self) -> Iterator[Entry]:
        """All files, as they were when the iteration began."""
        with self._lock:
            every = [entry for files in self._directories.values() for entry in files.values()]
        return iter(every)

    def files(self) -> int:
        """How many files there are."""
        return self.totals().files

    def totals(self) -> Totals:
        """How much there is."""
        with self._lock:
            return Totals(self._files, len(self._projects), self._size, self._newest_ns)

    def twin(self, filename: str) -> str | None:
        """The name of a listed file, in whatever directory, that means the same file as this name; see `identity`."""
        project = normalised((name_and_version(filename) or (filename, ""))[0])
        with self._lock:
            known, entries = self._identities.get(project), self._projects.get(project, [])
            entries = entries if known else entries.copy()
        if known is None:
            # Of a project's files when the first is published to it: that takes a second of a hundred thousand.
            known = {identity(entry.name): entry.name for entry in entries}
            with self._lock:
                now = self._projects.get(project, [])
                known |= {identity(entry.name): entry.name for entry in now[len(entries) :]}
                if now and now[: len(entries)] == entries:
                    self._identities[project] = known
        return known.get(identity(filename))

    def at(self, path: str) -> Entry | None:
        """The entry at a path relative to the package directory."""
        directory, _, name = path.rpartition("/")
        with self._lock:
            return self._directories.get(directory, {}).get(name)

    def know(self, entry: Entry, stamp: Stamp, digest: str) -> None:
        """Remember the digest of a file that had this stamp when it was read."""
        with self._lock:
            if self._directories.get(entry.directory, {}).get(entry.name) is entry:
                # Lists show it.
                self._changes += 1
                self._count(entry.stamp, -1)
                self._count(stamp, 1)
                self._path_lines.renew(entry.path)
            entry.stamp, entry.digest = stamp, digest

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of the file at a path, None if it is not listed."""
        entry = self.at(path)
        return entry.stamp if entry else None

    def directories(self) -> list[str]:
        """The directories that hold listed files."""
        with self._lock:
            return list(self._directories)

    def names(self, directory: str) -> frozenset[str]:
        """The names of the files listed in one directory."""
        with self._lock:
            return frozenset(self._directories.get(directory, ()))

    def add(
        self, directory: str, name: str, stamp: Stamp, digest: str | None = None, core: Core | None = None
    ) -> Change:
        """List a file of which this is known."""
        with self._lock:
            self._changes += 1
            before = self._births_and_deaths
            project = self._put(directory, name, stamp, digest, core)
            return Change(project, before != self._births_and_deaths)

    def remove(self, path: str) -> Change:
        """Do not list a file any more."""
        directory, _, name = path.rpartition("/")
        with self._lock:
            self._changes += 1
            self._removed[directory, name] = self._changes
            before = self._births_and_deaths
            project = self._drop(directory, name)
            return Change(project, before != self._births_and_deaths)

    def replace(self, directory: str, names: Collection[str], stamps: Mapping[str, Stamp], moment: int) -> Change:
        """Take over what a walk found in one directory.

        Args:
            directory: Which directory, relative to the package directory.
            names: Every file in it; listed files of other names are gone.
            stamps: What is known about the files in it; at least about those that are not listed yet.
            moment: What `moment()` said before the walk read the directory.
        """
        with self._lock:
            before = self._births_and_deaths
            known = self._directories.get(directory, {})
            gone = [entry.name for entry in known.values() if entry.name not in names and entry.change <= moment]
            changed = set[str]().union(*(self._drop(directory, name) for name in gone))
            for name, stamp in stamps.items():
                entry = known.get(name)
                if entry is None and self._removed.get((directory, name), 0) <= moment:
                    changed |= self._put(directory, name, stamp)
                elif entry and entry.stamp != stamp and entry.change <= moment:
                    self._count(entry.stamp, -1)
                    self._count(stamp, 1)
                    entry.stamp, entry.digest, entry.core = stamp, None, None
                    self._path_lines.renew(entry.path)
                    changed.add(entry.project)
            self._removed = {place: change for place, change in self._removed.items() if change > moment}
            return Change(frozenset(changed), before != self._births_and_deaths)

    def _put(
        self, directory: str, name: str, stamp: Stamp, digest: str | None = None, core: Core | None = None
    ) -> frozenset[str]:
        guess = name_and_version(name)
        if guess is None:
            return frozenset()
        self._drop(directory, name)
        project = normalised(guess[0])
        if project not in self._projects:
            self._births_and_deaths += 1
            self._project_lines.add(project)
        files = self._projects.setdefault(project, [])
        # One text for all files of a project, and for all of a directory, instead of one each.
        shared = files[0].project if files else project
        entry = Entry(intern(directory), name, shared, stamp, self._changes)
        entry.digest, entry.core = digest, core
        files.append(entry)
        self._directories.setdefault(directory, {})[name] = entry
        if project in self._identities:
            self._identities[project][identity(name)] = name
        self._path_lines.add(entry.path)
        self._files += 1
        self._count(stamp, 1)
        return frozenset({project})

    def _drop(self, directory: str, name: str) -> frozenset[str]:
        files = self._directories.get(directory, {})
        entry = files.pop(name, None)
        if entry is None:
            return frozenset()
        if not files:
            del self._directories[directory]
        self._path_lines.remove(entry.path)
        self._files -= 1
        self._count(entry.stamp, -1)
        self._identities.pop(entry.project, None)
        of_project = self._projects[entry.project]
        of_project.remove(entry)
        if not of_project:
            del self._projects[entry.project]
            self._project_lines.remove(entry.project)
            self._births_and_deaths += 1
        return frozenset({entry.project})

    def _count(self, stamp: Stamp, factor: int) -> None:
        self._size += factor * stamp.size
        self._newest_ns = max(self._newest_ns, stamp.mtime_ns)

    def _entry(self, path: str) -> Entry:
        directory, _, name = path.rpartition("/")
        return self._directories[directory][name]
