"""Small files of the server's own, kept in the store as they would be on a volume, and named in the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.publish.claims import exists
from server.store.problems import AbsentError, PresentError
from server.store.rows import Record
from server.volume.content import Stamp

if TYPE_CHECKING:
    from server.store.catalogue import Catalogue
    from server.store.holdings import Holdings
    from server.store.remote import Remote

LONGEST_SHOWN = 2**16
"""How many bytes of such a file the catalogue has; what is longer is read from the store when it is asked for."""


class StoredFiles:
    """One directory below `.pypiserver`; see server.volume.own_files.Files."""

    def __init__(self, name: str, *, remote: Remote, catalogue: Catalogue, holdings: Holdings, shown: bool) -> None:
        """Keep files in the directory `name`.

        `shown` is for those whose content every pod needs at hand; of others the catalogue has only the names.
        """
        self._name = name
        self._remote = remote
        self._catalogue = catalogue
        self._holdings = holdings
        self._shown = shown

    def put(self, name: str, content: bytes, *, durable: bool) -> None:
        """See Files; it always lasts."""
        del durable
        self._remote.write(self._path(name), content)
        self._catalogue.commit(Record(self._name, name, self.summary(content)))

    def create(self, name: str, content: bytes) -> None:
        """See Files: of two servers the catalogue takes the record of one."""
        self._refuse(name)
        self._catalogue.check_writer()
        found = self._found_instead(self._path(name), content)
        record = Record(self._name, name, self.summary(content if found is None else found))
        self._catalogue.commit(record, check=lambda: self._refuse(name))
        if found is not None:
            raise exists(name)

    def remove(self, name: str) -> None:
        """See Files."""
        self._remote.remove(self._path(name))
        if self._holdings.record(self._name, name) is not None:
            self._catalogue.commit(Record(self._name, name, None))

    def names(self) -> frozenset[str]:
        """See Files."""
        return frozenset(self._holdings.records(self._name))

    def has(self, name: str) -> bool:
        """See Files."""
        return self._holdings.record(self._name, name) is not None

    def stamp(self, name: str) -> Stamp:
        """See Files: changes whenever one of the directory has changed."""
        if (content := self._holdings.record(self._name, name)) is None:
            raise FileNotFoundError(name)
        return Stamp(len(content), self._holdings.changes(self._name))

    def content(self, name: str, most: int) -> bytes:
        """See Files."""
        found = self._holdings.record(self._name, name)
        if found is None:
            raise FileNotFoundError(name)
        if self._shown:
            return found.encode()
        try:
            return self._remote.read(self._path(name), most)
        except AbsentError as error:
            raise FileNotFoundError(name) from error

    def changed(self) -> int:
        """See Files."""
        return self._holdings.changes(self._name)

    def summary(self, content: bytes) -> str:
        """What the catalogue has of such a file."""
        return content[:LONGEST_SHOWN].decode("utf-8", "replace") if self._shown else ""

    def _found_instead(self, path: str, content: bytes) -> bytes | None:
        """What is in an object that is there already: of an attempt that was cut off, or put there by hand."""
        # A store that does not know conditional creation would replace it.
        if self._remote.find(path) is None:
            try:
                self._remote.write(path, content, new=True)
            except PresentError:
                pass
            else:
                return None
        return self._remote.read(path, LONGEST_SHOWN)

    def _refuse(self, name: str) -> None:
        if self.has(name):
            raise exists(name)

    def _path(self, name: str) -> str:
        return f".pypiserver/{self._name}/{name}"
