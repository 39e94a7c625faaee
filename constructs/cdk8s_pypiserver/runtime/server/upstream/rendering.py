"""The page of a public project as the registry shows it, with links that lead back to the registry (PEP 503, 691)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from server.index.html import link, page
from server.upstream.filenames import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from server.upstream.page import Page, PublicFile

META = {"api-version": "1.4"}
PLACE = "../../upstream"
"""Where public files are, seen from the page of a project: it holds below whatever path the registry is reached at."""


def detail(name: str, read: Page, files: Iterable[PublicFile]) -> dict[str, Any]:
    """The page of a project in JSON, with these files of it."""
    found = [_described(name, file) for file in files]
    result: dict[str, Any] = {
        "meta": META,
        "name": name,
        "versions": versions(name, (file["filename"] for file in found)),
        "files": found,
    }
    if read.status:
        status = {"status": read.status, "reason": read.status_reason}
        result["project-status"] = {key: value for key, value in status.items() if value}
    return result


def versions(project: str, filenames: Iterable[str]) -> list[str]:
    """The versions of these files of a project, as PEP 700 wants them."""
    found = dict.fromkeys(version_of(project, filename) for filename in filenames)
    return sorted(filter(None, found), key=_order)


def html(detail: Mapping[str, Any]) -> str:
    """The same page in HTML, of what `detail` made or what has been merged with it."""
    status = detail.get("project-status", {})
    return page(
        f"Links for {detail['name']}",
        "\n".join(map(_line, detail["files"])),
        pypi__repository_version=META["api-version"],
        pypi__project_status=status.get("status"),
        pypi__project_status_reason=status.get("reason"),
    )


def _described(name: str, file: PublicFile) -> dict[str, Any]:
    url = f"{PLACE}/{name}/{file.sha256}/{file.filename}"
    described: dict[str, Any] = {
        "filename": file.filename,
        "url": url,
        "hashes": {"sha256": file.sha256},
        "yanked": False if file.yanked is None else file.yanked or True,
    }
    optional = {
        "size": file.size,
        "upload-time": file.upload_time if file.uploaded else None,
        "requires-python": file.requires_python,
        "core-metadata": {"sha256": file.metadata} if file.metadata else None,
        "provenance": f"{url}.provenance" if file.provenance else None,
    }
    return {**described, **{key: value for key, value in optional.items() if value is not None}}


def _line(file: Mapping[str, Any]) -> str:
    algorithm, digest = next(iter(file["hashes"].items()))
    core, yanked = file.get("core-metadata"), file.get("yanked")
    return link(
        f"{file['url']}#{algorithm}={digest}",
        file["filename"],
        data_requires_python=file.get("requires-python"),
        data_core_metadata=f"sha256={core['sha256']}" if core else None,
        data_yanked=None if yanked is False else "" if yanked is True else yanked,
        data_provenance=file.get("provenance"),
        data_gpg_sig="true" if file.get("gpg-sig") else None,
    )


def _order(version: str) -> tuple[int, Version | str]:
    try:
        return 1, Version(version)
    except InvalidVersion:
        return 0, version
