"""Whose volume it is: any number of volumes can be one folder of a bucket, in as many namespaces.

So the registry that writes there first leaves its name, and another one does not start, not even to read.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

from server.volume.content import content
from server.volume.durable import make_directory, sync

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".pypiserver/registry"
"""An object store has it too, with the same in it: a folder can be the place of either."""
_LONGEST = 4096
_log = logging.getLogger("registry")


class ForeignVolumeError(RuntimeError):
    """The volume is another registry's; the text says whose, and what to do."""


class Registry:
    """The registry that this server is of, and whether the volume is its own."""

    def __init__(self, root: Path, name: str) -> None:
        """Be of the registry `name`, namespace and name, on the volume that is mounted at `root`."""
        self._path = root / FILE
        self._name = name

    def check(self) -> bool:
        """Make sure that the volume is no other registry's.

        Returns:
            Whether it is nobody's.

        Raises:
            ForeignVolumeError: It is another's.
        """
        try:
            owner = self._owner()
        except OSError as error:
            # It may be another's, and is not written over.
            _log.warning("whose volume it is cannot be told: %s: %s", FILE, error)
            return False
        if owner and owner != self._name:
            raise ForeignVolumeError(refusal("the package volume", owner, self._name))
        return not owner

    def adopt(self) -> None:
        """Make the volume this registry's if it is nobody's: a new one, or an earlier version's.

        Raises:
            ForeignVolumeError: It is another's.
        """
        if not self.check():
            return
        try:
            make_directory(self._path.parent)
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "wb") as file:
                file.write(json.dumps({"registry": self._name}).encode() + b"\n")
                sync(file)
        except OSError as error:
            _log.warning("another registry could take the volume for its own: %s: %s", FILE, error.strerror)

    def _owner(self) -> str | None:
        try:
            found = json.loads(content(self._path, _LONGEST))
        except FileNotFoundError:
            return None
        except ValueError as error:
            _log.warning("%s says nobody's name: %s", FILE, error)
            return None
        return found.get("registry") if isinstance(found, dict) else None


def refusal(place: str, owner: str | None, own: str) -> str:
    """Why a registry does not start on another's place, and what to do."""
    return (
        f"{place} is the place of the registry {owner}, and this is {own}: two registries cannot share one. Give this"
        " one a folder of its own; if it is that registry under another name or in another namespace, remove the"
        f" object {FILE}"
    )
