"""Index pages as files, which the gateway serves without asking this server."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import re
import shutil
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from upstream import response

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from listing import Change

_INDEX = ""
_INDEX_RULE = "/simple/"
_PROJECT_RULE = "/simple/:project/"
# Other names (PEP 508 allows none) would need quoting in the gateway's path; they are made for each request.
_PLAIN_NAME = re.compile(r"[a-z0-9-]{1,200}")
_log = logging.getLogger("pages")


class Pages:
    """The page files, and the bottle plugin that keeps each page of pypiserver's as one.

    A page is kept only if nothing it shows has changed since it was begun, and is removed before a change is
    acknowledged: no file is older than what it was made from.
    """

    api = 2  # of bottle's plugins: `apply` gets the route

    def __init__(self, directory: Path) -> None:
        """Empty `directory`: what an earlier process left there may be stale."""
        self._directory = directory
        self._lock = threading.Lock()
        self._moment = 0
        self._stale: dict[str, int] = {}
        self._mtimes: dict[str, int] = {}
        directory.mkdir(parents=True, exist_ok=True)
        self._newest = max((math.ceil(path.stat().st_mtime) for path in directory.glob("**/*.html")), default=0)
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (directory / "projects").mkdir()

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:  # noqa: ANN401 - bottle's interface
        """Keep what the routes of the index answer (bottle's interface for plugins)."""
        if route.method != "GET" or route.rule not in {_INDEX_RULE, _PROJECT_RULE}:
            return callback

        @functools.wraps(callback)
        def kept(*args: str, **fields: str) -> object:
            page = fields.get("project", _INDEX)
            begun = self._moment
            body = callback(*args, **fields)
            if isinstance(body, str) and response.status_code == 200:  # noqa: PLR2004 - HTTP's own number
                self.keep(page, body, begun)
            return body

        return kept

    def drop(self, change: Change) -> None:
        """Remove the pages that a change made stale."""
        with self._lock:
            self._moment += 1
            for page in (*change.projects, *((_INDEX,) if change.names else ())):
                self._stale[page] = self._moment
                if path := self._path(page):
                    path.unlink(missing_ok=True)

    def keep(self, page: str, body: str, begun: int) -> None:
        """Keep a page, unless something it shows has changed since the moment it was begun.

        Its time of change, in whole seconds, is later than that of any earlier page of this name: the gateway makes
        the page's ETag of the time and the size.
        """
        path = self._path(page)
        if path is None:
            return
        temporary = self._directory / f".{uuid.uuid4().hex}"
        try:
            temporary.write_text(body, encoding="utf-8")
            with self._lock:
                if self._stale.get(page, 0) > begun:
                    return
                changed = max(int(time.time()), self._mtimes.get(page, self._newest) + 1)
                os.utime(temporary, (changed, changed))
                temporary.rename(path)
                self._mtimes[page] = changed
        except OSError as error:
            # Without the file the gateway asks this server: slower, and as right.
            _log.warning("the page %s cannot be kept: %s", path.name, error)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _path(self, page: str) -> Path | None:
        if page == _INDEX:
            return self._directory / "index.html"
        return self._directory / "projects" / f"{page}.html" if _PLAIN_NAME.fullmatch(page) else None
