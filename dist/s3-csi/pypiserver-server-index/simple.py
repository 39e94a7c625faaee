"""The index as pip and uv like it: in JSON, with what is inside of the wheels (PEP 691, 700, 714) and yanked."""

from __future__ import annotations

import functools
import json
import re
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from packaging.version import InvalidVersion, Version

from server.http.negotiation import JSON, wants_json
from server.http.upstream import (
    FILE_RULE,
    INDEX_RULE,
    PROJECT_RULE,
    HTTPError,
    html_escape,
    normalised,
    request,
    response,
    version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from server.index.digests import Digests
    from server.index.findings import Facts
    from server.index.listing import Entry, Listing
    from server.index.metadata import Metadata
    from server.index.yanks import Yanks

META = {"api-version": "1.1"}
METADATA_SUFFIX = ".metadata"
_ANCHOR = re.compile(r'">([^<]*)</a>')


class Simple:
    """The bottle plugin that answers in JSON where it is asked to, and adds to pypiserver's HTML what is yanked."""

    api = 2  # of bottle's plugins: `apply` gets the route

    def __init__(self, *, listing: Listing, digests: Digests, metadata: Metadata, facts: Facts, yanks: Yanks) -> None:
        """Describe the files of `listing`."""
        self._listing = listing
        self._digests = digests
        self._metadata = metadata
        self._facts = facts
        self._yanks = yanks

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:  # noqa: ANN401 - bottle's interface
        """Extend the routes of the index and of the files (bottle's interface for plugins)."""
        extensions: dict[str, Callable[..., object]] = {
            INDEX_RULE: self._index,
            PROJECT_RULE: self._project,
            FILE_RULE: self._file,
        }
        if route.method != "GET" or route.rule not in extensions:
            return callback
        return functools.wraps(callback)(functools.partial(extensions[route.rule], callback))

    def _index(self, callback: Callable[[], object]) -> object:
        response.headers["Vary"] = "Accept"
        if not wants_json(request.get_header("Accept", "")):
            return callback()
        return _json({"meta": META, "projects": [{"name": name} for name in sorted(self._listing.projects())]})

    def _project(self, callback: Callable[..., object], project: str) -> object:
        response.headers["Vary"] = "Accept"
        entries = self._listing.of_project(project)
        if entries and project == normalised(project) and wants_json(request.get_header("Accept", "")):
            body: object = _json(self._described(project, entries))
        else:
            body = callback(project=project)
            if isinstance(body, str):
                body = self._marked(body, entries)
        if entries:
            # Whoever asks for what is not here leaves nothing behind.
            self._facts.keep(project)
        return body

    def _file(self, callback: Callable[..., object], filename: str) -> object:
        entry = self._listing.at(filename.removesuffix(METADATA_SUFFIX))
        if entry is None or not entry.name.endswith(".whl") or not filename.endswith(METADATA_SUFFIX):
            return callback(filename=filename)
        content = self._metadata.content(entry)
        if content is None:
            raise HTTPError(HTTPStatus.NOT_FOUND, f"Not Found ({entry.path} has no metadata)")
        response.content_type = "application/octet-stream"
        return content

    def _described(self, project: str, entries: Iterable[Entry]) -> dict[str, object]:
        # A signature is no distribution, though pypiserver's HTML lists it.
        shown = sorted((entry for entry in entries if not entry.name.endswith(".asc")), key=_order)
        versions = dict.fromkeys(filter(None, (_written(version(entry.name)) for entry in shown)))
        return {
            "meta": META,
            "name": project,
            "versions": list(versions),
            "files": [file for entry in shown if (file := self._file_described(entry))],
        }

    def _file_described(self, entry: Entry) -> dict[str, object] | None:
        digest = self._digests.of(entry)
        if digest is None:
            return None
        core = self._metadata.of(entry)
        algorithm, _, value = digest.partition("=")
        time = datetime.fromtimestamp(entry.stamp.mtime_ns // 1000 / 1e6, timezone.utc)
        reason = self._yanks.reason(entry)
        described: dict[str, object] = {
            "filename": entry.name,
            "url": f"/packages/{quote(entry.path, safe='/!+')}",
            "hashes": {algorithm: value},
            "size": entry.stamp.size,
            "upload-time": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "yanked": False if reason is None else reason or True,
        }
        if core.requires_python:
            described["requires-python"] = core.requires_python
        if entry.name.endswith(".whl"):
            described["core-metadata"] = {"sha256": core.metadata} if core.metadata else False
        return described

    def _marked(self, body: str, entries: Iterable[Entry]) -> str:
        """Add `data-yanked` to the anchors of withdrawn files."""
        reasons = {
            html_escape(entry.name): html_escape(reason)
            for entry in entries
            if (reason := self._yanks.reason(entry)) is not None
        }
        if not reasons:
            return body

        def anchor(match: re.Match[str]) -> str:
            reason = reasons.get(match[1])
            return match[0] if reason is None else f'" data-yanked="{reason}{match[0]}'

        return _ANCHOR.sub(anchor, body)


def _json(content: dict[str, object]) -> str:
    response.content_type = JSON
    return json.dumps(content, separators=(",", ":"))


def _order(entry: Entry) -> tuple[int, Version | str, str]:
    text = version(entry.name)
    try:
        return 1, Version(text), entry.path
    except InvalidVersion:
        return 0, text, entry.path


def _written(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return text
