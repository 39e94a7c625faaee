"""Index pages as files, which the gateway serves without asking this server."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import shutil
import threading
import time
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.index.listing import Change, Entry
    from server.volume.content import Stamp

ROOM_FOR_METADATA = 256 * 2**20
"""How many bytes of METADATA are kept, of the 1 GiB that the directory's volume may hold; the rest is made anew."""
INDEX = ""
"""The name of the page that lists the projects; the others have the name of theirs."""
_SUFFIXES = (".html", ".json")
# Other names (PEP 508 allows none) would need quoting in the gateway's path; they are made for each request.
_PLAIN_NAME = re.compile(r"[a-z0-9-]{1,200}")
_log = logging.getLogger("pages")


class Pages:
    """The page files.

    A page is kept only if nothing it shows has changed since it was begun, and is removed before a change is
    acknowledged: no file is older than what it was made from.
    """

    def __init__(self, directory: Path, stamp: Callable[[str], Stamp | None] = lambda _: None) -> None:
        """Empty `directory`: what an earlier process left there may be stale.

        `stamp` says what tells the content of the package at a path, which the METADATA that is kept comes from.
        """
        self._directory = directory
        self._lock = threading.Lock()
        self._moment = 0
        self._stale: dict[str, int] = {}
        self._mtimes: dict[Path, int] = {}
        self._stamp = stamp
        self._metadata: dict[str, dict[str, tuple[Stamp, int]]] = {}
        self._room = ROOM_FOR_METADATA
        directory.mkdir(parents=True, exist_ok=True)
        self._newest = max((math.ceil(path.stat().st_mtime) for path in directory.rglob("*.*")), default=0)
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (directory / "projects").mkdir()

    @property
    def moment(self) -> int:
        """The number of the latest change, for `keep`."""
        return self._moment

    def drop(self, change: Change) -> None:
        """Remove the pages that a change made stale."""
        with self._lock:
            self._moment += 1
            for page in (*change.projects, *((INDEX,) if change.names else ())):
                self._stale[page] = self._moment
                for path in (self._path(page, suffix) for suffix in _SUFFIXES):
                    if path:
                        path.unlink(missing_ok=True)
                self._drop_metadata(page)

    def keep(self, page: str, body: str, begun: int, suffix: str = ".html") -> None:
        """Keep a page, unless something it shows has changed since the moment it was begun.

        Its time of change, in whole seconds, is later than that of any earlier page of this name: the gateway makes
        the page's ETag of the time and the size.
        """
        if path := self._path(page, suffix):
            with self._placed(path, body.encode()) as place, self._lock:
                if self._stale.get(page, 0) <= begun:
                    place()

    def keep_metadata(self, entry: Entry, content: bytes, stamp: Stamp) -> None:
        """Keep the METADATA of a wheel, read when the wheel had this stamp, for as long as it has."""
        with self._placed(self._metadata_path(entry.path), content) as place, self._lock:
            kept = self._metadata.setdefault(entry.project, {})
            if entry.path not in kept and len(content) <= self._room and self._stamp(entry.path) == stamp:
                place()
                self._room -= len(content)
                kept[entry.path] = stamp, len(content)

    def _drop_metadata(self, project: str) -> None:
        kept = self._metadata.get(project, {})
        for path, (stamp, size) in list(kept.items()):
            if self._stamp(path) != stamp:
                self._metadata_path(path).unlink(missing_ok=True)
                self._room += size
                del kept[path]

    @contextlib.contextmanager
    def _placed(self, path: Path, content: bytes) -> Iterator[Callable[[], None]]:
        """Write a file under another name; what is yielded gives it its own."""
        temporary = self._directory / f".{uuid.uuid4().hex}"

        def place() -> None:
            changed = max(int(time.time()), self._mtimes.get(path, self._newest) + 1)
            os.utime(temporary, (changed, changed))
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(path)
            self._mtimes[path] = changed

        try:
            temporary.write_bytes(content)
            yield place
        except OSError as error:
            # Without the file the gateway asks this server: slower, and as right.
            _log.warning("the page %s cannot be kept: %s", path.name, error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _metadata_path(self, path: str) -> Path:
        return self._directory / "metadata" / f"{path}.metadata"

    def _path(self, page: str, suffix: str) -> Path | None:
        if page == INDEX:
            return self._directory / f"index{suffix}"
        return self._directory / "projects" / f"{page}{suffix}" if _PLAIN_NAME.fullmatch(page) else None
