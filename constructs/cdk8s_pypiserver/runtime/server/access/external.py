"""A service that judges credentials for others: whatever speaks nginx's auth_request, such as oauth2-proxy or Authelia.

It gets the Authorization header of the user, and nothing else of the client. It answers 2xx with two headers, the name
of the user and the groups, or 401, 403 or a redirect to a login. What each group may do is said by the settings.
"""

from __future__ import annotations

import base64
import http.client
import logging
import ssl
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from server.access.judge import ANSWER_SECONDS, DirectoryAwayError, Judge, UndecidedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.access.credentials import Role
    from server.pod.settings import Settings

EVERYBODY = "*"
METHODS: Mapping[Role, str] = {"reader": "GET", "publisher": "POST"}
"""What the service is told that the user wants to do."""
SAID_SECONDS = 60.0
"""How much time lies between two lines of the log about answers that name somebody else."""
_YES = range(200, 300)
_NO = frozenset({*range(300, 400), HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""A wrong password too may be 403, and a redirect leads to where people log in."""
_log = logging.getLogger("external")


class External(Judge):
    """The service that is asked."""

    away = "the service that judges credentials does not answer as it should: %s"
    back = "the service that judges credentials answers again"

    def __init__(  # noqa: PLR0913
        self,
        url: str,
        *,
        user_header: str,
        groups_header: str,
        readers: frozenset[str],
        publishers: frozenset[str],
        original_url: str = "",
        certificates: Path | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> None:
        """Ask at `url`.

        Args:
            url: What answers; with https its certificate must be of those who are in `certificates`.
            user_header: The header of an answer that has the user's name.
            groups_header: The one that has the groups, with commas between them.
            readers: Groups that may read; EVERYBODY in it means whoever has the right password.
            publishers: Groups that may publish and read.
            original_url: Address of the registry, for services that have rules by it.
            certificates: A file of certificates.
            groups: What it calls the groups of the permissions, by their names there.
        """
        super().__init__(groups)
        parts = urlsplit(url)
        self._place = parts.netloc
        # With its query, which may say who is let in at all.
        self._path = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
        self._is_encrypted = parts.scheme == "https"
        self._certificates = certificates
        self._user_header = user_header
        self._groups_header = groups_header
        self._readers = readers
        self._publishers = publishers
        self._original_url = original_url
        self._said = -SAID_SECONDS
        # Whether it keeps out whoever has no credentials, as far as that is known.
        self._is_closed = False

    @classmethod
    def of(cls, settings: Settings, groups: Mapping[str, str]) -> External:
        """The one that the settings want, for the groups of the permissions."""
        return cls(
            settings.external_auth_url,
            user_header=settings.external_auth_user_header,
            groups_header=settings.external_auth_groups_header,
            readers=settings.external_auth_readers,
            publishers=settings.external_auth_publishers,
            original_url=settings.external_auth_original_url,
            certificates=settings.external_auth_certificates,
            groups=groups,
        )

    def look(self) -> None:
        """Look once whether it answers, and keeps out whoever has no credentials."""
        try:
            self._check()
        except DirectoryAwayError as error:
            self._tell(str(error))
        else:
            self._tell(None)

    def _check(self) -> None:
        status, _, _ = self._request("reader", None)
        self._is_closed = status in _NO
        if not self._is_closed:
            raise DirectoryAwayError(f"it says {status} to whoever has no credentials, so it cannot be believed")

    def _ask(self, role: Role, user: str, password: bytes) -> HTTPStatus:
        if not self._is_closed:
            self._check()
        status, name, groups = self._request(role, base64.b64encode(user.encode() + b":" + password).decode())
        if status in _NO:
            return HTTPStatus.UNAUTHORIZED
        if not name:
            raise DirectoryAwayError(f"it says {status} without the header {self._user_header}, so nobody is meant")
        if name != user:
            # Rules and the audit trail go by names: what was typed and what is meant must be one.
            if time.monotonic() - self._said >= SAID_SECONDS:
                self._said = time.monotonic()
                _log.warning("%s has another name than the user who logged in: refused", self._user_header)
            return HTTPStatus.UNAUTHORIZED
        if groups & self._publishers:
            return HTTPStatus.NO_CONTENT
        reads = EVERYBODY in self._readers or bool(groups & self._readers)
        return HTTPStatus.NO_CONTENT if reads and role == "reader" else HTTPStatus.FORBIDDEN

    def _groups_of(self, user: str, password: bytes) -> frozenset[str]:
        if not self._groups:
            return frozenset()
        credentials = base64.b64encode(user.encode() + b":" + password).decode()
        status, name, groups = self._request("reader", credentials)
        if status in _NO or name != user:
            raise UndecidedError
        return frozenset(each for each, called in self._groups.items() if called in groups)

    def _request(self, role: Role, credentials: str | None) -> tuple[int, str, frozenset[str]]:
        """The status of an answer, and the user and the groups in it.

        Raises:
            DirectoryAwayError: There is none, or one that says neither yes nor no.
        """
        headers = {"Connection": "close", "X-Original-Method": METHODS[role]}
        if self._original_url:
            headers["X-Original-URL"] = self._original_url
        if credentials:
            headers["Authorization"] = f"Basic {credentials}"
        connection = self._connection()
        try:
            connection.request("GET", self._path, headers=headers)
            answer = connection.getresponse()
            name = _text(answer.getheader(self._user_header, ""))
            groups = frozenset(each.strip() for each in _text(answer.getheader(self._groups_header, "")).split(","))
            status = answer.status
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._rest()
            raise DirectoryAwayError(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if status not in _YES and status not in _NO:
            raise DirectoryAwayError(f"it says {status}")
        return status, name, groups - {""}

    def _connection(self) -> http.client.HTTPConnection:
        if not self._is_encrypted:
            return http.client.HTTPConnection(self._place, timeout=ANSWER_SECONDS)
        try:
            # Each time: the file may have changed.
            trusted = ssl.create_default_context(cafile=self._certificates)
        except OSError as error:
            raise DirectoryAwayError(f"its certificates cannot be read: {error}") from error
        return http.client.HTTPSConnection(self._place, timeout=ANSWER_SECONDS, context=trusted)


def _text(value: str) -> str:
    """A header as it was meant: http.client reads bytes beyond ASCII one by one."""
    return value.encode("latin-1").decode("utf-8", "replace").strip()
