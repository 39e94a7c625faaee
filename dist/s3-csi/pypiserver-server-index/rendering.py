"""The forms of the index: HTML as pypiserver's (PEP 503, 592, 658, 714, 740), and JSON (PEP 691, 700, 714, 740)."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pypiserver
from packaging.version import InvalidVersion, Version

from server.http.bottle import SimpleTemplate
from server.index.html import link, page
from server.index.provenance import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.index.excerpt import Excerpt
    from server.index.listing import Entry, Listing
    from server.index.records import File, Project

META = {"api-version": "1.3"}
_WELCOME: Callable[..., str] = SimpleTemplate((resources.files(pypiserver) / "welcome.html").read_text("utf-8")).render


def index_html(listing: Listing | Excerpt) -> str:
    """The page of all projects."""
    return page("Simple Index", listing.project_lines("html", _project_line, "\n"))


def index_json(listing: Listing | Excerpt) -> str:
    """The same in JSON."""
    lines = listing.project_lines("json", lambda name: _compact({"name": name}), ",")
    return f'{{"meta":{_compact(META)},"projects":[{lines}]}}'


def packages_html(listing: Listing | Excerpt) -> str:
    """The page of all files; a link has the digest if it is known."""
    return page("Index of packages", listing.file_lines("html", _file_line, "\n"))


def project_html(project: Project, root: str) -> str:
    """The page of a project, for a registry that is reached at `root`, which ends with a slash."""
    return page(f"Links for {project.name}", "\n".join(_described_line(file, root) for file in project.files))


def project_json(project: Project, root: str) -> str:
    """The same in JSON."""
    return _compact(project_detail(project, root))


def project_detail(project: Project, root: str) -> dict[str, Any]:
    """What is in that JSON, in which signatures are left out: they are no distributions."""
    files = [file for file in project.files if not file.is_signature]
    versions = dict.fromkeys(filter(None, (_written(file.version) for file in files)))
    return {
        "meta": META,
        "name": project.name,
        "versions": list(versions),
        "files": [dict(_described(file, root)) for file in files],
    }


def welcome_html(url: str, files: int) -> str:
    """Pypiserver's welcome, for a registry that is reached at `url`."""
    root = f"{url.rstrip('/')}/"
    return _WELCOME(URL=root, VERSION=pypiserver.__version__, NUMPKGS=files, PACKAGES="packages/", SIMPLE="simple/")


def _below_packages(path: str) -> str:
    return quote(path, safe="/!+")


def _from_project(path: str) -> str:
    """The address of a file as a link on the page of a project, wherever the registry is."""
    return f"../../packages/{_below_packages(path)}"


def _project_line(name: str) -> str:
    return link(f"{quote(name)}/", name)


def _file_line(entry: Entry) -> str:
    fragment = f"#{entry.digest}" if entry.digest else ""
    return link(f"{_below_packages(entry.path)}{fragment}", entry.path)


def _described_line(file: File, root: str) -> str:
    return link(
        f"{_from_project(file.path)}#{file.digest}",
        file.name,
        data_requires_python=file.core.requires_python,
        data_core_metadata=f"sha256={file.core.metadata}" if file.core.metadata else None,
        data_yanked=file.yanked,
        data_gpg_sig="true" if file.signed else None,
        data_provenance=_provenance(file, root) if file.attested else None,
    )


def _described(file: File, root: str) -> Iterator[tuple[str, object]]:
    algorithm, _, value = file.digest.partition("=")
    yield "filename", file.name
    yield "url", _from_project(file.path)
    yield "hashes", {algorithm: value}
    yield "size", file.stamp.size
    if time := _written_time(file.stamp.mtime_ns):
        yield "upload-time", time
    yield "yanked", False if file.yanked is None else file.yanked or True
    if file.core.requires_python:
        yield "requires-python", file.core.requires_python
    if file.signed:
        yield "gpg-sig", True
    if file.attested:
        yield "provenance", _provenance(file, root)
    if file.is_wheel:
        yield "core-metadata", {"sha256": file.core.metadata} if file.core.metadata else False


def _written_time(mtime_ns: int) -> str | None:
    """A time of change as PEP 700 has it; None of one that no calendar has, which some file systems keep as well."""
    try:
        # In whole microseconds, of which a float has no more than it can hold.
        time = datetime.fromtimestamp(mtime_ns // 1000 / 1e6, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _provenance(file: File, root: str) -> str:
    # The one address that has to have a host (PEP 740).
    return f"{root}packages/{_below_packages(file.path)}{SUFFIX}"


def _compact(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _written(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return text
