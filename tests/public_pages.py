"""Pages of a public index: JSON (PEP 691, 700, 714, 740, 792) and HTML (PEP 503, 592, 629, 714, 740, 792)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from public_files import PublicFile

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PLAIN_HTML = "text/html"
API_VERSION = "1.4"


@dataclass
class PublicProject:
    """A project and what the index says about it."""

    name: str
    files: list[PublicFile] = field(default_factory=list)
    status: str | None = None
    """"active", "archived", "quarantined" or "deprecated"; None for an index that has no statuses."""
    reason: str | None = None


Addresses: TypeAlias = "Callable[[PublicFile], tuple[str, str | None]]"
"""Of a file and of its provenance, which it may not have."""


def wanted_form(accept: str, *, html_only: bool = False) -> str:
    """The content type to answer with; what is not asked for at all gets HTML, as before PEP 691."""
    weights = dict(_accepted(accept))
    forms = [HTML, PLAIN_HTML] if html_only else [JSON, HTML, PLAIN_HTML]
    best = max(forms, key=lambda form: weights.get(form, 0.0))
    return PLAIN_HTML if html_only or not weights.get(best) else best


def project_json(project: PublicProject, addresses: Addresses) -> bytes:
    """The page of a project in JSON."""
    page: dict[str, object] = {
        "meta": {"api-version": API_VERSION, "_last-serial": 1},
        "name": project.name,
        "versions": list(dict.fromkeys(file.version for file in project.files)),
        "files": [dict(_described(file, *addresses(file))) for file in project.files],
        "alternate-locations": [],
    }
    if project.status:
        page["project-status"] = {"status": project.status, **({"reason": project.reason} if project.reason else {})}
    return json.dumps(page).encode()


def project_html(project: PublicProject, addresses: Addresses) -> bytes:
    """The same in HTML, which has neither sizes nor times."""
    status = f'<meta name="pypi:project-status" content="{escape(project.status)}">\n' if project.status else ""
    if project.reason:
        status += f'<meta name="pypi:project-status-reason" content="{escape(project.reason)}">\n'
    links = (_link(file, *addresses(file)) for file in project.files)
    return _html(f"Links for {project.name}", links, status)


def index_json(names: Iterable[str]) -> bytes:
    """The page of all projects in JSON."""
    projects = [{"name": name, "_last-serial": 1} for name in names]
    return json.dumps({"meta": {"api-version": API_VERSION, "_last-serial": 1}, "projects": projects}).encode()


def index_html(names: Iterable[str]) -> bytes:
    """The same in HTML."""
    return _html("Simple index", (f'<a href="/simple/{name}/">{name}</a>' for name in names))


def _accepted(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        form, _, parameters = part.partition(";")
        weight = parameters.strip().removeprefix("q=")
        yield form.strip(), float(weight or 1)


def _described(file: PublicFile, url: str, provenance: str | None) -> Iterator[tuple[str, object]]:
    yield "filename", file.name
    yield "url", url
    yield "hashes", file.hashes
    yield "size", file.size
    yield "requires-python", file.requires_python
    yield "yanked", file.yanked
    if file.uploaded:
        yield "upload-time", file.uploaded.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for name in ("core-metadata", "data-dist-info-metadata"):
        yield name, file.metadata_hashes or False
    yield "provenance", provenance


def _link(file: PublicFile, url: str, provenance: str | None) -> str:
    fragment = next((f"#{algorithm}={value}" for algorithm, value in file.hashes.items()), "")
    metadata = next((f"{algorithm}={value}" for algorithm, value in file.metadata_hashes.items()), None)
    attributes = {
        "href": url + fragment,
        "data-requires-python": file.requires_python,
        "data-dist-info-metadata": metadata,
        "data-core-metadata": metadata,
        "data-yanked": None if file.yanked is False else "" if file.yanked is True else file.yanked,
        "data-provenance": provenance,
    }
    written = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items() if value is not None)
    return f"<a {written}>{escape(file.name)}</a><br />"


def _html(title: str, lines: Iterable[str], head: str = "") -> bytes:
    body = "\n".join(lines)
    return (
        f'<!DOCTYPE html>\n<html>\n<head>\n<meta name="pypi:repository-version" content="{API_VERSION}">\n{head}'
        f"<title>{escape(title)}</title>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    ).encode()
