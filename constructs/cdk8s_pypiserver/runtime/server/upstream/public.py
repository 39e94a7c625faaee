"""Which names are public, and what the registry answers for them; the program beside the server is asked for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.http.bottle import HTTPError, response
from server.http.errors import unavailable
from server.index.listing import Change
from server.upstream import rendering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.index.listing import Listing
    from server.index.pages import Pages
    from server.index.presence import Presence
    from server.index.reserved import Reserved
    from server.upstream.configuration import Configuration

PATIENCE_SECONDS = 14.0
"""How long the program beside may take: less than pip waits (15 s)."""
MOST_ASKING = 24
"""How many requests may wait for it; the other threads of the server are there for private packages."""
MOST_QUEUED = 40
"""How many may wait for it, or for a place."""
ROOM_FOR_OWN_PAGES = 256 * 2**20
"""How much of the room for pages no public one takes: whoever reads many of them must not slow our own down."""
LOOK_SECONDS = 1.0


class Public:
    """The public side of the index.

    A name is the registry's own if it has a file here, had one, or is among the private names: then nobody else is ever
    asked about it. While the package volume has a problem that cannot be told, so nobody is asked about any name.
    """

    def __init__(  # noqa: PLR0913
        self,
        configuration: Configuration,
        *,
        listing: Listing,
        reserved: Reserved,
        pages: Pages,
        presence: Presence,
        port: int,
    ) -> None:
        """Ask the program that listens at `port` of loopback.

        Pages are kept in `pages`; names are told apart by `configuration`, `listing`, `presence` and `reserved`.
        """
        self._configuration = configuration
        self._listing = listing
        self._reserved = reserved
        self._pages = pages
        self._presence = presence
        self._port = port
        self._places = threading.BoundedSemaphore(MOST_ASKING)
        self._queue = threading.BoundedSemaphore(MOST_QUEUED)
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}

    def is_own(self, name: str) -> bool:
        """Whether a normalised name is the registry's own.

        Raises:
            HTTPError: 503, since the volume has a problem.
        """
        is_merged = self.merges(name)
        if not is_merged and (
            name in self._configuration.private_names or name in self._reserved or self._listing.of_project(name)
        ):
            return True
        if problem := self._presence.unknown():
            raise unavailable(problem)
        try:
            return not is_merged and (name in self._presence.left_out() or self._reserved.is_by_another(name))
        except OSError as error:
            raise unavailable(f"The package volume fails: {error.strerror or error}") from error

    def merges(self, name: str) -> bool:
        """Whether the files that are here and the public ones of a normalised name are listed together."""
        return name in self._configuration.merge

    def page(self, name: str, *, as_json: bool, own: dict[str, Any] | None = None, keep: bool = True) -> str | None:
        """The page of a public project; None if there is no such project.

        Args:
            name: The normalised name, which is not the registry's own.
            as_json: The form.
            own: What the page in JSON has of the files that are here, for a name that is merged: then there is also no
                page if none of the public files may be served.
            keep: Whether the page is kept for a while.

        Raises:
            HTTPError: It cannot be had, or is not served.
        """
        begun = self._pages.moment
        # For the gateway's metrics.
        response.set_header("X-Public", "yes")
        form = "html" if own is None and not as_json else "json"
        status, body, headers = self._asked(f"/page/{name}.{form}")
        if status == HTTPStatus.NOT_FOUND or (own and status == HTTPStatus.FORBIDDEN):
            return None
        if status != HTTPStatus.OK:
            raise _error(status, body, headers)
        text = body.decode()
        if own is not None:
            merged = merge(own, json.loads(text))
            text = json.dumps(merged, separators=(",", ":")) if as_json else rendering.html(merged)
        is_filtered = headers.get("X-Hidden", "0") != "0"
        if own is None and self.is_own(name):
            # Somebody has published it meanwhile.
            raise unavailable(f"{name} has just been published here")
        if keep:
            suffix = ".json" if as_json else ".html"
            end = time.monotonic() + int(headers["Cache-Control"].removeprefix("max-age="))
            with self._lock:
                # Of two forms the time of the older one counts.
                self._ends[name] = min(end, self._ends.get(name, end))
            self._pages.keep(name, text, begun, suffix, filtered=is_filtered, spared=ROOM_FOR_OWN_PAGES)
        if is_filtered:
            response.set_header("X-Hidden-Files", f"{rendering.PLACE}/{name}/hidden")
        return text

    def file(self, project: str, rest: str) -> str:
        """Send the gateway on to the program beside, for a file that is not in the cache.

        Raises:
            HTTPError: The name is the registry's own, or that cannot be told.
        """
        if self.is_own(project):
            raise HTTPError(HTTPStatus.NOT_FOUND, f"{project} is this registry's own")
        place = f"/hidden/{project}" if rest == "hidden" else f"/file/{project}/{rest}"
        # nginx gives the charset of this answer to whatever is sent instead.
        response.content_type = "application/octet-stream"
        response.set_header("X-Accel-Redirect", f"/-/upstream{place}")
        return ""

    def refuse_shadow(self, name: str) -> None:
        """Refuse a new name that a public project has.

        Raises:
            HTTPError: 403, or 503 if nobody can tell.
        """
        if self._configuration.shadowing or self.merges(name) or self.is_own(name):
            return
        status, body, headers = self._asked(f"/exists/{name}")
        if status == HTTPStatus.OK:
            raise HTTPError(
                HTTPStatus.FORBIDDEN,
                f"{name} is the name of a public project; what is published under it here would take its place for"
                " everybody who installs from this registry. Choose another name, or name it in private_names",
            )
        if status != HTTPStatus.NOT_FOUND:
            raise _error(status, body, headers)

    def start(self) -> None:
        """Begin to drop pages whose time is over, until the process ends."""
        threading.Thread(target=self._run, name="public", daemon=True).start()

    def look(self) -> None:
        """Drop the pages whose time is over, or all while nobody can tell whose names they are."""
        now, unknown = time.monotonic(), self._presence.unknown()
        with self._lock:
            ended = [name for name, end in self._ends.items() if end <= now or unknown]
            for name in ended:
                del self._ends[name]
        if ended:
            self._pages.drop(Change(frozenset(ended), names=False))

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    def _asked(self, path: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        with self._place():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_SECONDS)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read(), answer.headers
            except (OSError, http.client.HTTPException) as error:
                raise unavailable(f"The upstream does not answer: {error or type(error).__name__}") from error
            finally:
                connection.close()

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        with contextlib.ExitStack() as places:
            # Whoever waits for a place keeps a thread as well.
            for semaphore, seconds in ((self._queue, 0.0), (self._places, LOOK_SECONDS)):
                if not semaphore.acquire(timeout=seconds):
                    raise unavailable("Too many requests are waiting for the upstream")
                places.callback(semaphore.release)
            yield


def merge(own: dict[str, Any], public: dict[str, Any]) -> dict[str, Any]:
    """One page in JSON of two: a file that both have is the registry's own."""
    names = {file["filename"] for file in own["files"]}
    files = [*own["files"], *(file for file in public["files"] if file["filename"] not in names)]
    return {**public, "files": files, "versions": rendering.versions(own["name"], (file["filename"] for file in files))}


def _error(status: int, body: bytes, headers: http.client.HTTPMessage) -> HTTPError:
    retry = headers.get("Retry-After")
    text = body.decode("utf-8", "replace")
    return HTTPError(status, text, **({"retry_after": retry} if retry else {}))
