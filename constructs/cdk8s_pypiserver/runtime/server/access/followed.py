"""A file of a mounted Secret or ConfigMap, read again whenever it has changed."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_Content = TypeVar("_Content")
_log = logging.getLogger("credentials")


class Followed(Generic[_Content]):
    """What a file says now; any number of threads may ask."""

    def __init__(self, path: Path, read: Callable[[str], _Content]) -> None:
        """Read `path` with `read`; what is missing, or cannot be read, is an empty text."""
        self.path = path
        self._read = read
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._content = read("")

    @property
    def present(self) -> bool:
        """Whether there is such a file."""
        return self.path.exists()

    def now(self) -> _Content:
        """What it says."""
        with self._lock:
            try:
                # The kubelet changes a mounted Secret by swapping a symbolic link, which stat follows.
                status = self.path.stat()
                seen = status.st_ino, status.st_mtime_ns, status.st_size
                if seen != self._seen:
                    self._content = self._read(self.path.read_text("utf-8", "replace"))
                    self._seen = seen
            except FileNotFoundError:
                self._content, self._seen = self._read(""), None
            except OSError:
                _log.exception("%s cannot be read; nobody in it is let in", self.path)
                self._content, self._seen = self._read(""), None
            return self._content
