"""The registry, as any client sees it: its index in JSON (PEP 691, 700), and the address that forms are sent to."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from retention.releases import File

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

JSON = "application/vnd.pypi.simple.v1+json"
OWN = "../../packages/"
"""How the address of a file begins that is the registry's own, and not one of a public index."""
TIMEOUT_SECONDS = 60.0
LARGEST_ANSWER = 256 * 2**20
MOST_WAIT_SECONDS = 30.0
PASSING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, *(each for each in HTTPStatus if each >= 500)})  # noqa: PLR2004
"""Statuses that may be others in a while. 507 is one: somebody may make room."""


class AwayError(Exception):
    """The registry does not answer, or not as one does."""


class ForbiddenError(Exception):
    """The user may not do this; no other version will fare better."""


class RefusedError(Exception):
    """The registry does not do this."""


class GoneError(Exception):
    """There is no such version, or project, any more."""


class Place(NamedTuple):
    """Where it is."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    """For TLS."""
    tls_name: str | None = None
    """The name that the certificate is for, if it is not the host's."""


class _Answer(NamedTuple):
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


class Registry:
    """One registry; requests are sent one after the other, and again while it is away."""

    def __init__(self, place: Place, login: tuple[str, str] | None, *, patience_seconds: float) -> None:
        """Ask as this user, and wait so long for a registry that is away."""
        self._place = place
        self._patience = patience_seconds
        self._headers = {"User-Agent": "cdk8s-pypiserver-retention"}
        if login:
            self._headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self._connection: http.client.HTTPConnection | None = None
        self.time: datetime | None = None
        """The time that its last answer says."""

    def projects(self) -> list[str]:
        """The normalised names of the projects that have a file here.

        Raises:
            AwayError: There is no answer, or none that can be read.
            ForbiddenError: It does not answer this user.
        """
        return sorted(each["name"] for each in self._page("/simple/")["projects"])

    def files(self, project: str) -> list[File]:
        """The files of a project that are here; none of those that come from a public index.

        Raises:
            AwayError: There is no answer, or none that can be read.
            ForbiddenError: It does not answer this user.
        """
        try:
            page = self._page(f"/simple/{quote(project)}/")
        except GoneError:
            return []
        try:
            return [_file(each) for each in page["files"] if each["url"].startswith(OWN)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AwayError(f"its page of {project} cannot be read: {error!r}") from error

    def remove(self, project: str, written: str, names: Sequence[str]) -> None:
        """Remove the files of a version, as its files have it written, if it has no others than these.

        Raises:
            AwayError: There is no answer.
            ForbiddenError: Nothing is removed for this user.
            RefusedError: It is not done.
            GoneError: It is not there any more.
        """
        self._post({":action": "remove_pkg", "name": project, "version": written, "files": " ".join(names)})

    def yank(self, project: str, version: str, reason: str) -> None:
        """Withdraw a version.

        Raises:
            AwayError: There is no answer.
            ForbiddenError: Nothing is withdrawn for this user.
            RefusedError: It is not done.
            GoneError: It is not there any more.
        """
        self._post({":action": "yank", "name": project, "version": version, "reason": reason})

    def report(self, report: Mapping[str, object]) -> None:
        """Have it show how a run ended.

        Raises:
            AwayError: There is no answer.
            ForbiddenError: It takes nothing from this user.
            RefusedError: It does not take it.
            GoneError: The same.
        """
        self._post({":action": "report", "name": "retention", "report": json.dumps(report)})

    def _post(self, form: Mapping[str, str]) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self._checked(self._ask("POST", "/", urlencode(form).encode(), headers))

    def _page(self, path: str) -> dict[str, Any]:
        answer = self._checked(self._ask("GET", path, b"", {"Accept": JSON}))
        try:
            page: dict[str, Any] = json.loads(answer.body)
            version = page["meta"]["api-version"]
            known = version.partition(".")[0] == "1"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AwayError(f"its answer to {path} is no page of an index in JSON") from error
        if not known:
            raise AwayError(f"its index is of version {version}, and 1 is known here")
        return page

    def _checked(self, answer: _Answer) -> _Answer:
        said = f"{answer.status} {answer.reason}".strip()
        if answer.status == HTTPStatus.OK:
            return answer
        if answer.status == HTTPStatus.NOT_FOUND:
            raise GoneError(said)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ForbiddenError(said)
        if answer.status == HTTPStatus.MISDIRECTED_REQUEST:
            raise AwayError(f"it says {said}: it has TLS, and is asked without")
        raise RefusedError(said)

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        begun, delay = time.monotonic(), 0.25
        while True:
            asked = 0.0
            try:
                answer = self._once(method, path, body, {**self._headers, **headers})
            except ssl.SSLCertVerificationError as error:
                raise AwayError(f"its certificate is not trusted: {error.verify_message}") from error
            except (OSError, http.client.HTTPException) as error:
                said = _why(error)
            else:
                if answer.status not in PASSING:
                    return answer
                said, asked = f"it says {answer.status} {answer.reason}".strip(), _seconds(answer.headers)
            wait = min(max(delay, asked), MOST_WAIT_SECONDS)
            if time.monotonic() - begun + wait > self._patience:
                raise AwayError(f"{said}, for {self._patience:g} seconds")
            time.sleep(wait)
            delay *= 2

    def _once(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        connection = self._connection or _connection(self._place)
        self._connection = None
        try:
            connection.request(method, path, body or None, dict(headers))
            answer = connection.getresponse()
            content = answer.read(LARGEST_ANSWER + 1)
        except BaseException:
            connection.close()
            raise
        if len(content) > LARGEST_ANSWER:
            connection.close()
            raise AwayError(f"its answer to {path} has more than {LARGEST_ANSWER >> 20} MiB")
        # One that is to be closed connects anew by itself.
        self._connection = connection
        with suppress(TypeError, ValueError):
            self.time = parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(timezone.utc)
        return _Answer(answer.status, answer.reason, answer.headers, content)


class _Named(http.client.HTTPSConnection):
    """A connection to one host whose certificate is for another name, which the request has as well."""

    def __init__(self, place: Place, context: ssl.SSLContext) -> None:
        super().__init__(place.tls_name or place.host, place.port, timeout=TIMEOUT_SECONDS, context=context)
        self._place = place
        self._secured = context

    def connect(self) -> None:
        plain = socket.create_connection((self._place.host, self._place.port), TIMEOUT_SECONDS)
        try:
            self.sock = self._secured.wrap_socket(plain, server_hostname=self._place.tls_name or self._place.host)
        except BaseException:
            plain.close()
            raise


def context(certificates: Path) -> ssl.SSLContext:
    """What TLS is spoken with: these certificates alone are trusted, or the usual ones if the file is not there."""
    return ssl.create_default_context(cafile=str(certificates) if certificates.exists() else None)


def _connection(place: Place) -> http.client.HTTPConnection:
    if place.context:
        return _Named(place, place.context)
    return http.client.HTTPConnection(place.host, place.port, timeout=TIMEOUT_SECONDS)


def _file(said: Mapping[str, Any]) -> File:
    uploaded = said.get("upload-time")
    return File(
        name=said["filename"],
        size=int(said.get("size") or 0),
        # Python 3.10 knows no Z.
        uploaded=datetime.fromisoformat(uploaded.replace("Z", "+00:00")).astimezone(timezone.utc) if uploaded else None,
        hashes=frozenset(said["hashes"].items()),
        yanked=said.get("yanked", False) is not False,
    )


def _seconds(headers: http.client.HTTPMessage) -> float:
    after = headers.get("Retry-After", "").strip()
    return float(after) if after.isdigit() else 0.0


def _why(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"its name is not known ({error.strerror})"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError):
        return f"the connection failed ({error.strerror or error})"
    return f"the connection failed ({type(error).__name__})"
