"""Packages that are not in the cache: fetched from the store, if the server has them listed."""

from __future__ import annotations

import os
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from server.fetching.answers import AwayError
from server.fetching.counters import Counters
from server.fetching.fetches import Order
from server.fetching.listener import BYTES, Reply, Sending

if TYPE_CHECKING:
    from pathlib import Path

    from server.fetching.cache import Cache
    from server.fetching.fetches import Fetches
    from server.store.objects import Objects
    from server.store.stored import Questions, Stored

NAMES = {"requests_total": "Requests to the store for a package, by what came of them."}


class NotListedError(Exception):
    """Nothing is listed under a path."""

    def __init__(self) -> None:
        """Say so as the gateway does."""
        super().__init__("Not found.")


def counters() -> Counters:
    """Counters whose names begin with `pypiserver_fetching_`."""
    return Counters("pypiserver_fetching", NAMES)


def bytes_in(directory: Path) -> int:
    """How many bytes the files in a directory have: uploads that are being received."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total


class Fetcher:
    """Answers to the gateway, which asks for what is not in the cache."""

    def __init__(
        self, questions: Questions, objects: Objects, *, cache: Cache, fetches: Fetches, counters: Counters
    ) -> None:
        """Bring these together."""
        self._questions = questions
        self._objects = objects
        self._cache = cache
        self._fetches = fetches
        self._counters = counters

    def file(self, path: str) -> Sending:
        """A package that is being fetched.

        Raises:
            AwayError: The store does not answer, or the server, who knows what is listed.
            NoRoomError: It is larger than the cache.
            NotListedError: It is not listed.
            OSError: The cache volume does not take it.
            RefusedError: It has just been found to be another file than the one that is listed.
        """
        stored = self._listed(path)
        order = Order(
            self._objects,
            self._objects.url(path),
            sha256=stored.sha256,
            size=stored.size,
            most=stored.size,
            changed=float(stored.mtime),
            is_wanted=lambda: self._is_still(path, stored),
        )
        return Sending(*self._fetches.join(self._cache.files / path, order), order.changed)

    def head(self, path: str) -> Reply:
        """The head of the answer with a package, for which nothing is fetched.

        Raises:
            AwayError: The server, who knows what is listed, does not answer.
            NotListedError: It is not listed.
        """
        stored = self._listed(path)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(stored.size),
            "ETag": f'"{stored.mtime:x}-{stored.size:x}"',
            "Last-Modified": formatdate(stored.mtime, usegmt=True),
        }
        return Reply(HTTPStatus.OK, b"", BYTES["Content-Type"], headers)

    def metrics(self) -> Reply:
        """The metrics."""
        gauges = {
            "cache_bytes": {"": float(self._cache.size)},
            "cache_limit_bytes": {"": float(self._cache.limit)},
            "cache_files": {"": float(self._cache.count)},
        }
        return Reply(HTTPStatus.OK, self._counters.text(gauges).encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _listed(self, path: str) -> Stored:
        stored = self._questions.stored(path)
        if stored is None:
            raise NotListedError
        return stored

    def _is_still(self, path: str, stored: Stored) -> bool:
        try:
            return self._questions.stored(path) == stored
        except AwayError:
            # It is fetched again when it is known to be listed.
            return False
