"""What clients look at: the pages of the index, in the form that they ask for, and what pypiserver has beside them."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urljoin

from server.http.bottle import HTTPError, redirect, request, response
from server.http.errors import unavailable
from server.http.negotiation import JSON, wants_json
from server.index import rendering
from server.index.excerpt import Excerpt
from server.index.names import normalised
from server.index.pages import INDEX
from server.index.records import releases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.index.listing import Listing
    from server.index.pages import Pages
    from server.index.records import Records
    from server.upstream.public import Public


AT_ONCE = 2
"""How many lists are made at once of what a client may read: each takes as long as there are files, and its text once
more of memory."""
QUEUED = 16
"""How many may be made or wait for that; the other threads of the server are there for what takes less."""
QUEUED_ANONYMOUS = 8
"""The same for what everybody may read: that is made once, one at a time, and kept until something changes."""
PATIENCE_SECONDS = 10.0
"""How long one waits."""

_Made = TypeVar("_Made", str, int)


class Browsing:
    """Answers with pages; those of the index are kept as files, for the gateway."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        listing: Listing,
        records: Records,
        pages: Pages,
        keep: Callable[[str], None],
        public: Public | None,
        readable: Callable[[], Callable[[str], bool] | None] = lambda: None,
        is_anonymous: Callable[[], bool] = lambda: False,
    ) -> None:
        """Show what is in `listing`, and for other names what `public` has.

        `keep` is told of projects whose files may have been read. `readable` says what tells which projects the client
        may read, None for all: of one of them the gateway has made sure, of lists it cannot. `is_anonymous` tells
        whether it gave no credentials, and may read what everybody may.
        """
        self._is_anonymous = is_anonymous
        self._for_anonymous: dict[Callable[..., Any], tuple[tuple[int, int], Any]] = {}
        self._readable = readable
        self._listing = listing
        self._records = records
        self._pages = pages
        self._keep = keep
        self._public = public
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._queue = threading.BoundedSemaphore(QUEUED)
        self._anonymous_places = threading.BoundedSemaphore(1)
        self._anonymous_queue = threading.BoundedSemaphore(QUEUED_ANONYMOUS)

    def index(self) -> str:
        """Answer with all projects."""
        begun = self._pages.moment
        as_json = _json_is_wanted()
        make = rendering.index_json if as_json else rendering.index_html
        text, is_all = self._seen(make)
        if is_all:
            self._pages.keep(INDEX, text, begun, _suffix(as_json=as_json))
        return _typed(text, as_json=as_json)

    def project(self, project: str) -> str:
        """Answer with the files of a project."""
        name = normalised(project)
        begun = self._pages.moment
        as_json = _json_is_wanted()
        if name != project:
            redirect(f"../{quote(name)}/", HTTPStatus.MOVED_PERMANENTLY)
        public = self._public if self._public and not self._public.is_own(name) else None
        entries = self._listing.of_project(name)
        if not entries:
            return self._of_others(name, public, as_json=as_json)
        record = self._records.project(name, entries)
        # Whoever asks for what is not here leaves nothing behind.
        self._keep(name)
        root: str = urljoin(request.url, request.script_name)
        # The address of a provenance object has the host that this client has used.
        lasts = record.complete and not record.is_attested
        # Any other name has had its first file just now.
        if public and public.merges(name):
            own = rendering.project_detail(record, root)
            text = public.page(name, as_json=as_json, own=own, keep=lasts)
            if text is not None:
                return _typed(text, as_json=as_json)
            # Some day there may be others.
            lasts = False
        text = rendering.project_json(record, root) if as_json else rendering.project_html(record, root)
        if lasts:
            self._pages.keep(name, text, begun, _suffix(as_json=as_json))
        return _typed(text, as_json=as_json)

    def _of_others(self, name: str, public: Public | None, *, as_json: bool) -> str:
        """The page of a project that has no file here."""
        text = public.page(name, as_json=as_json) if public else None
        if text is None:
            # pypiserver would send the client to the public index.
            response.content_type = "text/plain; charset=UTF-8"
            raise HTTPError(HTTPStatus.NOT_FOUND, f"Not Found ({name} does not exist)")
        return _typed(text, as_json=as_json)

    def packages(self) -> str:
        """Answer with all files."""
        return self._seen(rendering.packages_html)[0]

    def description(self, project: str) -> str:
        """Answer with pypiserver's own JSON of a project."""
        name = normalised(project)
        if name != project:
            redirect(f"../{quote(name)}/json", HTTPStatus.MOVED_PERMANENTLY)
        found = releases(self._listing.of_project(name))
        if not found:
            raise HTTPError(HTTPStatus.NOT_FOUND, f"package {project} not found")
        response.content_type = "application/json"
        described = {
            version: [{"url": urljoin(request.url, f"../packages/{path}")} for path in paths]
            for version, paths in found.items()
        }
        return json.dumps({"info": {"version": next(iter(found))}, "releases": described})

    def welcome(self) -> str:
        """Answer with what this is."""
        return rendering.welcome_html(request.url, self._seen(_files)[0])

    def _seen(self, make: Callable[[Listing | Excerpt], _Made]) -> tuple[_Made, bool]:
        """What is made of what the client may see, and whether that is all.

        Raises:
            HTTPError: 503, since too many want an excerpt.
        """
        readable = self._readable()
        if not readable:
            return make(self._listing), True
        if not self._is_anonymous():
            with _place(self._queue, self._places):
                return make(Excerpt(self._listing, readable)), False
        if (found := self._kept_for_anonymous(make)) is not None:
            return found, False
        with _place(self._anonymous_queue, self._anonymous_places):
            # Whoever was before may have made it.
            if (found := self._kept_for_anonymous(make)) is not None:
                return found, False
            begun = self._moment()
            made = make(Excerpt(self._listing, readable))
            self._for_anonymous[make] = begun, made
        return made, False

    def _kept_for_anonymous(self, make: Callable[[Listing | Excerpt], _Made]) -> _Made | None:
        """What has been made of what everybody may see, if nothing has changed since that was begun."""
        begun, made = self._for_anonymous.get(make, (None, None))
        return made if begun == self._moment() else None

    def _moment(self) -> tuple[int, int]:
        """The numbers of the latest changes: no page of a project is stale because a digest is known, but a list is."""
        return self._pages.moment, self._listing.moment()


@contextmanager
def _place(queue: threading.BoundedSemaphore, places: threading.BoundedSemaphore) -> Iterator[None]:
    """Wait for a place.

    Raises:
        HTTPError: 503, since too many want one.
    """
    with ExitStack() as taken:
        for semaphore, seconds in ((queue, 0.0), (places, PATIENCE_SECONDS)):
            if not semaphore.acquire(timeout=seconds):
                raise unavailable("Too many lists are being made")
            taken.callback(semaphore.release)
        yield


def _files(seen: Listing | Excerpt) -> int:
    return seen.files()


def directory(**_project: str) -> None:
    """Redirect to the same address with a slash at its end, as pypiserver does."""
    redirect(f"{request.fullpath}/", HTTPStatus.MOVED_PERMANENTLY)


def misplaced(project: str) -> None:
    """Redirect to a project's page, as pypiserver does."""
    redirect(f"{request.script_name}simple/{quote(project)}/")


def _suffix(*, as_json: bool) -> str:
    return ".json" if as_json else ".html"


def _typed(text: str, *, as_json: bool) -> str:
    if as_json:
        response.content_type = JSON
    return text


def _json_is_wanted() -> bool:
    response.headers["Vary"] = "Accept"
    return wants_json(request.get_header("Accept", ""))
