"""Two indexes side by side: the registry's, and that of a server on what was restored."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from backup.manifest import MOMENT
from backup.problems import RunError

if TYPE_CHECKING:
    from pathlib import Path

JSON = "application/vnd.pypi.simple.v1+json"
_PATIENCE_SECONDS = 60
_NOT_FOUND = 404
_OF_A_FILE = ("hashes", "size", "requires-python", "core-metadata", "provenance")
"""What must be the same of a file."""


class Index:
    """A simple index, asked for JSON."""

    def __init__(
        self,
        url: str,
        user: tuple[str, str] | None = None,
        authority: Path | None = None,
        *,
        tls_name: str = "",
    ) -> None:
        """Ask at `url`, as this user with this password.

        Args:
            url: Where it is.
            user: Name and password, if it asks for any.
            authority: The certificates by which the registry is known, where it has one of its own.
            tls_name: The name that its certificate is for, if that is another than the host of the address.
        """
        self._url = url.rstrip("/")
        self._headers = {"Accept": JSON, **({"Host": tls_name} if tls_name else {})}
        if user:
            pair = base64.b64encode(":".join(user).encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
        # Never by a proxy of the environment: it is a Service of the cluster.
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), _Handler(context, tls_name))

    def projects(self) -> set[str]:
        """The names of all projects.

        Raises:
            RunError: The index does not answer.
        """
        page = self._page("/simple/") or {}
        return {str(each["name"]) for each in page.get("projects", [])}

    def files(self, project: str) -> dict[str, dict[str, Any]]:
        """What a project's page says of each file; nothing where there is no page.

        Raises:
            RunError: The index does not answer.
        """
        page = self._page(f"/simple/{quote(project, safe='')}/") or {}
        return {str(each["filename"]): each for each in page.get("files", [])}

    def _page(self, path: str) -> dict[str, Any] | None:
        request = Request(f"{self._url}{path}", headers=self._headers)  # noqa: S310 - of the registry's own
        try:
            with self._opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
                found = json.load(answer)
        except HTTPError as error:
            if error.code == _NOT_FOUND:
                return None
            reason = "denied" if error.code in (401, 403) else "registry"
            raise RunError(reason, f"{self._url}{path} answers {error.code} {error.reason}") from error
        except (URLError, OSError, ValueError) as error:
            raise RunError("registry", f"{self._url}{path} does not answer: {error}") from error
        return found if isinstance(found, dict) else {}


class _Handler(HTTPSHandler):
    """Opens connections to a host whose certificate is for another name."""

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        super().__init__(context=context)
        self._secured = context
        self._name = name

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        def connection(host: str, **arguments: Any) -> _Named:  # noqa: ANN401 - those of http.client
            return _Named(host, self._name, context=self._secured, **arguments)

        return self.do_open(connection, req)


class _Named(http.client.HTTPSConnection):
    def __init__(self, host: str, name: str, *, context: ssl.SSLContext, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(host, context=context, **arguments)
        self._name = name or self.host
        self._secured = context

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        try:
            self.sock = self._secured.wrap_socket(plain, server_hostname=self._name)
        except BaseException:
            plain.close()
            raise


@dataclass
class Comparison:
    """What was found."""

    projects: int = 0
    """Pages of what was restored."""
    same: int = 0
    """Files that both show alike."""
    new: int = 0
    """Files that the registry has got since the backup."""
    gone: int = 0
    """Files of the backup that the registry no longer has."""
    yanked: int = 0
    """Files that have been withdrawn, or brought back, since."""
    different: list[str] = field(default_factory=list)
    """What is not as it has to be."""


def compare(restored: Index, registry: Index, made: str) -> Comparison:
    """Compare all pages of two indexes.

    Args:
        restored: The index of what was restored.
        registry: The registry that the backup is of.
        made: When the backup was made.

    Raises:
        RunError: One of them does not answer.
    """
    # A clock may be a little off.
    moment = datetime.strptime(made, MOMENT).replace(tzinfo=timezone.utc) - timedelta(minutes=5)
    found = Comparison()
    ours = restored.projects()
    found.projects = len(ours)
    for project in sorted(ours):
        _compare_files(project, restored.files(project), registry.files(project), moment, found)
    for project in sorted(registry.projects() - ours):
        _compare_files(project, {}, registry.files(project), moment, found)
    return found


def _compare_files(
    project: str, ours: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]], moment: datetime, into: Comparison
) -> None:
    for name, file in ours.items():
        other = theirs.get(name)
        if other is None:
            into.gone += 1
        elif differing := [key for key in _OF_A_FILE if _plain(file, key) != _plain(other, key)]:
            into.different.append(f"{name}: {', '.join(differing)}")
        else:
            into.same += 1
            into.yanked += file.get("yanked") != other.get("yanked")
    for name, file in theirs.items():
        # Public files beside ours have other addresses.
        if name in ours or "packages/" not in str(file.get("url")):
            continue
        uploaded = _time(file.get("upload-time"))
        if uploaded is None or uploaded >= moment:
            into.new += 1
        else:
            into.different.append(f"{name} of {project}: not in the backup")


def _plain(file: dict[str, Any], key: str) -> object:
    value = file.get(key)
    # Its address begins with where the index is.
    return value.rpartition("/")[2] if key == "provenance" and isinstance(value, str) else value


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
