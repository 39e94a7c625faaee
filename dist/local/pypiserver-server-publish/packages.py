"""Packages come and go: on the volume, in the listing, and in the log."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from server.http.bottle import HTTPError, request
from server.index.names import name_and_version, normalised
from server.index.records import SIGNATURE
from server.publish.claims import exists
from server.volume.durable import UnsettledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.audit.trail import Trail
    from server.index.listing import Change, Entry, Listing
    from server.index.provenance import Provenance
    from server.index.removed import Removed
    from server.publish.claims import Claims
    from server.publish.drafts import Publisher
    from server.publish.hashed import HashedDraft
    from server.volume.content import Stamp

_log = logging.getLogger("packages")


class Packages:
    """The package directory, as it changes by requests."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        publisher: Publisher,
        listing: Listing,
        stale: Callable[[Change], None],
        claims: Claims,
        provenance: Provenance,
        removed: Removed,
        trail: Trail,
        digest: Callable[[Entry], str | None],
        first: Callable[[str], None] = lambda _: None,
        fewer: Callable[[str], None] = lambda _: None,
        found: Callable[[Entry, bytes, Stamp], None] = lambda *_: None,
        remember: Callable[[str], None] = lambda _: None,
        tell: Callable[[str, Entry | None], None] = lambda *_: None,
    ) -> None:
        """Remove files through `publisher`; what is in `removed` comes back as it was, or not at all.

        `stale` is told what changes before the change is acknowledged, and `trail` before it is made, too; `digest`
        knows that of what is removed. `first` is told in which project a file is about to be published, and `fewer` of
        which one is about to be removed. `found` is given the METADATA of wheels that were published, and `remember`
        told of which project more is known now. `tell` has other pods look at a path.
        """
        self._publisher = publisher
        self._listing = listing
        self._claims = claims
        self._provenance = provenance
        self._removed = removed
        self._trail = trail
        self._digest = digest
        self._stale = stale
        self._first = first
        self._fewer = fewer
        self._found = found
        self._remember = remember
        self._tell = tell

    def twin(self, filename: str) -> str | None:
        """The name of a listed file that keeps this one from being published; see Listing.twin."""
        twin = self._listing.twin(filename)
        # The client was told that it failed: it may try again, with the same content.
        return None if twin == filename and filename in self._publisher.unsettled else twin

    def add(self, filename: str, draft: HashedDraft, provenance: bytes | None = None) -> None:
        """Publish a file; when this returns, it is durable and every page of this server shows it.

        Raises:
            FileExistsError: There is a file of this name, or of one that means the same.
            HTTPError: There was one, with another content.
            OSError: The volume did not take it; after UnsettledError it stays listed, and can be published again.
        """
        with self._claims.of(filename):
            if twin := self.twin(filename):
                raise exists(twin)
            self._refuse_other(filename, draft.digest)
            if guess := name_and_version(filename):
                self._first(normalised(guess[0]))
            self._trail.begun("publish", file=filename, sha256=_hexadecimal(draft.digest))
            # Before the file: whoever sees the file sees where it comes from.
            self._provenance.keep(filename, provenance)
            try:
                stamp = draft.publish(filename, again=filename in self._publisher.unsettled)
            except UnsettledError:
                self._publisher.unsettled.add(filename)
                raise
            self._publisher.unsettled.discard(filename)
            self._stale(self._listing.add("", filename, stamp, draft.digest, draft.facts.core))
        self._tell(filename, self._listing.at(filename))
        self._hand_over(filename, draft.facts.metadata, stamp)
        self._trail.done("publish", file=filename, sha256=_hexadecimal(draft.digest), size=stamp.size)
        _log.info("%r published %s: %d bytes, %s", user(), filename, stamp.size, draft.digest)

    def _refuse_other(self, filename: str, digest: str) -> None:
        sha256 = _hexadecimal(digest) or ""
        # Whoever signs the same file again makes another signature.
        if not filename.endswith(SIGNATURE) and (earlier := self._removed.other_than(filename, sha256)):
            text = f"{earlier!r} was removed, and its name stays taken: only the content that it had can come back."
            raise HTTPError(HTTPStatus.CONFLICT, text)

    def _hand_over(self, filename: str, metadata: bytes | None, stamp: Stamp) -> None:
        """Give on what is known from the upload, so that nobody reads the file for it: neither this pod nor another."""
        if entry := self._listing.at(filename):
            if metadata is not None:
                self._found(entry, metadata, stamp)
            self._remember(entry.project)

    def remove(self, entry: Entry) -> None:
        """Remove a file for good; one that is gone already is not an error.

        Raises:
            OSError: The volume does not let it go.
        """
        sha256 = _hexadecimal(self._digest(entry))
        facts = {"file": entry.path, "sha256": sha256, "size": entry.stamp.size}
        self._trail.begun("remove", **facts)
        # Before the file goes: who finds none of this name finds the record.
        if not entry.name.endswith(SIGNATURE):
            self._removed.keep(entry.name, sha256)
        # Whether it is the last of its project nobody knows: another pod, or thread, may be removing the others.
        self._fewer(entry.project)
        try:
            self._publisher.remove(entry.path)
        except UnsettledError:
            self._forget(entry)
            raise
        try:
            self._provenance.keep(entry.name, None)
        finally:
            self._forget(entry)
        self._trail.done("remove", **facts)
        _log.info("%r removed %s", user(), entry.path)

    def _forget(self, entry: Entry) -> None:
        self._publisher.unsettled.discard(entry.name)
        self._stale(self._listing.remove(entry.path))
        self._tell(entry.path, None)


def _hexadecimal(digest: str | None) -> str | None:
    """A sha256 without the name of the algorithm before it; None if it is not known yet."""
    return digest.partition("=")[2] if digest else None


def user() -> str:
    """Who sent the request, for the log; the gateway has made sure of it."""
    return (request.auth or ("anonymous",))[0]
