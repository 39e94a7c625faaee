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
        self._there: set[str] = set()

    def read(self, name: str) -> bytes:
        """See Notes."""
        path = f"{DIRECTORY}/{name}"
        # Of what it is to read and is not there rclone's log tells as of an error; before the first run none is there.
        if name not in self._there and self._remote.find(path) is None:
            raise FileNotFoundError(name)
        self._there.add(name)
        try:
            return self._remote.read(path, LARGEST)
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
