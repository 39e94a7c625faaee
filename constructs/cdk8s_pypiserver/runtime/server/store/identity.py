"""Whose place in the store it is, and which server writes to it: objects that say so."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from server.store.problems import AbsentError, FencedError, PresentError, StoreError
from server.volume.registry import FILE as REGISTRY
from server.volume.registry import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from server.store.remote import Remote

VOLUME = ".pypiserver/volume"
"""What bears the identity, as on a volume."""
WRITER = ".pypiserver/writer"
_LONGEST = 4096
_log = logging.getLogger("store")


class ForeignError(RuntimeError):
    """The place is another's, or not the one that is expected; the text says whose it is and what to do."""


class Identity:
    """A server, as the store knows it."""

    def __init__(self, remote: Remote, registry: str, pod: str, *, expected: str, seen: Path) -> None:
        """Be the server in `pod` of the registry named `registry`.

        Args:
            remote: The store.
            registry: Namespace and name.
            pod: The pod's name.
            expected: What `.pypiserver/volume` must say; anything if this is empty.
            seen: Where the pod remembers that, as a container that starts anew knows nothing.
        """
        self._remote = remote
        self._registry = registry
        self._pod = pod
        self._expected = expected
        self._seen = seen
        self._token = uuid.uuid4().hex
        self._volume = b""
        self.conditional = False
        """Whether the store refuses to create what is there, when it is asked to."""

    @property
    def name(self) -> str:
        """Who that is, for people."""
        return f"{self._pod} of {self._registry}"

    def check(self) -> None:
        """Make sure that the place is this registry's, or nobody's.

        Raises:
            ForeignError: It is another's, or empty though it must not be.
            StoreError: The store does not say.
        """
        owner = self._object(REGISTRY)
        if owner is not None and owner.get("registry") != self._registry:
            raise ForeignError(refusal(self._remote.path, owner.get("registry"), self._registry))
        expected = self._expected
        with contextlib.suppress(OSError):
            expected = expected or self._seen.read_text().strip()
        found = self._text(VOLUME)
        if expected and found != expected:
            what = f"its {VOLUME} is {found}" if found else f"there is no {VOLUME}"
            raise ForeignError(f"{self._remote.path} is not the place that is expected, {expected}: {what}")

    def adopt(self, *, writes: bool) -> bool:
        """Learn whose the place is, and make it this registry's if it is nobody's and this server `writes`.

        Returns:
            Whether it is anybody's now.

        Raises:
            ForeignError: See `check`.
            OSError: The store does not take it.
        """
        self.check()
        if writes:
            if self._text(VOLUME) is None:
                with contextlib.suppress(PresentError):
                    self._remote.write(VOLUME, f"{uuid.uuid4()}\n".encode(), new=True)
            if self._object(REGISTRY) is None:
                with contextlib.suppress(PresentError):
                    self._remote.write(REGISTRY, self._json(registry=self._registry), new=True)
                self.check()
        self._volume = (self._text(VOLUME) or "").encode()
        if self._volume:
            with contextlib.suppress(OSError):
                self._seen.write_bytes(self._volume)
        return bool(self._volume)

    def take_over(self) -> None:
        """Become the one that writes; another that does finds out before its next change.

        Raises:
            OSError: The store does not take it.
        """
        before = self._object(WRITER)
        record = self._json(registry=self._registry, pod=self._pod, token=self._token, since=int(time.time()))
        self._remote.write(WRITER, record)
        try:
            # Of an object that is there: what refuses this knows conditional creation, others write the same again.
            self._remote.write(WRITER, record, new=True)
        except PresentError:
            self.conditional = True
        if before and before.get("pod") != self._pod:
            _log.info("%s wrote here before", before.get("pod"))
        if not self.conditional:
            _log.info(
                "the store replaces objects though it is asked not to: what writes here is compared before a change"
            )

    def may_write(self) -> None:
        """Make sure that no other has taken over.

        Raises:
            FencedError: One has.
            StoreError: The store does not say.
        """
        record = self._object(WRITER) or {}
        if record.get("token") != self._token:
            other = (
                f"{record.get('pod')} of {record.get('registry')}" if record else f"somebody who has removed {WRITER}"
            )
            raise FencedError("nothing is written", f"{other} writes here now")

    def verify(self) -> None:
        """Make sure that it is still the place of the start.

        Raises:
            StoreError: It is not, or the store does not say.
        """
        found = (self._text(VOLUME) or "").encode()
        if self._volume and found != self._volume:
            what = f"its {VOLUME} is {found.decode()}" if found else f"there is no {VOLUME} any more"
            raise StoreError("the store is not the one of the start", what)

    def _text(self, path: str) -> str | None:
        try:
            return self._remote.read(path, _LONGEST).decode("utf-8", "replace").strip()
        except AbsentError:
            return None

    def _object(self, path: str) -> dict[str, Any] | None:
        text = self._text(path)
        if text is None:
            return None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    @staticmethod
    def _json(**fields: object) -> bytes:
        return json.dumps(fields).encode() + b"\n"
