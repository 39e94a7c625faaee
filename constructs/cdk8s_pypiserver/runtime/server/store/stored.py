"""What the server has listed, as it tells the other programs of the pod."""

from __future__ import annotations

import http.client
import json
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from server.fetching.answers import AwayError

SECONDS = 10.0
"""How long the server may take to answer."""
LARGEST = 4096


class Stored(NamedTuple):
    """A file that is listed."""

    size: int
    sha256: str
    mtime: int
    """Its time of change, in whole seconds."""


class Questions:
    """Questions to the server of this pod."""

    def __init__(self, port: int) -> None:
        """Ask at this port of loopback."""
        self._port = port

    def stored(self, path: str) -> Stored | None:
        """What is listed under a path, None if nothing is.

        Raises:
            AwayError: The server does not know yet, or does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SECONDS)
        try:
            connection.request("GET", quote(f"/-/stored/{path}"))
            response = connection.getresponse()
            said = response.read(LARGEST)
            if response.status == HTTPStatus.NOT_FOUND:
                return None
            if response.status == HTTPStatus.OK:
                found = json.loads(said)
                return Stored(int(found["size"]), str(found["sha256"]), int(found["mtime"]))
            reason = said.decode("ascii", "replace").strip()
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise AwayError("The package server does not answer; try again") from error
        finally:
            connection.close()
        raise AwayError(reason or f"The package server answers {response.status}")
