"""What an index says of a project: its page in either form (PEP 503, 691), read as something that may lie."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from server.index.names import normalised
from server.index.spelling import PACKAGE
from server.upstream.configuration import origin
from server.upstream.filenames import is_of

MOST_FILES = 50_000
"""Files of a page; the largest projects there are have some ten thousand."""
MOST_PARTS = 3_000_000
"""Objects, lists and values of a page in JSON: each takes some 70 bytes when it is read, however few it has there."""
LONGEST_TEXT = 1000
"""Characters of a text that a page says of a file, such as the reason of a withdrawal."""
STATUSES = frozenset({"active", "archived", "deprecated", "quarantined"})
LONGEST_NAME = 200
"""Characters of a file's name, which is that of a file in the cache too, with `.metadata` after it."""
_FILENAME = re.compile(PACKAGE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class PageError(ValueError):
    """It is no page of this project, or one without end; the text says why."""


class PublicFile(NamedTuple):
    """One file of a public project."""

    filename: str
    url: str
    sha256: str | None
    size: int | None
    upload_time: str | None
    """As the index writes it."""
    requires_python: str | None
    yanked: str | None
    """Why it is withdrawn, "" if nobody said, None if it is not."""
    metadata: str | None
    """The sha256 of its METADATA, if that can be had alone."""
    provenance: str | None

    @property
    def uploaded(self) -> datetime | None:
        """When it was uploaded, if the index says so."""
        try:
            time = datetime.fromisoformat((self.upload_time or "").replace("Z", "+00:00"))
        except ValueError:
            return None
        return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


class Page(NamedTuple):
    """A project."""

    files: tuple[PublicFile, ...]
    status: str | None
    """Its status (PEP 792), if it is not active."""
    status_reason: str | None


def read(project: str, body: bytes, content_type: str, url: str) -> Page:
    """Read the page of a project.

    What no installer could use, such as a file without a known ending, is left out.

    Args:
        project: The normalised name.
        body: The page.
        content_type: The header of that name.
        url: Where the page is, for links that are relative.

    Raises:
        PageError: It is none.
    """
    if "json" in content_type:
        return _read_json(project, body, url)
    return _read_html(project, body, url)


def _read_json(project: str, body: bytes, url: str) -> Page:
    if sum(map(body.count, (b"{", b"[", b","))) > MOST_PARTS:
        raise PageError(f"it has more than {MOST_PARTS} parts")
    try:
        read = json.loads(body)
        version, name, files = read["meta"]["api-version"], read["name"], read["files"]
        status = read.get("project-status") or {}
        state, reason = status.get("status"), status.get("reason")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PageError(f"it is no JSON of an index: {type(error).__name__}") from error
    if str(version).partition(".")[0] != "1":
        raise PageError(f"it is of version {str(version)[:20]!r}, and not of 1")
    if not isinstance(name, str) or normalised(name) != project:
        raise PageError(f"it is about {str(name)[:100]!r}")
    if not isinstance(files, list) or len(files) > MOST_FILES:
        raise PageError(f"it has no list of at most {MOST_FILES} files")
    found = (_from_json(project, file, url) for file in files if isinstance(file, dict))
    return _page(found, state, reason)


def _from_json(project: str, file: dict[str, Any], url: str) -> PublicFile | None:
    hashes, core = file.get("hashes"), file.get("core-metadata", file.get("dist-info-metadata"))
    yanked, size = file.get("yanked"), file.get("size")
    return _file(
        project,
        filename=file.get("filename"),
        url=_joined(url, file.get("url")),
        sha256=hashes.get("sha256") if isinstance(hashes, dict) else None,
        size=size if type(size) is int and size >= 0 else None,
        upload_time=file.get("upload-time"),
        requires_python=file.get("requires-python"),
        yanked=(yanked if isinstance(yanked, str) else "") if yanked else None,
        metadata=core.get("sha256") if isinstance(core, dict) else None,
        provenance=_joined(url, file.get("provenance")),
    )


def _read_html(project: str, body: bytes, url: str) -> Page:
    reader = _Reader(url)
    # HTMLParser joins what it could not finish to what comes next, so it is fed once.
    reader.feed(body.decode("utf-8", "replace"))
    reader.close()
    found = (_from_html(project, reader.url, link, attributes) for link, attributes in reader.links)
    return _page(found, reader.status, reader.reason)


def _from_html(project: str, page: str, link: str, attributes: dict[str, str | None]) -> PublicFile | None:
    url, fragment = urldefrag(link)
    core = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata")) or ""
    yanked = attributes.get("data-yanked") or ""
    provenance = _joined(page, attributes.get("data-provenance"))
    return _file(
        project,
        filename=unquote(url.rpartition("/")[2]),
        url=url,
        sha256=fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None,
        size=None,
        upload_time=None,
        requires_python=attributes.get("data-requires-python"),
        yanked=yanked if "data-yanked" in attributes else None,
        metadata=core.removeprefix("sha256=") if core.startswith("sha256=") else None,
        provenance=provenance,
    )


class _Reader(HTMLParser):
    """Collects the links of a page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.links: list[tuple[str, dict[str, str | None]]] = []
        self.status: str | None = None
        self.reason: str | None = None
        self.url = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "a" and (link := _joined(self.url, attributes.get("href"))):
            self.links.append((link, attributes))
            if len(self.links) > MOST_FILES:
                raise PageError(f"it has more than {MOST_FILES} links")
        elif tag == "base" and not self.links:
            self.url = _joined(self.url, attributes.get("href")) or self.url
        elif tag == "meta":
            name, content = attributes.get("name"), attributes.get("content") or ""
            if name == "pypi:repository-version" and content.partition(".")[0] != "1":
                raise PageError(f"it is of version {content[:20]!r}, and not of 1")
            if name == "pypi:project-status":
                self.status = content
            elif name == "pypi:project-status-reason":
                self.reason = content


def _page(found: Any, status: object, reason: object) -> Page:  # noqa: ANN401 - a generator
    # The first of a name counts, as installers have it.
    files: dict[str, PublicFile] = {}
    for file in found:
        if file:
            files.setdefault(file.filename, file)
    known = status if isinstance(status, str) and status in STATUSES - {"active"} else None
    return Page(tuple(files.values()), known, _text(reason) if known else None)


def _file(project: str, **fields: Any) -> PublicFile | None:  # noqa: ANN401 - whatever a page says
    """A file whose every field is what it says to be; None if it is none of this project's."""
    filename, url = fields["filename"], fields["url"]
    if not (isinstance(filename, str) and len(filename) <= LONGEST_NAME and _FILENAME.fullmatch(filename)):
        return None
    if not (url and is_of(project, filename)):
        return None
    for field in ("sha256", "metadata"):
        value = fields[field]
        fields[field] = value.lower() if isinstance(value, str) and _SHA256.fullmatch(value.lower()) else None
    for field in ("requires_python", "yanked", "upload_time"):
        fields[field] = _text(fields[field])
    return PublicFile(**fields)


def _text(value: object) -> str | None:
    """A text that can be put into a page."""
    if not isinstance(value, str):
        return None
    return "".join(char if char.isprintable() else " " for char in value[:LONGEST_TEXT])


def _joined(url: str, link: object) -> str | None:
    """An absolute address of HTTP, None if a link is none."""
    if not isinstance(link, str) or len(link) > 2 * LONGEST_TEXT:
        return None
    try:
        # Most are absolute, and joining takes a third of the time that a long page does.
        joined = link if link.startswith("https://") else urljoin(url, link.strip())
        origin(joined)
        return None if urlsplit(joined).username else joined
    except ValueError:
        return None
