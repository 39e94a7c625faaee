"""Publishing into a store: the file is copied there and compared, then the catalogue names it, then it counts."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from typing import TYPE_CHECKING, BinaryIO

from server.publish.claims import exists
from server.store.metadata import place
from server.store.problems import AbsentError, DoubtError, PresentError, StoreError
from server.store.rows import File, Gone
from server.volume.content import Stamp
from server.volume.durable import UNFINISHED, abandoned, make_directory, pass_if_not_writable, tolerating
from server.volume.problems import why

if TYPE_CHECKING:
    from pathlib import Path

    from server.index.listing import Listing
    from server.publish.drafts import Draft, Facts
    from server.store.catalogue import Catalogue
    from server.store.identity import Identity
    from server.store.remote import Remote
    from server.store.unfinished import Unfinished, Upload


class StorePublisher:
    """See Publisher."""

    def __init__(  # noqa: PLR0913
        self,
        root: Path,
        *,
        remote: Remote,
        catalogue: Catalogue,
        listing: Listing,
        unfinished: Unfinished,
        identity: Identity,
    ) -> None:
        """Publish into `remote`, and keep a copy in `root`."""
        self.unsettled = unfinished.doubtful
        self._root = root
        self._directory = root / UNFINISHED
        self._remote = remote
        self._catalogue = catalogue
        self._listing = listing
        self._unfinished = unfinished
        self._identity = identity
        self._hashes: bool | None = None

    def draft(self) -> Draft:
        """See Publisher."""
        return _StoredDraft(self, self._directory)

    def check(self) -> None:
        """See Publisher: the spool needs nothing but to be written to."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            pass_if_not_writable(error)

    def clean(self, abandoned_seconds: float) -> None:
        """See Publisher: of the spool. Only one server uses it."""
        with tolerating(self._directory):
            for path in abandoned(self._directory, abandoned_seconds):
                with tolerating(path):
                    path.unlink(missing_ok=True)

    def unfinished(self) -> frozenset[str]:
        """See Publisher: the catalogue names none."""
        return frozenset()

    def remove(self, path: str) -> None:
        """See Publisher."""
        self._remote.remove(path)
        try:
            self._catalogue.commit(Gone(path))
        except DoubtError as error:
            # It stays listed until the store says what has come of it, and can be removed again.
            raise StoreError(f"{path} may not be removed", why(error)) from error
        # Nobody asks for it any more.
        with contextlib.suppress(StoreError):
            self._remote.remove(place(path))

    def publish(self, name: str, draft: Path, facts: Facts, *, again: bool) -> Stamp:
        """Put a file of the spool into the store; see Draft."""
        sha256 = facts.digest.partition("=")[2]
        if again and (stamp := self._published(name, sha256)):
            self._unfinished.end(name)
            return stamp
        line = File(name, draft.stat().st_size, int(time.time()), sha256, *facts.core, None)
        inside = {} if facts.metadata is None else {place(name): facts.metadata}
        # A store that creates under a condition has a file whole or not at all.
        size = None if self._identity.conditional else line.size
        if size is not None and name not in self._unfinished:
            # Before it is said that an upload begins: what is there now none has left.
            self._refuse_another(line)
        try:
            with self._unfinished.of(name, sha256, size, inside) as earlier:
                self._copy(draft, line, earlier)
                self._catalogue.commit(line, check=lambda: self._refuse(line))
        except FileExistsError:
            # What is there is none that an upload has left.
            self._unfinished.end(name)
            raise
        self._keep(draft, line)
        self._unfinished.end(name)
        return Stamp(line.size, line.changed * 10**9)

    def _published(self, name: str, sha256: str) -> Stamp | None:
        """What is listed already, if it is the same."""
        self._catalogue.settle()
        entry = self._listing.at(name)
        if entry is None:
            return None
        if entry.digest != f"sha256={sha256}":
            raise exists(name)
        return entry.stamp

    def _refuse_another(self, line: File) -> None:
        """Refuse a name under which there is another file.

        Raises:
            FileExistsError: There is.
            StoreError: The store does not say.
        """
        try:
            if self._remote.find(line.path) and self._remote.digest(line.path) != (line.size, line.sha256):
                raise exists(line.path)
        except AbsentError:
            return
        except StoreError as error:
            raise StoreError(f"{line.path} is not stored", why(error)) from error

    def _copy(self, draft: Path, line: File, earlier: Upload) -> None:
        """Put the file into the store, unless it is there.

        Raises:
            FileExistsError: Somebody has put another one there, by hand, that is not listed yet.
        """
        try:
            if not self._identity.conditional:
                self._refuse_present(line.path)
            self._remote.put(draft, line.path, new=True)
        except PresentError:
            found = self._remote.digest(line.path)
            if found == (line.size, line.sha256):
                return
            if found.sha256 not in earlier.sha256 and not earlier.has_left(found.size):
                raise exists(line.path) from None
            # What an upload has left that nobody was told of.
            self._remote.put(draft, line.path)
        if self._hashes is None:
            self._hashes = self._remote.hashes()
        if not self._hashes and self._remote.digest(line.path) != (line.size, line.sha256):
            raise StoreError(f"{line.path} is not stored", "what the store has is not what was sent")

    def _refuse_present(self, path: str) -> None:
        if self._remote.find(path):
            raise PresentError(f"{path} is not stored", "there is one")

    def _refuse(self, line: File) -> None:
        """Refuse what another server has published meanwhile."""
        entry = self._listing.at(line.path)
        if entry and entry.digest != f"sha256={line.sha256}":
            raise exists(line.path)

    def _keep(self, draft: Path, line: File) -> None:
        """Keep the file for those who ask first; the volume need not have it."""
        with contextlib.suppress(OSError):
            draft.chmod(0o644)
            os.utime(draft, (time.time(), line.changed))
            draft.rename(self._root / line.path)


class _StoredDraft:
    """A file of the spool, which rclone reads too."""

    def __init__(self, publisher: StorePublisher, directory: Path) -> None:
        self._publisher = publisher
        make_directory(directory)
        self._path = directory / uuid.uuid4().hex
        self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), "w+b")

    def write(self, block: bytes) -> None:
        """See Draft."""
        self._file.write(block)

    def content(self) -> BinaryIO:
        """See Draft."""
        self._file.seek(0)
        return self._file

    def publish(self, name: str, facts: Facts, *, again: bool = False) -> Stamp:
        """See Draft."""
        self._file.flush()
        return self._publisher.publish(name, self._path, facts, again=again)

    def discard(self) -> None:
        """See Draft."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            self._file.close()
