"""What judges credentials that are not in the registry's own files: a directory of users, or another service."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from server.access.checks import BusyError, UnansweredError
from server.pod.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.access.credentials import Role

ANSWER_SECONDS = 9.0
"""How long a question may take: less than those who wait for it do (checks.PATIENCE_SECONDS)."""
REST_SECONDS = 1.0
"""How long nobody is sent to a judge that has just not answered."""
LOOK_SECONDS = 15.0
"""How often it is asked whether all is there that its answers depend on."""
_RESULTS = {
    HTTPStatus.NO_CONTENT: "granted",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.UNAUTHORIZED: "refused",
}
_AWAY, _UNDECIDED = "away", "undecided"
_log = logging.getLogger("directory")


class DirectoryAwayError(UnansweredError):
    """The judge does not answer, or not in a way that can be believed."""


class UndecidedError(BusyError):
    """It answers, and not about this user."""


class Judge(ABC):
    """Says what a user may do; any number of threads may ask.

    Attributes:
        away: What the log says when it does not answer, with a place for the reason.
        back: What the log says when it answers again.
    """

    away: ClassVar[str]
    back: ClassVar[str]

    def __init__(self, groups: Mapping[str, str] | None = None) -> None:
        """`groups` has what the judge calls the groups of the permissions, by their names there."""
        self._groups = groups or {}
        self._lock = threading.Lock()
        self._resting_until = 0.0
        self._up: bool | None = None
        self._problem: str | None = None
        self._asked = dict.fromkeys([*_RESULTS.values(), _UNDECIDED, _AWAY], 0)
        self._seconds = 0.0

    @abstractmethod
    def look(self) -> None:
        """Look once whether it answers, and whether all is there."""

    @abstractmethod
    def _ask(self, role: Role, user: str, password: bytes) -> HTTPStatus: ...

    @abstractmethod
    def _groups_of(self, user: str, password: bytes) -> frozenset[str]: ...

    def ask(self, role: Role, user: str, password: bytes) -> HTTPStatus:
        """What it says of these credentials: 204, 403 if they are right without the role, or 401.

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

    def samples(self) -> Iterator[Sample]:
        """What is counted."""
        if self._up is not None:
            yield Sample("pypiserver_directory_up", "Whether the directory of users answers.", self._up)
        questions = "pypiserver_directory_questions_total"
        for result, number in self._asked.items():
            labels = f'{{result="{result}"}}'
            yield Sample(questions, "Questions about credentials to the directory.", number, "counter", labels)
        seconds = "pypiserver_directory_seconds_total"
        yield Sample(seconds, "Time that the directory took to answer them.", self._seconds, "counter")

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

    def _rest(self) -> None:
        """Until then nobody waits for what is not there."""
        self._resting_until = time.monotonic() + REST_SECONDS

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # noqa: BLE001 - logged, and the next look may go better
                _log.exception("the directory of users cannot be looked at")
            time.sleep(LOOK_SECONDS)
