"""What the index says about the inside of a file: METADATA of wheels, PKG-INFO of source distributions."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from contextlib import suppress
from sys import intern
from typing import TYPE_CHECKING, BinaryIO, Protocol

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from server.http.bottle import HTTPError
from server.http.errors import RefusedError, unavailable
from server.index import archives
from server.index.packed import Core
from server.volume.content import check_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.index.listing import Entry
    from server.volume.content import Stamp

LONGEST_REQUIREMENT = 1000
"""How many characters Requires-Python may have: whoever reads the index compares it with a version, for each file."""
AT_ONCE = 2
"""How many archives are read at the same time: one that is made to be slow takes the interpreter from everybody."""
_LOCKS = 64
_HEADER = b"\nrequires-python:"
_FOLDED = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*")
_log = logging.getLogger("metadata")
_reading = threading.Semaphore(AT_ONCE)


class Insides(Protocol):
    """What knows the inside of listed files."""

    def readable(self, entry: Entry) -> Core | None:
        """What the index says about a file, None if it cannot be found out now.

        Raises:
            HTTPError: 503, nothing can be found out.
        """

    def content(self, entry: Entry) -> bytes | None:
        """METADATA or PKG-INFO as it is in a file; None if there is none, or the file is broken or gone.

        Raises:
            HTTPError: 503, it cannot be read now.
            OSError: The same.
        """


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
                    entry.core = core_of(entry.name, self.content(entry))
        return entry.core

    def readable(self, entry: Entry) -> Core | None:
        """See Insides."""
        try:
            return self.of(entry)
        except HTTPError:
            if problem := self._problem():
                raise unavailable(problem) from None
            return None

    def content(self, entry: Entry) -> bytes | None:
        """See Insides."""
        read = archives.reader(entry.name)
        if read is None:
            return None
        stamp = entry.stamp
        try:
            with _reading:
                if problem := self._problem():
                    raise unavailable(problem)
                check_file(self._root / entry.path)
                with (self._root / entry.path).open("rb") as file:
                    content = read(file)
        except FileNotFoundError:
            return None
        except archives.ArchiveError as error:
            _log.warning("%s shows no metadata: %s", entry.path, error)
            return None
        except OSError as error:
            raise unavailable(f"{entry.path} cannot be read: {error.strerror or error}") from error
        if content is not None and entry.name.endswith(".whl"):
            self._found(entry, content, stamp)
        return content


def inside(filename: str, file: BinaryIO) -> bytes | None:
    """METADATA or PKG-INFO of an archive that is being uploaded; None if it shows none.

    Raises:
        RefusedError: Its Requires-Python is longer than any that means something.
        OSError: The file cannot be read.
    """
    content = None
    if read := archives.reader(filename):
        # A broken one is listed without what it would say.
        with _reading, suppress(archives.ArchiveError):
            content = read(file)
    if content and len(_requires_python(content)) > LONGEST_REQUIREMENT:
        raise RefusedError(f"Requires-Python has more than {LONGEST_REQUIREMENT} characters")
    return content


def _requires_python(content: bytes) -> str:
    # Only this header is looked for, by the fastest there is: there may be as many others as fit.
    headers = b"\n" + content.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    begin = headers.lower().find(_HEADER)
    found = _FOLDED.match(headers, begin + len(_HEADER)) if begin >= 0 else None
    return " ".join(found[0].decode("utf-8", "replace").split()) if found else ""


def _understood(text: str) -> str | None:
    if not text or len(text) > LONGEST_REQUIREMENT:
        return None
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        # One that cannot be read would hide the file from some clients.
        return None
    return intern(text)


def core_of(name: str, content: bytes | None) -> Core:
    """What the index says about a file of this name, in which this METADATA or PKG-INFO was found."""
    if content is None:
        return Core(None, None)
    digest = hashlib.sha256(content).hexdigest() if name.endswith(".whl") else None
    return Core(digest, _understood(_requires_python(content)))
