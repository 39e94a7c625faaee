"""The password that a registry makes for itself, which counts until its users are in a Secret for the first time."""

from __future__ import annotations

import logging
import os
import secrets
import uuid
from typing import TYPE_CHECKING

from passlib.hash import ldap_sha1

from server.volume.content import content

if TYPE_CHECKING:
    from pathlib import Path

USER = "publisher"
"""Whose password it is."""
PLACE = ".pypiserver/initial-password"
"""Where it is on the package volume."""
LONGEST = 1000
"""How many bytes the file may have."""
_log = logging.getLogger("credentials")


class InitialPassword:
    """The password, in a file of the package volume."""

    def __init__(self, directory: Path) -> None:
        """Go by the package volume at `directory`, as it is now."""
        self.path = directory / PLACE
        try:
            text = content(self.path, LONGEST).decode("ascii").strip()
        except (OSError, ValueError):
            # There is none, or something else in its place.
            text = ""
        self._hashes = _hashes(text) if text else {}

    def hashes(self) -> dict[str, str]:
        """The user and the hash of the password; none if none was made or it has ended."""
        return self._hashes

    def make(self) -> None:
        """Make one unless there is one.

        Raises:
            OSError: The volume does not take it.
        """
        if self._hashes:
            return
        password = secrets.token_urlsafe(24)
        self.path.parent.mkdir(exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{password}\n")
            file.flush()
            os.fsync(descriptor)
        # One pod alone makes one: it has the volume's lock.
        temporary.rename(self.path)
        self._hashes = _hashes(password)

    def end(self) -> None:
        """Let it count no more, and take it off the volume: a Secret that goes away again must not bring it back."""
        self._hashes = {}
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", self.path, error.strerror)


def _hashes(password: str) -> dict[str, str]:
    return {USER: ldap_sha1.hash(password)}
