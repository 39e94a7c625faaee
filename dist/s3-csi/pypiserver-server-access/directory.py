"""The directory of users (LDAP), asked through the httpd of the pod, which speaks its protocol.

httpd's mod_authnz_ldap answers on loopback: a path for each role, with the user's own credentials, and a path for each
thing that must be there for its answers to count (runtime/ldap/start.sh makes them).
"""

from __future__ import annotations

import base64
import http.client
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from server.access.judge import ANSWER_SECONDS, DirectoryAwayError, Judge, UndecidedError
from server.pod.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.access.credentials import Role

CHECKS = 1_000
"""More things than that are never looked for."""
SAID_BYTES = 2_000
OF_NAMES = frozenset(',+"\\<>;=#')
"""What means something in a distinguished name (RFC 4514)."""
_log = logging.getLogger("directory")


class Directory(Judge):
    """The directory that httpd asks."""

    away = "the directory of users does not answer, and the log of the container ldap may say why: %s"
    back = "the directory of users answers again"

    def __init__(self, port: int, groups: Mapping[str, str] | None = None) -> None:
        """Ask the httpd that listens at `port` of loopback; its paths have the names of the `groups`."""
        super().__init__(groups)
        self._port = port
        self._missing: frozenset[str] = frozenset()

    def look(self) -> None:
        """Look once whether the directory answers, and whether it has every group."""
        try:
            if not self._checked():
                return
            missing = frozenset(self._not_there())
        except DirectoryAwayError as error:
            self._tell(str(error))
            return
        self._tell(None)
        for text in sorted(missing - self._missing):
            _log.warning("%s", text)
        self._missing = missing

    def samples(self) -> Iterator[Sample]:
        """What is counted."""
        yield from super().samples()
        yield Sample("pypiserver_directory_missing_groups", "Groups that are not in the directory.", len(self._missing))

    def _ask(self, role: Role, user: str, password: bytes) -> HTTPStatus:
        if OF_NAMES & set(user) and not self._checked():
            # A name that users bind by would be another one.
            return HTTPStatus.UNAUTHORIZED
        status, _ = self._get(f"/{role}", base64.b64encode(user.encode() + b":" + password).decode())
        if status == HTTPStatus.OK:
            return HTTPStatus.NO_CONTENT
        # httpd says 401 where its own account is refused too, 403 where a group could not be looked at, and 500 of a
        # directory that is away or gives an answer that httpd does not know.
        checked = self._checked()
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return status
        if checked:
            raise UndecidedError
        raise DirectoryAwayError(f"httpd says {status:d}")

    def _groups_of(self, user: str, password: bytes) -> frozenset[str]:
        credentials = base64.b64encode(user.encode() + b":" + password).decode()
        found = {name: self._get(f"/group/{name}", credentials)[0] for name in self._groups}
        # httpd knows no group that it was not told of.
        outside = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
        if set(found.values()) - {HTTPStatus.OK}:
            # It says 403 also where a group could not be looked at.
            self._checked()
        if set(found.values()) - {HTTPStatus.OK, *outside}:
            raise UndecidedError
        return frozenset(name for name, status in found.items() if status == HTTPStatus.OK)

    def _checked(self) -> bool:
        """Whether the account of httpd works, which there is none of where users bind by themselves.

        Raises:
            DirectoryAwayError: It does not.
        """
        status, said = self._get("/check/0")
        if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            self._rest()
            raise DirectoryAwayError(said)
        return status == HTTPStatus.OK

    def _not_there(self) -> Iterator[str]:
        for number in range(1, CHECKS):
            status, said = self._get(f"/check/{number}")
            if status == HTTPStatus.NOT_FOUND:
                return
            if status == HTTPStatus.FORBIDDEN:
                yield said

    def _get(self, path: str, credentials: str | None = None) -> tuple[HTTPStatus, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        try:
            headers = {"Connection": "close", **({"Authorization": f"Basic {credentials}"} if credentials else {})}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            said = response.read(SAID_BYTES).decode("utf-8", "replace").strip()
            return HTTPStatus(response.status), said
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._rest()
            raise DirectoryAwayError(f"the container ldap does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()
