"""A package that is sent on while it comes: what follows its digest is not sent before that is right."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from .package import BLOCK, Content
from .problems import CopyError, PassingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .package import Package

AHEAD_SECONDS = 60.0
"""How long what is missing may take when an upload begins: it has one of the target's few places until it ends."""
_LOOK_SECONDS = 0.5


class StreamedContent(Content):
    """The content of a package in a file that grows; one thread writes it, another reads it."""

    def __init__(self, path: Path, package: Package, metadata: bytes) -> None:
        """`package` has a sha256 and a size, which are believed until it is all there."""
        super().__init__(path, {"sha256": package.digests["sha256"].lower()}, draft=True, metadata=metadata)
        self._promised = package.size or 0
        self._has_come = threading.Condition()
        self._begun = time.monotonic()
        self._have = 0
        self._falls = 0
        self._is_right = False
        self._error: Exception | None = None

    def grew(self, size: int) -> None:
        """So many bytes are in the file; fewer than before if it begins anew."""
        with self._has_come:
            self._falls += size < self._have
            self._have = size
            self._has_come.notify_all()

    def ended(self, error: Exception | None = None) -> None:
        """All is there and is right, or will not come."""
        with self._has_come:
            self._is_right = error is None
            # Whoever sends it on has nothing to try again.
            self._error = CopyError(str(error)) if isinstance(error, PassingError) else error
            self._has_come.notify_all()

    @property
    def size(self) -> int:
        """See Content: as its source says until it is all there."""
        return self._have if self._is_right else self._promised

    def whole(self) -> None:
        """See Content."""
        with self._has_come:
            self._has_come.wait_for(self._has_ended)
            self._check()

    def soon(self) -> None:
        """Wait until it will be all there soon, at the pace at which it comes.

        Raises:
            CopyError: It will not come.
        """
        with self._has_come:
            while not (self._has_ended() or self._is_soon()):
                self._has_come.wait(_LOOK_SECONDS)
            self._check()

    def blocks(self, size: int) -> Iterator[bytes]:
        """See Content: the last are not returned before all are known to be right."""
        with self.path.open("rb") as file:
            at, falls = 0, self._falls
            while most := self._ready(at, size, falls):
                block = file.read(min(BLOCK, most))
                at += len(block)
                yield block

    def _ready(self, at: int, size: int, falls: int) -> int:
        """How many bytes may be read from there on, none at the end."""

        def ready() -> int:
            return min(self._have, size - 1) - at

        with self._has_come:
            # One that begins anew with nothing may have been found to be wrong.
            self._has_come.wait_for(
                lambda: self._has_ended() or (self._have > 0 if self._falls != falls else ready() > 0)
            )
            self._check()
            if self._falls != falls or (self._is_right and self._have != size):
                raise PassingError("its source has begun anew, or has another size than it says", 0)
            return self._have - at if self._is_right else ready()

    def _has_ended(self) -> bool:
        return self._is_right or self._error is not None

    def _is_soon(self) -> bool:
        taken = time.monotonic() - self._begun
        return self._have > 0 and taken * (self._promised - self._have) <= AHEAD_SECONDS * self._have

    def _check(self) -> None:
        if self._error:
            raise self._error
