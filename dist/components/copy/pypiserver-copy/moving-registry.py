"""A registry: its simple index, and the address that twine uploads to."""

from __future__ import annotations

import re
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

from .downloads import Downloaded
from .forms import Form
from .problems import CopyError, ExistsError, HopelessError, InputError, PassingError
from .web import check

if TYPE_CHECKING:
    from collections.abc import Iterable

    from requests import Response

    from .downloads import Downloads
    from .index import SimpleIndex
    from .package import Content, Package
    from .web import Web

_NOWHERE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_EXISTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST})
# What servers say with 400: PyPI and Nexus, GitLab.
_TAKEN = re.compile("exist|already been taken|does not allow updating", re.IGNORECASE)


class Registry:
    """What is read through an index, and written with forms."""

    def __init__(self, url: str, web: Web, index: SimpleIndex, downloads: Downloads) -> None:
        """Upload to `url`, read `index`."""
        self.name = url
        self._url = url
        self._web = web
        self._index = index
        self._downloads = downloads
        self._lock = threading.Lock()
        self._withdrawn: set[tuple[str, str]] = set()

    def probe(self, project: str) -> str | None:
        """Make sure that there is a registry, as far as one can tell; returns what cannot be told.

        Args:
            project: One whose page is looked at where there is none of all projects: CodeArtifact and Gitea have none.

        Raises:
            InputError: There is none, or not for this user.
        """
        try:
            if self._index.projects() is not None or self._index.packages(project) is not None:
                return None
        except CopyError as error:
            raise InputError("TARGET", self.name, f"has an index that cannot be read: {error}") from error
        return f"{self._index.url} has no page of all projects and none of {project} (404): a registry may have neither"

    def packages(self, project: str) -> dict[str, Package]:
        """See Target."""
        return {package.filename: package for package in self._index.packages(project) or ()}

    def put(self, package: Package, content: Content) -> None:
        """See Target."""
        form = Form(package, content, self._web.pace)
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            if attempts > 1:
                # Whatever it was: the target has to wait for nothing this time.
                content.whole()
            self._put(form)

        self._web.again(attempt)

    def _put(self, form: Form) -> None:
        headers = {"Content-Type": form.content_type}
        answer = self._web.send("POST", self._url, data=form, headers=headers, allow_redirects=False)
        if answer.status_code in _EXISTS and (
            answer.status_code == HTTPStatus.CONFLICT or _TAKEN.search(f"{answer.reason} {answer.text}")
        ):
            raise ExistsError(_said(answer))
        if answer.status_code in _NOWHERE:
            raise HopelessError(f"{_said(answer)}: nothing takes uploads at {self._url}, or not from this user")
        _check(answer)

    def digest(self, package: Package, algorithms: Iterable[str]) -> dict[str, str]:
        """See Target."""
        with self._downloads.content(package, algorithms) as content:
            return dict(content.digests)

    def withdraw(self, package: Package, there: Package | None, of_version: list[Package]) -> None:
        """See Target: a registry withdraws versions, not files, and what it has withdrawn itself stays so."""
        if package.yanked is None or (there and there.yanked is not None):
            return
        if any(each.yanked is None for each in of_version):
            raise CopyError("only some files of its version are yanked at the source; here all are or none")
        name, version, _ = package.parsed()
        with self._lock:
            if (package.project, package.release) in self._withdrawn:
                return
            fields = {":action": "yank", "name": name, "version": version, "reason": package.yanked}
            try:
                self._web.again(lambda: self._yank(fields))
            except PassingError:
                raise
            except CopyError as error:
                raise CopyError(f"it is there, but not yanked as at the source: {error}") from error
            self._withdrawn.add((package.project, package.release))

    def _yank(self, fields: dict[str, str]) -> None:
        parts = {name: (None, value) for name, value in fields.items()}
        _check(self._web.send("POST", self._url, files=parts, allow_redirects=False))


class IndexSource(Downloaded):
    """An index as a source."""

    def __init__(self, index: SimpleIndex, downloads: Downloads) -> None:
        """Read `index`."""
        super().__init__(downloads)
        self.name = index.url
        self._index = index

    def projects(self) -> list[str]:
        """See Source.

        Raises:
            InputError: There is no index that can be read.
        """
        try:
            projects = self._index.projects()
        except CopyError as error:
            raise InputError("SOURCE", self.name, f"has an index that cannot be read: {error}") from error
        if projects is None:
            # Some registries have none, and a wrong address neither.
            why = "has no page of all projects (404): name each by --only NAME, or give a lock file"
            raise InputError("SOURCE", self.name, why)
        return projects

    def packages(self, project: str) -> list[Package]:
        """See Source."""
        packages = self._index.packages(project)
        if packages is None:
            raise CopyError("the source has no such project")
        return packages


def _check(answer: Response) -> None:
    """Pass an answer to a form that says yes.

    Raises:
        CopyError: It says no, and why.
    """
    if answer.is_redirect:
        raise CopyError("the address for uploads leads elsewhere; name the right one")
    if answer.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
        raise CopyError(_said(answer))
    check(answer)


def _said(answer: Response) -> str:
    """The answer in a line: its status line, which servers of packages use for the reason."""
    return f"{answer.status_code} {answer.reason or ''}".strip()
