"""Packages as this server sends them: where the volume can hang, the gateway leaves them to it."""

from __future__ import annotations

import functools
from contextlib import closing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.http.errors import from_os, unavailable
from server.http.upstream import FILE_RULE, HTTPError, request
from server.index.digests import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.index.listing import Listing


class Downloads:
    """The bottle plugin that answers 503 if the volume of a file fails, or is known not to answer."""

    api = 2  # of bottle's plugins: `apply` gets the route

    def __init__(self, root: Path, listing: Listing, problem: Callable[[], str | None]) -> None:
        """Send the files of `listing` below `root`, and none while there is a `problem`."""
        self._root = root
        self._listing = listing
        self._problem = problem

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:  # noqa: ANN401 - bottle's interface
        """Guard the route of the files (bottle's interface for plugins)."""
        if (route.method, route.rule) != ("GET", FILE_RULE):
            return callback

        @functools.wraps(callback)
        def guarded(filename: str) -> object:
            if problem := self._problem():
                raise unavailable(problem)
            if not request.get_header("If-Modified-Since"):
                # bottle compares an empty one with a number.
                request.environ.pop("HTTP_IF_MODIFIED_SINCE", None)
            try:
                if self._listing.at(filename):
                    # bottle takes a volume that fails for a file that is not there.
                    (self._root / filename).stat()
                answer = callback(filename=filename)
            except FileNotFoundError as error:
                raise HTTPError(HTTPStatus.NOT_FOUND, f"Not Found ({filename} does not exist)") from error
            except OSError as error:
                raise from_os(error) from error
            body = getattr(answer, "body", None)
            if hasattr(body, "close"):
                answer.body = _content(body)
            return answer

        return guarded


def _content(body: Any) -> Iterator[bytes]:  # noqa: ANN401 - a file, or what bottle makes of a part of one
    with closing(body):
        try:
            # bottle asks for the first bytes before it answers: an error there is still one of the answer.
            yield from iter(lambda: body.read(CHUNK), b"") if hasattr(body, "read") else body
        except OSError as error:
            raise from_os(error) from error
