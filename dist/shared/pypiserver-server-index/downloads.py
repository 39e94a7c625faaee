"""Packages as this server sends them: where the volume can hang, the gateway leaves them to it."""

from __future__ import annotations

import mimetypes
from contextlib import closing
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.http.bottle import HTTPError, request, response, static_file
from server.http.errors import from_os, unavailable
from server.index.attestations import is_about
from server.index.provenance import SUFFIX
from server.volume.content import CHUNK, is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.index.digests import Digests
    from server.index.listing import Listing
    from server.index.metadata import Insides
    from server.index.provenance import Provenance

METADATA_SUFFIX = ".metadata"


class Downloads:
    """Answers with the files that are listed, and with the METADATA of wheels and the provenance of any."""

    def __init__(  # noqa: PLR0913
        self,
        root: Path,
        *,
        listing: Listing,
        metadata: Insides,
        provenance: Provenance,
        digests: Digests,
        problem: Callable[[], str | None],
    ) -> None:
        """Send the files of `listing` below `root`, and none while there is a `problem`."""
        self._root = root
        self._listing = listing
        self._metadata = metadata
        self._provenance = provenance
        self._digests = digests
        self._problem = problem

    def file(self, filename: str) -> object:
        """Answer with a file, or a part of it.

        Raises:
            HTTPError: 404, or 503 if the volume is known not to answer.
            OSError: It fails.
        """
        if problem := self._problem():
            raise unavailable(problem)
        if self._listing.at(filename) is None:
            return (self._provenance_of if filename.endswith(SUFFIX) else self._metadata_of)(filename)
        if not request.get_header("If-Modified-Since"):
            # bottle compares an empty one with a number.
            request.environ.pop("HTTP_IF_MODIFIED_SINCE", None)
        try:
            # bottle takes a volume that fails for a file that is not there.
            if not is_file(self._root / filename):
                raise _missing(filename)
            answer = static_file(filename, root=str(self._root), mimetype=mimetypes.guess_type(filename)[0])
        except FileNotFoundError as error:
            raise _missing(filename) from error
        if hasattr(answer.body, "close"):
            answer.body = _content(answer.body)
        return answer

    def _metadata_of(self, filename: str) -> bytes:
        entry = self._listing.at(filename.removesuffix(METADATA_SUFFIX))
        if entry is None or not entry.name.endswith(".whl"):
            raise _missing(filename)
        content = self._metadata.content(entry)
        if content is None:
            raise HTTPError(HTTPStatus.NOT_FOUND, f"Not Found ({entry.path} has no metadata)")
        response.content_type = "application/octet-stream"
        return content

    def _provenance_of(self, filename: str) -> bytes:
        entry = self._listing.at(filename.removesuffix(SUFFIX))
        content = self._provenance.read(entry.name) if entry else None
        digest = self._digests.of(entry) if entry and content else None
        # Somebody may have put another file in the place of the one that it is about.
        if not (entry and content and digest and is_about(content, entry.name, digest.partition("=")[2])):
            raise _missing(filename)
        response.content_type = "application/json"
        return content


def _missing(filename: str) -> HTTPError:
    return HTTPError(HTTPStatus.NOT_FOUND, f"Not Found ({filename} does not exist)")


def _content(body: Any) -> Iterator[bytes]:  # noqa: ANN401 - a file, or what bottle makes of a part of one
    with closing(body):
        try:
            # bottle asks for the first bytes before it answers: an error there is still one of the answer.
            yield from iter(lambda: body.read(CHUNK), b"") if hasattr(body, "read") else body
        except OSError as error:
            raise from_os(error) from error
