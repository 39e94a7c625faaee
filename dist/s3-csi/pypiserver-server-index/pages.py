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
    from collections.abc import Callable
    from pathlib import Path

    from server.index.listing import Change, Entry
    from server.volume.content import Stamp

ROOM_FOR_METADATA = 256 * 2**20
"""How many bytes kept METADATA takes, of the 1 GiB that the directory's volume may hold; the rest is made anew."""
ROOM_FOR_PAGES = 640 * 2**20
"""How many bytes kept pages take: a pod whose volume outgrows its limit is evicted."""
INDEX = ""
"""The name of the page that lists the projects; the others have the name of theirs."""
_SUFFIXES = (".html", ".json")
_PLACES = ("projects", "filtered")
_BLOCK = 4096
"""What a file takes at least, and by how much it grows."""
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
        self._times: dict[Path, int] = {}
        self._sizes: dict[Path, int] = {}
        self._room = ROOM_FOR_PAGES
        self._stamp = stamp
        self._metadata: dict[str, dict[str, tuple[Stamp, int]]] = {}
        self._room_for_metadata = ROOM_FOR_METADATA
        self._newest = 0
        self._failing = False
        self._stuck: set[Path] = set()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._newest = max((math.ceil(path.stat().st_mtime) for path in directory.rglob("*.*")), default=0)
            self._stuck = {path for path in directory.iterdir() if not _removed(path)}
        except OSError as error:
            # Nothing is kept there, and the gateway asks this server.
            self._warn(error)

    @property
    def moment(self) -> int:
        """The number of the latest change, for `keep`."""
        return self._moment

    def problem(self) -> str | None:
        """Why readers may be shown what is stale: pages of a volume that lets go of none; None if they may not."""
        with self._lock:
            self._stuck = {path for path in self._stuck if not _removed(path)}
            return "Index pages that are stale cannot be removed" if self._stuck else None

    def drop(self, change: Change) -> None:
        """Remove the pages that a change made stale; for those that cannot be, there is a `problem`."""
        with self._lock:
            self._moment += 1
            for page in (*change.projects, *((INDEX,) if change.names else ())):
                self._stale[page] = self._moment
                for path in (self._path(page, suffix, place) for suffix in _SUFFIXES for place in _PLACES):
                    if path:
                        self._room += self._sizes.pop(path, 0)
                        self._remove(path)
                self._drop_metadata(page)

    def keep(  # noqa: PLR0913
        self, page: str, body: str, begun: int, suffix: str = ".html", *, filtered: bool = False, spared: int = 0
    ) -> None:
        """Keep a page, unless something it shows has changed since the moment it was begun.

        A `filtered` one has a place of its own, by which the gateway tells that it does not show all there is.

        Its time of change, in whole seconds, is later than that of any earlier page of this name: the gateway makes
        the page's ETag of the time and the size. So many bytes of the room are `spared` for other pages.
        """
        path, content = self._path(page, suffix, "filtered" if filtered else "projects"), body.encode()
        if path is None:
            return
        size = _room_of(content)

        def is_wanted() -> bool:
            return self._stale.get(page, 0) <= begun and size + spared <= self._room + self._sizes.get(path, 0)

        def is_kept() -> None:
            self._room += self._sizes.get(path, 0) - size
            self._sizes[path] = size

        self._put(path, content, is_wanted, is_kept)

    def keep_metadata(self, entry: Entry, content: bytes, stamp: Stamp, *, spared: int = 0) -> None:
        """Keep the METADATA of a wheel, read when the wheel had this stamp, for as long as it has.

        Args:
            entry: The wheel.
            content: Its METADATA.
            stamp: Its stamp then.
            spared: How much of the room stays free.
        """
        size = _room_of(content)

        def is_wanted() -> bool:
            kept = self._metadata.get(entry.project, {})
            return (
                entry.path not in kept and size <= self._room_for_metadata - spared and self._stamp(entry.path) == stamp
            )

        def is_kept() -> None:
            self._room_for_metadata -= size
            self._metadata.setdefault(entry.project, {})[entry.path] = stamp, size

        self._put(self._metadata_path(entry.path), content, is_wanted, is_kept)

    def keep_new_metadata(self, entry: Entry, content: bytes, stamp: Stamp) -> None:
        """The same for a wheel that has just been published, of which nobody may ever ask: if there is much room."""
        self.keep_metadata(entry, content, stamp, spared=ROOM_FOR_METADATA // 2)

    def _drop_metadata(self, project: str) -> None:
        kept = self._metadata.get(project, {})
        for path, (stamp, size) in list(kept.items()):
            if self._stamp(path) != stamp:
                self._remove(self._metadata_path(path))
                self._room_for_metadata += size
                del kept[path]

    def _put(self, path: Path, content: bytes, is_wanted: Callable[[], bool], is_kept: Callable[[], None]) -> None:
        """Write a file, and give it its name if it is wanted then; both are asked and told under the lock."""
        temporary = self._directory / f".{uuid.uuid4().hex}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            with self._lock:
                if is_wanted():
                    changed = max(int(time.time()), self._times.get(path, self._newest) + 1)
                    os.utime(temporary, (changed, changed))
                    temporary.rename(path)
                    self._times[path] = changed
                    is_kept()
            self._failing = False
        except OSError as error:
            # Without the file the gateway asks this server: slower, and as right.
            self._warn(error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _remove(self, path: Path) -> None:
        if not _removed(path):
            self._stuck.add(path)

    def _warn(self, error: OSError) -> None:
        # Of a volume that is full every request would say the same.
        if not self._failing:
            _log.warning("pages cannot be kept, and are made anew for each request: %s", error)
        self._failing = True

    def _metadata_path(self, path: str) -> Path:
        return self._directory / "metadata" / f"{path}.metadata"

    def _path(self, page: str, suffix: str, place: str) -> Path | None:
        if page == INDEX:
            return self._directory / f"index{suffix}"
        return self._directory / place / f"{page}{suffix}" if _PLAIN_NAME.fullmatch(page) else None


def _room_of(content: bytes) -> int:
    """How many bytes of the volume a file with this content takes."""
    return -(-len(content) // _BLOCK) * _BLOCK


def _removed(path: Path) -> bool:
    """Whether there is nothing at a path any more."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return True
