"""Public projects as their indexes describe them: asked once however many want to know, and kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
import threading
import time
import uuid
import zlib
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillRunningError
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from server.fetching.answers import AwayError, RefusedError
from server.upstream import page
from server.upstream.page import Page, PageError, PublicFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from server.fetching.answers import Answer
    from server.upstream.connections import Connections

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
LARGEST_PAGE = 64 * 2**20
"""Bytes of a page, unpacked: those of 10,000 files have some 40 MB in JSON."""
LARGEST_HTML = 24 * 2**20
LARGE_PAGE = 4 * 2**20
"""From how many bytes on a page waits on disk until it is its turn to be read."""
PAGE_SECONDS = 90.0
"""How long a page may take to come, however little of it comes at a time."""
PATIENCE_SECONDS = 12.0
"""How long whoever asks waits: less than pip does (15 s). The page is read to its end nevertheless, for the next."""
STALE_PATIENCE_SECONDS = 2.0
"""How long, where an earlier page is at hand."""
STALE_SECONDS = 5.0
"""How long a page is shown that should have been asked for anew, before that is tried again."""
FAILURE_SECONDS = 60.0
"""How long it is remembered that no index has a project, or that its page is refused."""
MOST_FAILURES = 20_000
MOST_FILES_IN_MEMORY = 60_000
"""Files of projects that are remembered besides being kept, some 700 bytes each."""
ROOM_ON_DISK = 256 * 2**20
WRITES_BETWEEN_LOOKS = 64
_CHUNK = 2**18
_log = logging.getLogger("upstream")


class MissingError(Exception):
    """No index has a project or a file."""

    def __init__(self, name: str) -> None:
        """Say so of this one."""
        super().__init__(f"No index has {name}")


class Project(NamedTuple):
    """A project as it was when an index was last asked."""

    name: str
    source: str
    """The name of the index."""
    etag: str | None
    checked: float
    """When the index last said so, in seconds since 1970."""
    page: Page


class Projects:
    """Asks the indexes, in their order, and keeps what they say."""

    def __init__(
        self,
        indexes: Sequence[Connections],
        directory: Path,
        *,
        page_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep what `indexes` say in `directory`, where it is good for `page_seconds`."""
        self._indexes = indexes
        self._directory = directory
        self._page_seconds = page_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._memory: OrderedDict[str, Project] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, MissingError | RefusedError]] = OrderedDict()
        self._running: dict[str, Future[Project]] = {}
        self._writes = 0
        # One at a time: each takes some ten times its size while it is read.
        self._large = threading.Lock()
        asked = [(each.index.name, each.index.url, sorted(each.index.origins)) for each in indexes]
        # What was kept when other indexes were asked, or other hosts trusted, is not to be used.
        self._asked = hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
        directory.mkdir(parents=True, exist_ok=True)

    def project(self, name: str) -> Project:
        """A project by its normalised name, as fresh as it can be had.

        Raises:
            AwayError: It is not known, and an index that would have to be asked does not answer.
            MissingError: No index has it.
            RefusedError: What an index says of it cannot be used.
        """
        known = self._known(name)
        now = self._clock()
        if known and now - known.checked < self._page_seconds:
            return known
        failed, failure = self._failures.get(name, (0.0, None))
        if failure and now - failed < FAILURE_SECONDS:
            if known:
                return known
            raise failure
        try:
            return self._future(name, known).result(STALE_PATIENCE_SECONDS if known else PATIENCE_SECONDS)
        except StillRunningError as error:
            if known:
                return known
            raise AwayError(f"The index has not yet sent all it has to say about {name}") from error
        except (AwayError, RefusedError):
            # What was said before has been read with the same care.
            if known:
                return known
            raise

    def fresh_seconds(self, project: Project) -> float:
        """How long what is known of a project is good; a moment if it would have been asked for anew."""
        return max(self._page_seconds - (self._clock() - project.checked), STALE_SECONDS)

    def _future(self, name: str, known: Project | None) -> Future[Project]:
        """The question that is being asked about a project, one at a time."""
        with self._lock:
            running = self._running.get(name)
            if running:
                return running
            future: Future[Project] = Future()
            self._running[name] = future
        threading.Thread(target=self._ask, args=(name, known, future), name=f"page {name}", daemon=True).start()
        return future

    def _ask(self, name: str, known: Project | None, future: Future[Project]) -> None:
        try:
            found = self._asked_of_all(name, known)
            self._remember(found)
            future.set_result(found)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            if isinstance(error, MissingError | RefusedError):
                self._fail(name, error)
            future.set_exception(error)
        finally:
            with self._lock:
                del self._running[name]

    def _asked_of_all(self, name: str, known: Project | None) -> Project:
        for connections in self._indexes:
            # One that does not answer keeps those after it from being asked: the project could be its own.
            found = self._asked_of(
                connections, name, known if known and known.source == connections.index.name else None
            )
            if found:
                return found
        raise MissingError(name)

    def _asked_of(self, connections: Connections, name: str, known: Project | None) -> Project | None:
        index = connections.index
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        url = f"{index.url}{quote(name)}/"
        with connections.answer(url, headers) as answer:
            if answer.status == HTTPStatus.NOT_MODIFIED and known:
                return known._replace(checked=self._clock())
            if answer.status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
                return None
            if answer.status != HTTPStatus.OK:
                error = f"{index.name} says {answer.status} of {name}"
                raise AwayError(error) if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else RefusedError(error)
            try:
                found = self._read(name, answer)
            except PageError as error:
                raise RefusedError(f"{index.name}: the page of {name} is refused, since {error}") from error
            except AwayError as error:
                _log.warning("%s: the page of %s has not come: %s", index.name, name, error)
                raise
            return Project(name, index.name, answer.headers.get("ETag"), self._clock(), found)

    def _read(self, name: str, answer: Answer) -> Page:
        content_type = answer.headers.get("Content-Type", "")
        if "json" not in content_type and "html" not in content_type:
            raise PageError(f"it is of the type {content_type[:100]!r}")
        limit = LARGEST_PAGE if "json" in content_type else LARGEST_HTML
        packing = answer.headers.get("Content-Encoding", "identity").lower()
        if packing not in {"gzip", "identity"}:
            raise PageError(f"it is packed as {packing[:100]!r}")
        unpack = zlib.decompressobj(wbits=31) if packing == "gzip" else None
        begun, size = time.monotonic(), 0
        with tempfile.SpooledTemporaryFile(LARGE_PAGE, dir=str(self._directory)) as body:
            while chunk := answer.read(_CHUNK):
                try:
                    chunk = unpack.decompress(chunk, limit + 1 - size) if unpack else chunk
                except zlib.error as error:
                    raise PageError(f"it is no gzip: {error}") from error
                if unpack and unpack.unused_data:
                    # It would be kept, without end.
                    raise PageError("its gzip has ended, and it has not")
                size += len(chunk)
                if size > limit:
                    raise PageError(f"it has more than {limit} bytes")
                if time.monotonic() - begun > PAGE_SECONDS:
                    raise AwayError(f"the page of {name} has taken more than {PAGE_SECONDS:g} s to come")
                body.write(chunk)
            if unpack and not unpack.eof:
                raise AwayError(f"the page of {name} ends too early")
            body.seek(0)
            with self._large if size > LARGE_PAGE else contextlib.nullcontext():
                return page.read(name, body.read(), content_type, answer.url)

    def _remember(self, project: Project) -> None:
        with self._lock:
            self._failures.pop(project.name, None)
            self._hold(project)
        self._keep(project)

    def _hold(self, project: Project) -> None:
        """Have a project in memory, and let go of those that were not used for the longest time."""
        self._memory[project.name] = project
        self._memory.move_to_end(project.name)
        files = sum(len(each.page.files) for each in self._memory.values())
        while files > MOST_FILES_IN_MEMORY and len(self._memory) > 1:
            files -= len(self._memory.popitem(last=False)[1].page.files)

    def _fail(self, name: str, error: MissingError | RefusedError) -> None:
        if isinstance(error, RefusedError):
            _log.warning("%s", error)
        else:
            with contextlib.suppress(OSError):
                (self._directory / name).unlink(missing_ok=True)
        with self._lock:
            if isinstance(error, MissingError):
                self._memory.pop(name, None)
            self._failures[name] = self._clock(), error
            self._failures.move_to_end(name)
            if len(self._failures) > MOST_FAILURES:
                self._failures.popitem(last=False)

    def _known(self, name: str) -> Project | None:
        with self._lock:
            if project := self._memory.get(name):
                self._memory.move_to_end(name)
                return project
        try:
            asked, index, etag, checked, files, status, reason = json.loads((self._directory / name).read_bytes())
            kept = Page(tuple(PublicFile(*file) for file in files), status, reason)
        except (OSError, ValueError, TypeError):
            return None
        if asked != self._asked:
            return None
        project = Project(name, index, etag, checked, kept)
        with self._lock:
            if name not in self._memory:
                self._hold(project)
            return self._memory[name]

    def _keep(self, project: Project) -> None:
        """Keep a project for a later process; without it, the index is asked again."""
        content = [self._asked, project.source, project.etag, project.checked, *project.page]
        temporary = self._directory / f".{uuid.uuid4().hex}"
        try:
            temporary.write_text(json.dumps(content, separators=(",", ":")), "utf-8")
            temporary.rename(self._directory / project.name)
        except OSError as error:
            _log.warning("what is known of %s cannot be kept: %s", project.name, error)
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        self._writes += 1
        if self._writes % WRITES_BETWEEN_LOOKS == 1:
            self._make_room()

    def _make_room(self) -> None:
        """Remove what was written longest ago, beyond the room there is."""
        with contextlib.suppress(OSError):
            every = [(each, each.stat()) for each in self._directory.iterdir()]
            found = sorted((status.st_mtime, status.st_size, path) for path, status in every)
            room = ROOM_ON_DISK - sum(size for _, size, _ in found)
            for _, size, path in found:
                if room >= 0:
                    return
                path.unlink()
                room += size
