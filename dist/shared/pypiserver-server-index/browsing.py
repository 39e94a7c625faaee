"""What clients look at: the pages of the index, in the form that they ask for, and what pypiserver has beside them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from server.http.bottle import HTTPError, redirect, request, response
from server.http.negotiation import JSON, wants_json
from server.index import rendering
from server.index.names import normalised
from server.index.pages import INDEX
from server.index.records import releases

if TYPE_CHECKING:
    from server.index.findings import Findings
    from server.index.listing import Listing
    from server.index.pages import Pages
    from server.index.records import Records


class Browsing:
    """Answers with pages; those of the index are kept as files, for the gateway."""

    def __init__(self, listing: Listing, records: Records, pages: Pages, findings: Findings) -> None:
        """Show what is in `listing`; `findings` is told of projects whose files may have been read."""
        self._listing = listing
        self._records = records
        self._pages = pages
        self._findings = findings

    def index(self) -> str:
        """Answer with all projects."""
        begun = self._pages.moment
        if _json_is_wanted():
            return self._kept(INDEX, rendering.index_json(self._listing), begun, ".json")
        return self._kept(INDEX, rendering.index_html(self._listing), begun, ".html")

    def project(self, project: str) -> str:
        """Answer with the files of a project."""
        name = normalised(project)
        begun = self._pages.moment
        as_json = _json_is_wanted()
        if name != project:
            redirect(f"/simple/{quote(name)}/", HTTPStatus.MOVED_PERMANENTLY)
        entries = self._listing.of_project(name)
        if not entries:
            # pypiserver would send the client to the public index.
            response.content_type = "text/plain; charset=UTF-8"
            raise HTTPError(HTTPStatus.NOT_FOUND, f"Not Found ({name} does not exist)")
        record = self._records.project(name, entries)
        # Whoever asks for what is not here leaves nothing behind.
        self._findings.keep(name)
        root = f"{request.urlparts.scheme}://{request.urlparts.netloc}"
        text = rendering.project_json(record, root) if as_json else rendering.project_html(record, root)
        if not record.complete or record.is_attested:
            # The address of a provenance object has the host that this client has used.
            response.content_type = JSON if as_json else response.content_type
            return text
        return self._kept(name, text, begun, ".json" if as_json else ".html")

    def packages(self) -> str:
        """Answer with all files."""
        return rendering.packages_html(self._listing)

    def description(self, project: str) -> str:
        """Answer with pypiserver's own JSON of a project."""
        name = normalised(project)
        if name != project:
            redirect(f"/{quote(name)}/json", HTTPStatus.MOVED_PERMANENTLY)
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
        return rendering.welcome_html(request.url, self._listing.totals().files)

    def _kept(self, page: str, text: str, begun: int, suffix: str) -> str:
        self._pages.keep(page, text, begun, suffix)
        if suffix == ".json":
            response.content_type = JSON
        return text


def directory(**_project: str) -> None:
    """Redirect to the same address with a slash at its end, as pypiserver does."""
    redirect(f"{request.path}/", HTTPStatus.MOVED_PERMANENTLY)


def misplaced(project: str) -> None:
    """Redirect to a project's page, as pypiserver does."""
    redirect(f"/simple/{quote(project)}/")


def _json_is_wanted() -> bool:
    response.headers["Vary"] = "Accept"
    return wants_json(request.get_header("Accept", ""))
