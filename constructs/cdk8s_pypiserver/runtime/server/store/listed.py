"""What the pod's other programs ask about packages in a store: not through the gateway."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from server.http.bottle import HTTPError

if TYPE_CHECKING:
    from server.index.listing import Listing


class Listed:
    """Answers what a listed file is."""

    def __init__(self, listing: Listing) -> None:
        """Know the files of `listing`."""
        self._listing = listing

    def stored(self, path: str) -> dict[str, object]:
        """Answer with the size, the sha256 and the time of publication, in seconds, of a file.

        Raises:
            HTTPError: 404, it is not listed.
        """
        entry = self._listing.at(path)
        if entry is None:
            raise HTTPError(HTTPStatus.NOT_FOUND, f"{path} is not listed")
        sha256 = (entry.digest or "").partition("=")[2]
        # bottle makes JSON of it.
        return {"size": entry.stamp.size, "sha256": sha256, "mtime": entry.stamp.mtime_ns // 10**9}
