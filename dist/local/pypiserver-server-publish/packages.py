"""Packages come and go: on the volume, in the listing, and in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from server.http.bottle import request
from server.publish.claims import exists
from server.volume.durable import UnsettledError, sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.index.listing import Change, Entry, Listing
    from server.index.provenance import Provenance
    from server.publish.claims import Claims
    from server.publish.hashed import HashedDraft

_log = logging.getLogger("packages")


class Packages:
    """The package directory, as it changes by requests."""

    def __init__(
        self, root: Path, listing: Listing, stale: Callable[[Change], None], claims: Claims, provenance: Provenance
    ) -> None:
        """Write to `root`; `stale` is told what changes before the change is acknowledged."""
        self._root = root
        self._listing = listing
        self._claims = claims
        self._provenance = provenance
        self._stale = stale
        self._unsettled: set[str] = set()

    def twin(self, filename: str) -> str | None:
        """The name of a listed file that keeps this one from being published; see Listing.twin."""
        twin = self._listing.twin(filename)
        # The client was told that it failed: it may try again, with the same content.
        return None if twin == filename and filename in self._unsettled else twin

    def add(self, filename: str, draft: HashedDraft, provenance: bytes | None = None) -> None:
        """Publish a file; when this returns, it is durable and every page of this server shows it.

        Raises:
            FileExistsError: There is a file of this name, or of one that means the same.
            OSError: The volume did not take it; after UnsettledError it stays listed, and can be published again.
        """
        with self._claims.of(filename):
            if twin := self.twin(filename):
                raise exists(twin)
            # Before the file: whoever sees the file sees where it comes from.
            self._provenance.keep(filename, provenance)
            try:
                stamp = draft.publish(filename, again=filename in self._unsettled)
            except UnsettledError:
                self._unsettled.add(filename)
                raise
            self._unsettled.discard(filename)
            self._stale(self._listing.add("", filename, stamp, draft.digest))
        _log.info("%r published %s: %d bytes, %s", user(), filename, stamp.size, draft.digest)

    def remove(self, entry: Entry) -> None:
        """Remove a file for good; one that is gone already is not an error.

        Raises:
            OSError: The volume does not let it go.
        """
        path = self._root / entry.path
        path.unlink(missing_ok=True)
        try:
            sync_directory(path.parent)
            self._provenance.keep(entry.name, None)
        finally:
            self._unsettled.discard(entry.name)
            self._stale(self._listing.remove(entry.path))
        _log.info("%r removed %s", user(), entry.path)


def user() -> str:
    """Who sent the request, for the log; the gateway has made sure of it."""
    return (request.auth or ("anonymous",))[0]
