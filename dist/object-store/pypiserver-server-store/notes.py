"""What Jobs tell the server of their runs, as objects of the store beside the packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.pod.notes import DIRECTORY, EXPECTED, LARGEST
from server.store.problems import AbsentError

if TYPE_CHECKING:
    from server.store.remote import Remote


class StoredNotes:
    """See server.pod.notes.Notes."""

    def __init__(self, remote: Remote) -> None:
        """Be about the place of `remote`."""
        self._remote = remote

    def read(self, name: str) -> bytes:
        """See Notes."""
        try:
            return self._remote.read(f"{DIRECTORY}/{name}", LARGEST)
        except AbsentError as error:
            raise FileNotFoundError(name) from error

    def write(self, name: str, text: bytes) -> None:
        """See Notes."""
        self._remote.write(f"{DIRECTORY}/{name}", text)

    def since(self, *, writes: bool) -> float:
        """See Notes."""
        path = f"{DIRECTORY}/{EXPECTED}"
        found = self._remote.find(path)
        if found is None and writes:
            # Not empty: some stores take no object of no bytes.
            self._remote.write(path, b"\n")
            found = self._remote.find(path)
        if found is None:
            raise FileNotFoundError(path)
        return found.changed
