"""Files on their way: fetched once, sent to all who ask as they come, verified before they are whole."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from server.fetching.answers import AwayError, RefusedError
from server.fetching.cache import NoRoomError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from server.fetching.answers import Answer
    from server.fetching.cache import Cache
    from server.fetching.counters import Counters

CHUNK = 2**18
ATTEMPTS = 4
"""How often a file that breaks off is asked for, each time from where it broke off."""
PAUSE_SECONDS = 1.0
MOST_FETCHES = 32
"""Files that are fetched at once; others wait."""
PATIENCE_SECONDS = 50.0
"""How long a client waits for the beginning of a file."""
LONGEST_PAUSE_SECONDS = 10.0
MOST_RUNNING = 512
"""Files that are fetched or wait for it: each keeps a thread and a descriptor, though its client may have gone."""
STEP = 16 * CHUNK
"""How much room is made at a time for a file of unknown size."""
SLOWEST = 4096
"""Bytes a second; what comes more slowly over all of PACE_SECONDS is given up."""
PACE_SECONDS = 60.0
REFUSED_SECONDS = 60.0
"""How long it is remembered that a file is not what it should be: to know, all of it has to be fetched."""
MOST_REFUSED = 1000
LONGEST_NUMBER = 18
RESULTS = ("kept", "failed", "refused")
_log = logging.getLogger("fetching")


class Fetch:
    """One file that is being fetched."""

    def __init__(self, descriptor: int, size: int | None) -> None:
        """Into the file behind `descriptor`, of this size or None if it is not known yet."""
        self.descriptor = descriptor
        self.size = size
        self.count = 0
        """How many bytes have come."""
        self._news = threading.Condition()
        self._verified = False
        self._error: Exception | None = None

    def wait_for_beginning(self) -> None:
        """Return when the first bytes are there.

        Raises:
            AwayError: Nobody answers.
            NoRoomError: The cache cannot take it.
            RefusedError: It is not what it should be.
        """
        with self._news:
            if not self._news.wait_for(lambda: self.count or self._error or self._verified, PATIENCE_SECONDS):
                raise AwayError("Nothing has come of the file")
            if self._error:
                raise self._error

    def available(self, offset: int) -> int:
        """How many bytes there are from an offset on, of which there is at least one; 0 at the end.

        The last byte is there when all are verified: no client ever has a whole file that is not what it should be.

        Raises:
            AwayError: It has broken off.
            RefusedError: It is not what it should be.
        """
        with self._news:
            while True:
                end = self.count if self._verified else self.count - 1
                if end > offset or self._verified:
                    return end - offset
                if self._error:
                    raise self._error
                self._news.wait()

    def received(self, count: int) -> None:
        """Tell that this many more bytes are there."""
        with self._news:
            self.count += count
            self._news.notify_all()

    def end(self, error: Exception | None) -> None:
        """Tell that it is whole and verified, or why it never will be."""
        with self._news:
            self._verified, self._error = self._verified or error is None, error
            if self.size is None:
                self.size = self.count
            self._news.notify_all()


class Source(Protocol):
    """Where a file comes from."""

    def answer(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Answer]:
        """The answer to a GET.

        Raises:
            AwayError: There is none, or one that says to come again later.
            RefusedError: It is not one of a file.
        """


class Order(NamedTuple):
    """What is to be fetched."""

    source: Source
    url: str
    sha256: str
    size: int | None
    """What is known of it."""
    most: int
    """How many bytes it may have, where its size is not known."""
    changed: float
    """The time of change that it gets."""
    is_wanted: Callable[[], bool] = lambda: True
    """Asked before the file gets its name, and after: one that was withdrawn while it came has none."""


_Key: TypeAlias = "tuple[Path, str]"
"""Where a file is kept, and its sha256: one may take another's place."""


