"""Where packages are: what of it is worth keeping, and what the package volume has in it.

Everything that others see is a record: the packages and their signatures, withdrawn versions, provenance, names that
have become private or somebody's, and the volume's identity. What the server has found out by reading files (`facts-1`)
is a memory, which it fills again; claims, unfinished uploads and the lock are of the moment; a first password is a
secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import quote

from backup.manifest import IDENTITY, OWN
from backup.problems import RunError
from server.index import findings, owners, provenance, removed, reserved, yanks
from server.index.names import name_and_version, normalised
from server.publish.direct import Direct
from server.volume.content import CHUNK, content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backup.manifest import Entry
    from backup.store import Store

RECORDS = (yanks.DIRECTORY, provenance.DIRECTORY, reserved.DIRECTORY, owners.DIRECTORY, removed.DIRECTORY)
"""The directories of `.pypiserver` that are kept, beside the volume's identity."""
_LONGEST_IDENTITY = 100
_READERS = 2


class Seen(NamedTuple):
    """A file on the volume."""

    size: int
    mtime_ns: int


class Source(Protocol):
    """A package volume, or a store that packages are in; it is only read."""

    unread: dict[str, str]
    """What cannot be kept now, and why, by path."""
    lost: frozenset[str]
    """What of that is not there, though it is listed."""

    def identity(self) -> str:
        """What tells it from another, and from an empty place.

        Raises:
            RunError: There is none, so that it is no registry's, or not there.
        """

    def files(self) -> dict[str, Seen]:
        """All files that are kept, by path; those that cannot be looked at are in `unread` afterwards.

        Raises:
            RunError: It cannot be listed.
        """

    def known_digest(self, path: str, seen: Seen) -> str | None:
        """The sha256 that the index shows of a file, None if it has not read the file yet."""

    def digests(self, paths: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """Tell the sha256 of files, None if one is gone or cannot be read; the latter is in `unread` then."""

    def send(self, store: Store, folder: str, files: Mapping[str, str]) -> None:
        """Copy files into a folder of the store; `files` has their paths by the names that they get there.

        Raises:
            RunError: Not all of them could be; what is gone is passed over.
        """

    def proven(self, store: Store, folder: str, files: Mapping[str, Entry]) -> Iterator[str]:
        """Tell the names of the files that the store has now, and that are what they should be.

        Others are in `unread` afterwards.

        Raises:
            RunError: One changed while it was copied, or the store fails.
        """


class Volume:
    """A package volume, which is only read; see Source."""

    lost: frozenset[str] = frozenset()

    def __init__(self, root: Path) -> None:
        """Be about the volume that is mounted at `root`."""
        self.root = root
        self.unread: dict[str, str] = {}
        self._facts: dict[str, dict[str, object]] = {}

    def identity(self) -> str:
        """See Source."""
        try:
            return content(self.root / IDENTITY, _LONGEST_IDENTITY).decode().strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise RunError("volume", f"{self.root} is not the volume of a registry: {IDENTITY}: {why}") from error

    def files(self) -> dict[str, Seen]:
        """See Source."""
        found: dict[str, Seen] = {}
        unfinished = Direct(self.root).unfinished()
        try:
            for path in self._paths(""):
                if path not in unfinished:
                    self._look(path, found)
            for directory in RECORDS:
                if (self.root / OWN / directory).is_dir():
                    for path in self._paths(f"{OWN}{directory}"):
                        self._look(path, found)
        except OSError as error:
            raise RunError("volume", f"the volume cannot be listed: {error}") from error
        self._look(IDENTITY, found)
        return found

    def known_digest(self, path: str, seen: Seen) -> str | None:
        """See Source."""
        guess = name_and_version(path.rpartition("/")[2])
        if path.startswith(OWN) or not guess:
            return None
        row = self._facts_of(normalised(guess[0])).get(path)
        match row:
            case [int(size), int(mtime_ns), str(digest), _] if (size, mtime_ns) == seen and digest.startswith(
                "sha256="
            ):
                return digest.partition("=")[2]
        return None

    def digests(self, paths: Iterable[str]) -> Iterator[tuple[str, str | None]]:
        """See Source: files are read for it."""
        with ThreadPoolExecutor(_READERS) as pool:
            yield from pool.map(self._digest, paths)

    def send(self, store: Store, folder: str, files: Mapping[str, str]) -> None:
        """See Source."""
        if all(name == path for name, path in files.items()):
            store.send(self.root, folder, list(files))
            return
        with tempfile.TemporaryDirectory() as directory:
            for name, path in files.items():
                link = Path(directory, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(self.root / path)
            store.send(Path(directory), folder)

    def proven(self, store: Store, folder: str, files: Mapping[str, Entry]) -> Iterator[str]:
        """See Source: rclone has compared them, with the content that was read before if they have not changed."""
        del store, folder
        for name, entry in files.items():
            status = os.lstat(self.root / entry.path)
            if (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
                raise RunError("changed", f"{entry.path} changed while it was copied")
            yield name

    def _digest(self, path: str) -> tuple[str, str | None]:
        try:
            return path, digest_of(self.root / path)
        except FileNotFoundError:
            return path, None
        except OSError as error:
            self.unread[path] = error.strerror or str(error)
            return path, None

    def _look(self, path: str, found: dict[str, Seen]) -> None:
        try:
            status = os.lstat(self.root / path)
        except FileNotFoundError:
            # Removed since it was listed.
            return
        except OSError as error:
            self.unread[path] = error.strerror or str(error)
            return
        if stat.S_ISREG(status.st_mode):
            found[path] = Seen(status.st_size, status.st_mtime_ns)

    def _paths(self, directory: str) -> Iterator[str]:
        """All paths below a directory, but for hidden ones."""
        waiting = [directory]
        while waiting:
            each = waiting.pop()
            try:
                with os.scandir(self.root / each) as entries:
                    inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            except OSError as error:
                # Every file system of its own has lost+found.
                if each == directory:
                    raise
                if each != "lost+found":
                    self.unread[each] = error.strerror or str(error)
                continue
            for name, is_directory in inside:
                path = f"{each}/{name}" if each else name
                if name.startswith(".") or (is_directory and path == "lost+found"):
                    continue
                if is_directory:
                    waiting.append(path)
                elif _is_nameable(path):
                    yield path
                else:
                    self.unread[path] = "a name that is no line of UTF-8"

    def _facts_of(self, project: str) -> dict[str, object]:
        if project not in self._facts:
            # Files of one project come in a row, mostly.
            rows: object = {}
            path = self.root / OWN / findings.DIRECTORY / f"{quote(project, safe='')}.json"
            with suppress(OSError, ValueError, RecursionError):
                rows = json.loads(content(path, findings.LARGEST))
            self._facts[project] = rows if isinstance(rows, dict) else {}
        return self._facts[project]


def digest_of(path: Path) -> str:
    """The sha256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _is_nameable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\n" not in path and "\r" not in path
