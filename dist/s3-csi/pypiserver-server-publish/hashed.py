"""Digests of what is uploaded, taken while it comes."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from server.http.errors import RefusedError
from server.index import metadata
from server.index.digests import ALGORITHM
from server.index.packed import Core
from server.publish.drafts import Facts
from server.volume.content import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from server.publish.drafts import Draft
    from server.volume.content import Stamp

    class Hash(Protocol):
        """What hashlib's objects have in common."""

        def update(self, data: bytes, /) -> None: ...  # noqa: D102
        def hexdigest(self) -> str: ...  # noqa: D102


FORM_FIELDS: dict[str, Callable[[], Hash]] = {
    "md5_digest": partial(hashlib.md5, usedforsecurity=False),
    "sha256_digest": hashlib.sha256,
    "blake2_256_digest": partial(hashlib.blake2b, digest_size=32),
}
"""The form fields of PyPI's upload interface that hold a digest in hexadecimal, and how it is computed."""


class HashedDraft:
    """An uploaded file on its way: hashed as it is written, and refused if a digest is not the one announced."""

    def __init__(self, draft: Draft, fields: Iterable[str] = ()) -> None:
        """Write to `draft`; `fields` are those of FORM_FIELDS that the form has had so far."""
        self._draft = draft
        self._hashes = {field: FORM_FIELDS[field]() for field in {*fields, "sha256_digest"}}
        self._core = Core(None, None)
        self._metadata: bytes | None = None

    def write(self, block: bytes) -> None:
        """Take the next bytes.

        Raises:
            OSError: They cannot be kept.
        """
        self._draft.write(block)
        for each in self._hashes.values():
            each.update(block)

    def check(self, announced: Mapping[str, str]) -> None:
        """Compare the digests with those in a form, by the names of their fields.

        Raises:
            RefusedError: One is another.
        """
        for field, value in announced.items():
            digest = self._hashes.get(field) or self._read(field)
            if digest.hexdigest() != value.lower():
                raise RefusedError(f"The file does not have the {field} of the form; was it cut short?")

    def look_inside(self, filename: str) -> None:
        """Look into it as an archive of this name; nobody has to read it again for that.

        Raises:
            RefusedError: It says what means nothing.
            OSError: It cannot be read.
        """
        content = metadata.inside(filename, self._draft.content())
        self._core = metadata.core_of(filename, content)
        self._metadata = content if self._core.metadata else None

    def content(self) -> BinaryIO:
        """See Draft."""
        return self._draft.content()

    def publish(self, name: str, *, again: bool = False) -> Stamp:
        """See Draft."""
        return self._draft.publish(name, self.facts, again=again)

    def discard(self) -> None:
        """See Draft."""
        self._draft.discard()

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        return Facts(self.digest, self._core, self._metadata)

    @property
    def digest(self) -> str:
        """The digest of what has been written, as a link to the file carries it."""
        return f"{ALGORITHM}={self._hashes['sha256_digest'].hexdigest()}"

    def _read(self, field: str) -> Hash:
        """A digest that was announced after the file only."""
        digest = FORM_FIELDS[field]()
        content = self._draft.content()
        while block := content.read(CHUNK):
            digest.update(block)
        return digest
