"""METADATA of wheels, kept in the store beside them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from server.index import archives
from server.store.problems import AbsentError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry
    from server.index.packed import Core
    from server.store.remote import Remote
    from server.volume.content import Stamp

DIRECTORY = ".pypiserver/metadata"


def place(path: str) -> str:
    """Where the METADATA of the wheel at a path is."""
    return f"{DIRECTORY}/{path}.metadata"


class StoredMetadata:
    """What the files in a store say about themselves; see server.index.metadata.Metadata."""

    def __init__(self, remote: Remote, found: Callable[[Entry, bytes, Stamp], None]) -> None:
        """Ask `remote`; `found` is given METADATA, to keep it."""
        self._remote = remote
        self._found = found

    def readable(self, entry: Entry) -> Core | None:
        """See Metadata: the catalogue says it of every file."""
        return entry.core

    def content(self, entry: Entry) -> bytes | None:
        """See Metadata.

        Raises:
            StoreError: The store does not have what the catalogue says.
        """
        expected = entry.core.metadata if entry.core else None
        if expected is None:
            return None
        stamp = entry.stamp
        try:
            content = self._remote.read(place(entry.path), archives.LARGEST)
        except AbsentError as error:
            raise StoreError(f"{place(entry.path)} cannot be read", "there is no such object") from error
        if hashlib.sha256(content).hexdigest() != expected:
            raise StoreError(f"{place(entry.path)} cannot be used", "it is not that of the wheel")
        self._found(entry, content, stamp)
        return content
