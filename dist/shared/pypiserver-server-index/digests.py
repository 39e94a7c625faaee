"""Digests of what is found on the volume, taken once."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

from server.http.errors import unavailable
from server.volume.content import CHUNK, Stamp, check_file
from server.volume.problems import CONTENTS, Problems, why

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.index.listing import Entry

ALGORITHM = "sha256"
_LOCKS = 64


class Digests:
    """Digests of files on the volume; each content is read once, also if many ask at the same time."""

    def __init__(
        self,
        root: Path,
        problem: Callable[[], str | None],
        know: Callable[[Entry, Stamp, str], None],
        recall: Callable[[Entry], None] = lambda _: None,
        problems: Problems | None = None,
    ) -> None:
        """Read below `root`, unless `problem` says that it does not answer.

        `know` remembers a digest in its entry; `recall` may know what was read by an earlier process; `problems` is
        told of files that cannot be read.
        """
        self._problems = problems or Problems()
        self._root = root
        self._problem = problem
        self._recall = recall
        self._know = know
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, entry: Entry) -> str | None:
        """The digest of a listed file, remembered in its entry; None if the file is gone or cannot be read.

        Raises:
            HTTPError: 503, the volume as a whole cannot be read.
        """
        if entry.digest is None:
            with self._locks[hash(entry.path) % _LOCKS]:
                if entry.digest is None:
                    self._find(entry)
        return entry.digest

    def _find(self, entry: Entry) -> None:
        if problem := self._problem():
            raise unavailable(problem)
        self._recall(entry)
        stamp, digest = entry.stamp, entry.digest
        if digest is None:
            try:
                stamp, digest = self._read(entry)
            except FileNotFoundError:
                self._problems.remove(CONTENTS, entry.path)
                return
            except OSError as error:
                if not self._answers():
                    raise unavailable(f"{entry.path} cannot be read: {why(error)}") from error
                self._problems.add(CONTENTS, entry.path, why(error))
                return
            self._problems.remove(CONTENTS, entry.path)
        self._know(entry, stamp, digest)

    def _answers(self) -> bool:
        """Whether it is that file alone."""
        try:
            with os.scandir(self._root) as entries:
                next(entries, None)
        except OSError:
            return False
        return True

    def _read(self, entry: Entry) -> tuple[Stamp, str]:
        digest = hashlib.new(ALGORITHM)
        check_file(self._root / entry.path)
        with (self._root / entry.path).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            status = os.fstat(file.fileno())
        return Stamp(status.st_size, status.st_mtime_ns), f"{ALGORITHM}={digest.hexdigest()}"
