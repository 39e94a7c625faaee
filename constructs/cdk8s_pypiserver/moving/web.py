"""Requests that are tried again, and end when the command is to end."""

from __future__ import annotations

import threading
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from .problems import CopyError, HopelessError, PassingError, why

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from .credentials import Logins
    from .pace import Pace

    T = TypeVar("T")

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be others the next time."""
LONGEST_WAIT = 120.0
REDIRECTS = 5
NETWORK = (requests.RequestException, urllib3.exceptions.HTTPError)
_USER_AGENT = "cdk8s-pypiserver-copy"


class Web:
    """One server and those it leads to, with a connection for each thread."""

    def __init__(self, logins: Logins, pace: Pace, *, retries: int, timeout: float, direct: bool = False) -> None:
        """Ask with `logins`, wait by `pace`; `direct` is past any proxy that the environment names."""
        self._logins = logins
        self.pace = pace
        self._retries = retries
        self._timeout = timeout
        self._direct = direct
        self._local = threading.local()

    def send(self, method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send a request once; the answer may be any.

        Raises:
            PassingError: There is no answer.
        """
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.headers["User-Agent"] = _USER_AGENT
            session.auth = self._logins
            session.trust_env = not self._direct
        try:
            return session.request(method, url, timeout=self._timeout, **options)
        except NETWORK as error:
            raise PassingError(why(error)) from error

    def again(self, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Try until it works, or has got nowhere too often.

        Raises:
            CopyError: It did not work.
        """
        failures, before = 0, progress()
        while True:
            try:
                return attempt()
            except PassingError as error:  # noqa: PERF203 - what is tried again is a request
                now = progress()
                failures = 1 if now > before else failures + 1
                before = now
                if failures > self._retries:
                    raise
                self.pace.wait(min(LONGEST_WAIT, 0.25 * 2**failures if error.after is None else error.after))

    def page(self, url: str, accept: str) -> requests.Response | None:
        """A page of an index; None if this server has none there.

        Raises:
            CopyError: It cannot be had.
        """
        return self.again(lambda: self._page(url, accept))

    def _page(self, url: str, accept: str) -> requests.Response | None:
        host = urlsplit(url).hostname
        for _ in range(REDIRECTS):
            answer = self.send("GET", url, headers={"Accept": accept}, allow_redirects=False)
            if not answer.is_redirect:
                break
            url = urljoin(url, answer.headers["Location"])
            if urlsplit(url).hostname != host:
                # pypiserver sends on to a public index what it does not have: that is not here.
                return None
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        check(answer)
        return answer


def check(answer: requests.Response) -> None:
    """Pass an answer that says yes.

    Raises:
        CopyError: It says something else.
    """
    status = answer.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    said = f"{status} {answer.reason or ''}".strip()
    if status in PASSING:
        raise PassingError(said, _seconds(answer.headers.get("Retry-After")))
    if status == HTTPStatus.UNAUTHORIZED:
        raise HopelessError(f"{said}: the user or the password is wrong")
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        raise HopelessError(f"{said}: the server is full")
    raise CopyError(said)


def _seconds(after: str | None) -> float | None:
    if after is None:
        return None
    if after.strip().isdigit():
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - time.time())
    except ValueError:
        return None
