"""A simple index (PEP 503, PEP 691), read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import canonicalize_name
from pypi_simple import IndexPage, ProjectPage, UnsupportedContentTypeError, UnsupportedRepoVersionError

from .package import Package, is_package
from .problems import CopyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from requests import Response

    from .web import Web

    T = TypeVar("T")

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class SimpleIndex:
    """The pages of an index."""

    def __init__(self, url: str, web: Web) -> None:
        """Read the index at `url`."""
        self.url = url.rstrip("/") + "/"
        self.web = web

    def projects(self) -> list[str] | None:
        """The normalised names of all projects; None if there is no index.

        Raises:
            CopyError: The page cannot be had or read.
        """
        answer = self.web.page(self.url, _ACCEPT)
        if answer is None:
            return None
        page = _read(lambda: IndexPage.from_response(answer))
        return sorted({canonicalize_name(each) for each in page.projects})

    def packages(self, project: str) -> list[Package] | None:
        """The packages of a project; None if there is no such project.

        Raises:
            CopyError: The page cannot be had or read.
        """
        answer = self.web.page(f"{self.url}{quote(project)}/", _ACCEPT)
        if answer is None:
            return None
        return _packages(answer, project)


def _packages(answer: Response, project: str) -> list[Package]:
    page = _read(lambda: ProjectPage.from_response(answer, project))
    return [
        Package(
            filename=each.filename,
            location=each.url,
            digests=each.digests,
            size=each.size,
            yanked=(each.yanked_reason or "") if each.is_yanked else None,
            uploaded=each.upload_time,
            requires_python=each.requires_python,
            project_hint=project,
            metadata=(each.metadata_digests or {}).get("sha256"),
        )
        for each in page.packages
        # Not a signature, and not what would be written elsewhere.
        if is_package(each.filename)
    ]


def _read(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except (UnsupportedContentTypeError, UnsupportedRepoVersionError):
        raise CopyError("the page is of a kind that no index has") from None
    except ValueError:
        raise CopyError("the page cannot be read") from None
