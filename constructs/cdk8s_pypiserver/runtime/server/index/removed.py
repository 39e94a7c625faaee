"""Names of files that were removed: none comes back with another content, as whoever has locked its hash relies on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from server.index.identity import record_name

if TYPE_CHECKING:
    from server.volume.own_files import Files

DIRECTORY = "removed"
"""The name of the hidden directory."""
LARGEST = 2**16


class Removed:
    """One file an identity (see `identity`): JSON with the name that was removed, and the sha256 of its content."""

    def __init__(self, files: Files, *, taken: bool = True) -> None:
        """Keep records in `files`; where removed names are not to stay `taken`, there are none, and none counts."""
        self._files = files
        self._taken = taken

    def keep(self, filename: str, sha256: str | None) -> None:
        """Remember a file that is about to be removed; when this returns, that survives a loss of power.

        Args:
            filename: Its name.
            sha256: Of its content, in hexadecimal; None if nobody can tell: then nothing can come back.

        Raises:
            OSError: The volume did not take it.
        """
        if self._taken:
            content = f"{json.dumps({'file': filename, 'sha256': sha256})}\n"
            self._files.put(record_name(filename), content.encode(), durable=True)

    def other_than(self, filename: str, sha256: str) -> str | None:
        """The name of a removed file that means the same as this name and had another content, None if there is none.

        Raises:
            OSError: That cannot be told.
        """
        if not self._taken:
            return None
        try:
            content = self._files.content(record_name(filename), LARGEST)
        except FileNotFoundError:
            return None
        try:
            match json.loads(content):
                case {"file": str(name), "sha256": kept}:
                    return None if kept == sha256 else name
        except (ValueError, RecursionError):
            pass
        # Something was removed, though nobody can tell what.
        return filename
