"""What the index says about the inside of a file: METADATA of wheels, PKG-INFO of source distributions."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import tarfile
import threading
import zipfile
from email.parser import BytesHeaderParser
from sys import intern
from typing import TYPE_CHECKING, BinaryIO

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from server.http.errors import unavailable
from server.index.listing import Core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.index.listing import Entry, Stamp

LARGEST = 2 * 2**20
"""How many bytes METADATA may have; the largest on PyPI have some hundred thousand."""
MOST_READ = 8 * 2**20
"""How many bytes are read of a file in search of it: a hostile archive may have a directory of any size."""
_LOCKS = 64
_log = logging.getLogger("metadata")


class Bounded(io.RawIOBase):
    """A file of which no more than MOST_READ bytes can be read, and which remembers that the volume failed."""

    def __init__(self, file: BinaryIO) -> None:
        """Read from `file`."""
        super().__init__()
        self._file = file
        self._left = MOST_READ
        self.failure: OSError | None = None

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes.

        Raises:
            ValueError: It would be too many.
        """
        if size < 0 or size > self._left:
            size = self._left + 1
        try:
            content = self._file.read(size)
        except OSError as error:
            self.failure = error
            raise
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("the archive does not show its metadata within the first bytes")
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True


class Metadata:
    """What the files on the volume say about themselves; each is read once, also if many ask at the same time."""

    def __init__(
        self,
        root: Path,
        problem: Callable[[], str | None],
        recall: Callable[[Entry], None] = lambda _: None,
        found: Callable[[Entry, bytes, Stamp], None] = lambda *_: None,
    ) -> None:
        """Read below `root`, unless `problem` says that it does not answer; `recall` may know what was read before.

        `found` is given the METADATA of wheels, to keep it.
        """
        self._root = root
        self._problem = problem
        self._recall = recall
        self._found = found
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, entry: Entry) -> Core:
        """What the index says about a listed file, remembered in its entry.

        Raises:
            HTTPError: 503, the volume cannot be read.
        """
        if entry.core is None:
            with self._locks[hash(entry.project) % _LOCKS]:
                if entry.core is None and not self._problem():
                    self._recall(entry)
                if entry.core is None:
                    entry.core = _core(entry.name, self.content(entry))
        return entry.core

    def content(self, entry: Entry) -> bytes | None:
        """METADATA or PKG-INFO as it is in the file; None if there is none, or the file is broken or gone.

        Raises:
            HTTPError: 503, the volume cannot be read.
        """
        read = _reader(entry.name)
        if read is None:
            return None
        if problem := self._problem():
            raise unavailable(problem)
        try:
            stamp = entry.stamp
            with (self._root / entry.path).open("rb") as file:
                content = _read(read, file, entry.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(f"{entry.path} cannot be read: {error.strerror or error}") from error
        if content is not None and entry.name.endswith(".whl"):
            self._found(entry, content, stamp)
        return content


def _read(read: Callable[[BinaryIO], bytes | None], file: BinaryIO, path: str) -> bytes | None:
    bounded = Bounded(file)
    try:
        return read(bounded)  # type: ignore[arg-type] # of BinaryIO it has what the archives' modules use
    except Exception as error:  # a broken archive makes zipfile, tarfile and zlib raise almost anything
        if bounded.failure:
            raise bounded.failure from error
        _log.warning("%s shows no metadata: %s", path, error)
        return None


def _core(name: str, content: bytes | None) -> Core:
    if content is None:
        return Core(None, None)
    digest = hashlib.sha256(content).hexdigest() if name.endswith(".whl") else None
    requires = BytesHeaderParser().parsebytes(content).get("Requires-Python")
    try:
        requires = intern(str(requires).strip()) if requires else None
        SpecifierSet(requires or "")
    except InvalidSpecifier:
        # One that cannot be read would hide the file from some clients.
        requires = None
    return Core(digest, requires or None)


def _reader(name: str) -> Callable[[BinaryIO], bytes | None] | None:
    if name.endswith(".whl"):
        return _of_wheel
    return _of_sdist if name.endswith((".tar.gz", ".tgz")) else None


def _of_wheel(file: BinaryIO) -> bytes | None:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if _is_member(name, ".dist-info", "METADATA")]
        if len(names) != 1:
            return None
        with archive.open(names[0]) as member:
            content = member.read(LARGEST + 1)
    return content if len(content) <= LARGEST else None


def _of_sdist(file: BinaryIO) -> bytes | None:
    # The unpacked bytes are bounded too, whatever a few packed ones grow to.
    unpacked = Bounded(gzip.GzipFile(fileobj=file))  # type: ignore[arg-type] # as above
    with tarfile.open(fileobj=unpacked, mode="r|") as archive:
        for member in archive:
            if member.isfile() and member.size <= LARGEST and _is_member(member.name, "", "PKG-INFO"):
                content = archive.extractfile(member)
                return content.read() if content else None
    return None


def _is_member(path: str, directory_suffix: str, name: str) -> bool:
    directory, _, last = path.partition("/")
    return last == name and directory.endswith(directory_suffix)