class Fetches:
    """The files that are being fetched."""

    def __init__(self, cache: Cache, counters: Counters) -> None:
        """Keep what was fetched in `cache`."""
        self._cache = cache
        self._counters = counters
        self._lock = threading.Lock()
        self._running: dict[_Key, Fetch] = {}
        self._refused: dict[_Key, tuple[float, RefusedError]] = {}
        self._places = threading.BoundedSemaphore(MOST_FETCHES)
        for result in RESULTS:
            counters.add("fetches_total", 0, result=result)

    def join(self, final: Path, order: Order) -> tuple[Fetch, int]:
        """The fetch of a file, begun if nobody else has, and a descriptor of what is there, which the caller closes.

        Raises:
            AwayError: Too many others are being fetched.
            OSError: The cache volume does not take it.
            RefusedError: It has just been refused.
        """
        key = final, order.sha256
        with self._lock:
            with contextlib.suppress(FileNotFoundError):
                # It came while the gateway asked.
                descriptor = os.open(final, os.O_RDONLY)
                if order.size in {None, os.fstat(descriptor).st_size}:
                    return _whole(descriptor), descriptor
                os.close(descriptor)
            until, error = self._refused.get(key, (0.0, None))
            if error and time.monotonic() < until:
                raise error
            fetch = self._running.get(key)
            if fetch is None:
                if len(self._running) >= MOST_RUNNING:
                    raise AwayError("Too many files are being fetched")
                unfinished = self._cache.new()
                descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
                fetch = self._running[key] = Fetch(descriptor, order.size)
                work = (fetch, order, unfinished, final)
                threading.Thread(target=self._run, args=work, name=final.name, daemon=True).start()
            return fetch, os.dup(fetch.descriptor)

    def _run(self, fetch: Fetch, order: Order, unfinished: Path, final: Path) -> None:
        error: Exception | None = None
        try:
            with self._places, contextlib.ExitStack() as room:
                self._receive(fetch, order, room, room.enter_context(self._cache.arriving()))
                fetch.end(None)
                # Its name must not outlive its content if the node fails.
                os.fsync(fetch.descriptor)
                self._keep(order, unfinished, final)
            self._counters.add("fetches_total", result="kept")
        except (AwayError, NoRoomError, RefusedError) as problem:
            error = problem
        except OSError as problem:
            self._cache.make_room()
            error = NoRoomError(f"the cache volume does not take it: {problem.strerror or problem}")
        except Exception as problem:  # noqa: BLE001 - whoever waits is told
            error = problem
        if error:
            _log.warning("%s is not kept: %s", final.name, error)
            self._counters.add("fetches_total", result="refused" if isinstance(error, RefusedError) else "failed")
        with self._lock:
            if isinstance(error, RefusedError):
                self._refuse((final, order.sha256), error)
            del self._running[final, order.sha256]
            os.close(fetch.descriptor)
        if error:
            fetch.end(error)
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _receive(self, fetch: Fetch, order: Order, room: contextlib.ExitStack, arrives: Callable[[int], None]) -> None:
        """Receive all of a file, in several answers if one breaks off."""
        digest, validator, attempt = hashlib.sha256(), None, 0
        if order.size is not None:
            room.enter_context(self._cache.room(order.size))
        while True:
            attempt += 1
            begun, headers = fetch.count, {}
            if begun:
                headers["Range"] = f"bytes={begun}-"
                if validator:
                    headers["If-Range"] = validator
            try:
                with order.source.answer(order.url, headers) as answer:
                    skipped = _skipped(answer, begun)
                    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
                    self._check_size(fetch, order, answer, begun - skipped, room)
                    asked, before = time.monotonic(), fetch.count
                    while chunk := answer.read(CHUNK):
                        _check_pace(time.monotonic() - asked, fetch.count - before)
                        fresh, skipped = chunk[skipped:], max(0, skipped - len(chunk))
                        digest.update(fresh)
                        self._check_room(fetch, order, len(fresh), room)
                        arrives(len(fresh))
                        self._write(fetch, fresh)
                break
            except AwayError as error:
                if attempt == ATTEMPTS or not fetch.count:
                    raise
                time.sleep(min(max(error.retry_after, PAUSE_SECONDS), LONGEST_PAUSE_SECONDS))
        if fetch.size is not None and fetch.count != fetch.size:
            raise RefusedError(f"it has {fetch.count} bytes instead of {fetch.size}")
        if digest.hexdigest() != order.sha256:
            raise RefusedError(f"its sha256 is {digest.hexdigest()}, and not {order.sha256} as it should be")

    def _check_size(self, fetch: Fetch, order: Order, answer: Answer, offset: int, room: contextlib.ExitStack) -> None:
        length = answer.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < LONGEST_NUMBER):
            return
        size = int(length) + offset
        if fetch.size is None:
            _check_most(size, order.most)
            room.enter_context(self._cache.room(size))
            fetch.size = size
        elif fetch.size != size:
            raise RefusedError(f"it has {size} bytes instead of {fetch.size}")

    def _check_room(self, fetch: Fetch, order: Order, more: int, room: contextlib.ExitStack) -> None:
        _check_most(fetch.count + more, order.most if fetch.size is None else fetch.size)
        # As it comes, if nobody knows how large it will be.
        if fetch.size is None and (fetch.count == 0 or fetch.count // STEP < (fetch.count + more) // STEP):
            room.enter_context(self._cache.room(STEP))

    def _write(self, fetch: Fetch, chunk: bytes) -> None:
        written = 0
        while written < len(chunk):
            written += os.pwrite(fetch.descriptor, chunk[written:], fetch.count + written)
        fetch.received(len(chunk))

    def _keep(self, order: Order, unfinished: Path, final: Path) -> None:
        if order.is_wanted():
            self._cache.keep(unfinished, final, order.changed)
            if order.is_wanted():
                return
            self._cache.discard(final)
        unfinished.unlink(missing_ok=True)

    def _refuse(self, key: _Key, error: RefusedError) -> None:
        now = time.monotonic()
        self._refused = {each: refusal for each, refusal in self._refused.items() if refusal[0] > now}
        if len(self._refused) < MOST_REFUSED:
            self._refused[key] = now + REFUSED_SECONDS, error


def _whole(descriptor: int) -> Fetch:
    """The fetch of a file that has ended well."""
    fetch = Fetch(descriptor, os.fstat(descriptor).st_size)
    fetch.received(fetch.size or 0)
    fetch.end(None)
    return fetch


def _check_most(size: int, most: int) -> None:
    """Refuse what is too large.

    Raises:
        RefusedError: It is.
    """
    if size > most:
        raise RefusedError(f"it has more than {most} bytes")


def _check_pace(seconds: float, received: int) -> None:
    """Give a file up that would keep its place for hours.

    Raises:
        AwayError: It has come too slowly.
    """
    if seconds > PACE_SECONDS and received / seconds < SLOWEST:
        raise AwayError(f"it comes with less than {SLOWEST} bytes a second")


def _skipped(answer: Answer, begun: int) -> int:
    """How many bytes at the beginning of an answer are there already.

    Raises:
        AwayError: It is no answer with the file, but there may be one later.
        RefusedError: There will not be one.
    """
    if answer.status == HTTPStatus.PARTIAL_CONTENT and answer.headers.get("Content-Range", "").startswith(
        f"bytes {begun}-"
    ):
        return 0
    if answer.status == HTTPStatus.OK:
        return begun
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise AwayError(f"where it is, the answer is {answer.status}")
    raise RefusedError(f"where it is, the answer is {answer.status}")
