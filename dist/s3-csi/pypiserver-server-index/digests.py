"""Digests of what is uploaded, taken while it comes, and of what is found on the volume, taken once."""

from __future__ import annotations

import hashlib
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from server.http.errors import RefusedError, unavailable
from server.index.listing import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from server.index.listing import Entry
    from server.publish.methods import Draft

    class Hash(Protocol):
        """What hashlib's objects have in common."""

        def update(self, data: bytes, /) -> None: ...  # noqa: D102
        def hexdigest(self) -> str: ...  # noqa: D102


ALGORITHM = "sha256"
CHUNK = 2**20
"""How many bytes are read at a time."""
_LOCKS = 64
FORM_FIELDS: dict[str, Callable[[], Hash]] = {
    "md5_digest": partial(hashlib.md5, usedforsecurity=False),
    "sha256_digest": hashlib.sha256,
    "blake2_256_digest": partial(hashlib.blake2b, digest_size=32),
}
"""The form fields of PyPI's upload interface that hold a digest in hexadecimal, and how it is computed."""


class Upload:
    """An uploaded file on its way: hashed as it is written, and refused if a digest is not the one announced."""

    def __init__(self, draft: Draft, fields: Iterable[str] = ()) -> None:
        """Write to `draft`; `fields` are those of FORM_FIELDS that the form has had so far."""
        self._draft = draft
        self._hashes = {field: FORM_FIELDS[field]() for field in {*fields, "sha256_digest"}}

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

    def content(self) -> BinaryIO:
        """See Draft."""
        return self._draft.content()

    def publish(self, name: str) -> Stamp:
        """See Draft."""
        return self._draft.publish(name)

    def discard(self) -> None:
        """See Draft."""
        self._draft.discard()

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


class Digests:
    """Digests of files on the volume; each content is read once, also if many ask at the same time."""

    def __init__(
        self,
        root: Path,
        problem: Callable[[], str | None],
        recall: Callable[[Entry], None] = lambda _: None,
    ) -> None:
        """Read below `root`, unless `problem` says that it does not answer; `recall` may know what was read before."""
        self._root = root
        self._problem = problem
        self._recall = recall
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def of(self, entry: Entry) -> str | None:
        """The digest of a listed file, remembered in its entry; None if the file is gone.

        Raises:
            HTTPError: 503, the volume cannot be read.
        """
        if entry.digest is None:
            with self._locks[hash(entry.path) % _LOCKS]:
                if entry.digest is None:
                    self._find(entry)
        return entry.digest

    def _find(self, entry: Entry) -> None:
        if problem := self._problem():
            raise unavailable(problem)
        self._recall(entry)
        if entry.digest is None:
            try:
                entry.digest = self._read(entry)
            except FileNotFoundError:
                return
            except OSError as error:
                raise unavailable(f"{entry.path} cannot be read: {error.strerror or error}") from error

    def _read(self, entry: Entry) -> str:
        digest = hashlib.new(ALGORITHM)
        with (self._root / entry.path).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            status = os.fstat(file.fileno())
        entry.stamp = Stamp(status.st_size, status.st_mtime_ns)
        return f"{ALGORITHM}={digest.hexdigest()}"
