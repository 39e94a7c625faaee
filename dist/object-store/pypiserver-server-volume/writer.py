"""Who writes to a volume that knows no locks: a record on it, so that of two writers one acknowledges nothing.

A pod that is deleted by force may run on, on a node that nobody reaches, beside the one that has taken its place.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from server.volume.content import content, from_disk
from server.volume.durable import make_directory, sync

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".pypiserver/writer"
PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks at the record."""
_LONGEST = 100
_log = logging.getLogger("writer")


class TakenOverError(OSError):
    """Another pod is the writer now; `strerror` says so."""


class Writer:
    """The record of who writes, and whether that is still this pod.

    Whoever comes writes its name down and then waits for as long as a mount may show what is old (`settle_seconds`).
    From then on an earlier writer reads the new name, whatever its node still remembers; and the new one sees all files
    that the earlier one had made before it last read its own.
    """

    def __init__(self, root: Path, seen: Path, *, settle_seconds: float) -> None:
        """Be about the volume that is mounted at `root`.

        `seen` is where the pod remembers its name, as a container that starts anew knows nothing.
        """
        self._path = root / FILE
        self._seen = seen
        self._settle_seconds = settle_seconds
        self._failure: str | None = None
        self._known = False

    def take(self) -> None:
        """Become the writer; a container that starts anew in the pod of the writer is it already.

        A volume that does not take the record is read, and every change is refused.

        Raises:
            TakenOverError: Another pod came after this one.
        """
        try:
            self._take()
        except TakenOverError:
            raise
        except OSError as error:
            _log.warning("nothing can be published: %s: %s", self._path, error.strerror)

    def verify(self) -> None:
        """Make sure that it is still this pod.

        Raises:
            TakenOverError: It is another one.
            OSError: The record cannot be read, or is gone.
        """
        own, found = self._own(), self._read()
        if not own or not found:
            raise OSError(errno.ENOENT, f"{FILE} does not say who writes; start this pod anew")
        if found != own:
            raise _taken_over()

    def start(self) -> None:
        """Begin to look, until the process ends; a volume that hangs stops this thread alone."""
        threading.Thread(target=self._run, name="writer", daemon=True).start()

    def look(self) -> None:
        """Look once, and remember what came of it."""
        try:
            self.verify()
        except TakenOverError as error:
            if not self._failure:
                _log.warning("nothing is published here: %s", error.strerror)
            self._failure = error.strerror
        except OSError:
            # It is the changes that fail for it.
            self._known = False
        else:
            self._failure, self._known = None, True

    def problem(self) -> str | None:
        """Who has taken this pod's place, or None if nobody has."""
        return self._failure

    def is_known(self) -> bool:
        """Whether the record says that it is this pod."""
        return self._known and not self._failure

    def _take(self) -> None:
        own, found = self._own(), self._read()
        if own and found == own:
            return
        if own and found:
            raise _taken_over()
        name = f"{uuid.uuid4()}".encode()
        self._write(name)
        if found:
            _log.warning("waiting %g s for what an earlier writer has left", self._settle_seconds)
            time.sleep(self._settle_seconds)
            if self._read() != name:
                raise _taken_over()
        # Last: a name that is not there yet must not be taken for one that was there.
        new = self._seen.with_suffix(".new")
        new.write_bytes(name)
        new.rename(self._seen)

    def _own(self) -> bytes:
        with suppress(OSError):
            return content(self._seen, _LONGEST)
        return b""

    def _read(self) -> bytes:
        try:
            return from_disk(self._path, _LONGEST).strip()
        except FileNotFoundError:
            return b""

    def _write(self, name: bytes) -> None:
        make_directory(self._path.parent)
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "wb") as file:
            file.write(name + b"\n")
            sync(file)

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(PAUSE_SECONDS)


def _taken_over() -> TakenOverError:
    return TakenOverError(errno.EBUSY, "Another pod has taken the place of this writer; delete this one if it stays")
