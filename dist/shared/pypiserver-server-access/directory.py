"""The directory of users (LDAP), asked through the httpd of the pod, which speaks its protocol.

httpd's mod_authnz_ldap answers on loopback: a path for each role, with the user's own credentials, and a path for each
thing that must be there for its answers to count (runtime/ldap/start.sh makes them).
"""

from __future__ import annotations

import base64
import http.client
import logging
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from server.access.checks import BusyError, UnansweredError
from server.pod.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.access.credentials import Role

ANSWER_SECONDS = 9.0
"""How long a question may take: less than those who wait for it do (checks.PATIENCE_SECONDS)."""
REST_SECONDS = 1.0
"""How long nobody is sent to a directory that has just not answered."""
LOOK_SECONDS = 15.0
"""How often it is asked whether all is there that its answers depend on."""
CHECKS = 1_000
"""More things than that are never looked for."""
SAID_BYTES = 2_000
OF_NAMES = frozenset(',+"\\<>;=#')
"""What means something in a distinguished name (RFC 4514)."""
_RESULTS = {
    HTTPStatus.NO_CONTENT: "granted",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.UNAUTHORIZED: "refused",
}
_AWAY, _UNDECIDED = "away", "undecided"
_log = logging.getLogger("directory")


class DirectoryAwayError(UnansweredError):
    """The directory does not answer, or not in a way that can be believed."""


class UndecidedError(BusyError):
    """The directory answers, and not about this user."""


class Directory:
    """Says what a user may do; any number of threads may ask.

    Attributes:
        away: What the log says when it does not answer, with a place for the reason.
        back: What the log says when it answers again.
    """

    away = "the directory of users does not answer, and the log of the container ldap may say why: %s"
    back = "the directory of users answers again"

    def __init__(self, port: int, groups: Mapping[str, str] | None = None) -> None:
        """Ask the httpd that listens at `port` of loopback.

        `groups` has what the directory calls the groups of the permissions, by the names that httpd's paths have.
        """
        self._groups = groups or {}
        self._port = port
        self._lock = threading.Lock()
        self._resting_until = 0.0
        self._up: bool | None = None
        self._problem: str | None = None
        self._missing: frozenset[str] = frozenset()
        self._asked = dict.fromkeys([*_RESULTS.values(), _UNDECIDED, _AWAY], 0)
        self._seconds = 0.0

    def ask(self, role: Role, user: str, password: bytes) -> HTTPStatus:
        """What the directory says of these credentials: 204, 403 if they are right without the role, or 401.

        Raises:
            DirectoryAwayError: It says nothing.
            UndecidedError: It says neither, as some do of an account that is closed.
        """
        if time.monotonic() < self._resting_until:
            raise DirectoryAwayError
        begun = time.monotonic()
        try:
            status = self._ask(role, user, password)
        except DirectoryAwayError as error:
            self._count(_AWAY, begun)
            self._tell(str(error))
            raise
        except UndecidedError:
            self._count(_UNDECIDED, begun)
            raise
        self._count(_RESULTS[status], begun)
        self._tell(None)
        return status

    def groups_of(self, user: str, password: bytes) -> frozenset[str]:
        """The groups of the permissions that a user is in, whose credentials were right just now.

        Raises:
            DirectoryAwayError: It says nothing.
            UndecidedError: It does not say of each.
        """
        try:
            return self._groups_of(user, password)
        except DirectoryAwayError as error:
            self._tell(str(error))
            raise

    def start(self) -> None:
        """Begin to look whether all is there, until the process ends."""
        threading.Thread(target=self._run, name="directory", daemon=True).start()

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
        if self._up is not None:
            yield Sample("pypiserver_directory_up", "Whether the directory of users answers.", self._up)
        yield Sample("pypiserver_directory_missing_groups", "Groups that are not in the directory.", len(self._missing))
        questions = "pypiserver_directory_questions_total"
        for result, number in self._asked.items():
            labels = f'{{result="{result}"}}'
            yield Sample(questions, "Questions about credentials to the directory.", number, "counter", labels)
        seconds = "pypiserver_directory_seconds_total"
        yield Sample(seconds, "Time that the directory took to answer them.", self._seconds, "counter")

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
            # Until then nobody waits for what is not there.
            self._resting_until = time.monotonic() + REST_SECONDS
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
            self._resting_until = time.monotonic() + REST_SECONDS
            raise DirectoryAwayError(f"the container ldap does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _count(self, result: str, begun: float) -> None:
        with self._lock:
            self._asked[result] += 1
            self._seconds += time.monotonic() - begun

    def _tell(self, problem: str | None) -> None:
        """Note whether it answers, and say so if that, or the reason, is new."""
        if problem is None:
            self._resting_until = 0.0
        was, self._up = self._up, problem is None
        if problem == self._problem:
            return
        self._problem = problem
        if problem is not None:
            _log.error(self.away, problem)
        elif was is not None:
            _log.warning(self.back)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # noqa: BLE001 - logged, and the next look may go better
                _log.exception("the directory of users cannot be looked at")
            time.sleep(LOOK_SECONDS)
