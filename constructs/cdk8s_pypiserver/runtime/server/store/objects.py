"""Objects of the store, as rclone hands them on."""

from __future__ import annotations

import http.client
import json
import logging
import re
import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from server.fetching.answers import REST_SECONDS, SILENCE_SECONDS, Answer, AwayError, Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.fetching.counters import Counters

CONNECT_SECONDS = 5.0
RESULTS = ("ok", "missing", "error")
"""What can come of a request."""
LARGEST_REASON = 4096
LONGEST_REASON = 200
_FOUND = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
_log = logging.getLogger("store")


class Objects:
    """The objects below one place of a store, which `rclone rcd --rc-serve` has at `/[remote:place]/name`."""

    def __init__(self, address: str, place: str, counters: Counters) -> None:
        """Read through rclone.

        Args:
            address: Where rclone listens.
            place: The place as rclone writes it, such as `store:bucket/folder`.
            counters: Told what comes of every request.
        """
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or http.client.HTTP_PORT
        # With a slash at its end rclone asks no store whether this is a file, which some say of a folder.
        self._place = f"{place.rstrip('/')}/"
        self._counters = counters
        self._rests_until = 0.0
        self._why = ""
        counters.add("received_bytes_total", 0)
        for result in RESULTS:
            counters.add("requests_total", 0, result=result)

    def url(self, path: str) -> str:
        """Where an object is, for `answer`."""
        return quote(f"/[{self._place}]/{path}", safe="/:[]")

    @contextmanager
    def answer(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """The answer to a GET, which is an object or a part of it.

        Raises:
            AwayError: The store does not answer, or has not got the object, which is listed.
        """
        if time.monotonic() < self._rests_until:
            raise AwayError(self._why)
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        connection.response_class = Response
        try:
            try:
                connection.connect()
                connection.sock.settimeout(SILENCE_SECONDS)
                connection.request("GET", url, headers={**headers, "Accept-Encoding": "identity"})
                response = cast("Response", connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                raise self._away(f"rclone does not answer: {error or type(error).__name__}") from error
            if response.status not in _FOUND:
                raise self._refused(response)
            self._rests_until = 0.0
            self._counters.add("requests_total", result="ok")
            yield Answer("The store", url, response, lambda count: self._counters.add("received_bytes_total", count))
        finally:
            connection.close()

    def _refused(self, response: http.client.HTTPResponse) -> AwayError:
        try:
            said = response.read(LARGEST_REASON)
            reason = str(json.loads(said)["error"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            reason = f"rclone answers {response.status}"
        if response.status != HTTPStatus.NOT_FOUND:
            return self._away(reason)
        # It may have gone by another hand, of which the server has not learnt yet, or the store fails only now.
        self._counters.add("requests_total", result="missing")
        _log.warning("what is listed cannot be had: %s", _plain(reason))
        return AwayError("The store does not hand out this file, which is listed; try again")

    def _away(self, reason: str) -> AwayError:
        """Leave the store alone for a while: whoever asks meanwhile is told at once."""
        self._counters.add("requests_total", result="error")
        if time.monotonic() >= self._rests_until:
            _log.warning("the store does not answer: %s", _plain(reason))
        # Clients learn what is the matter, not where the store is.
        self._why = f"The store does not answer: {_plain(reason.rpartition(': ')[2])[:LONGEST_REASON]}"
        self._rests_until = time.monotonic() + REST_SECONDS
        return AwayError(self._why)


def _plain(text: str) -> str:
    return re.sub("[^ -~]", "?", text)
