"""What must be right of a store before the server listens."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

from server.store.identity import ForeignError, Identity
from server.store.problems import StoreError
from server.store.remote import Remote
from server.volume.problems import why

if TYPE_CHECKING:
    from server.pod.settings import Settings

_PAUSE_SECONDS = 1.0


class UnusableStoreError(RuntimeError):
    """The store cannot be used; the text says why, and what to do."""


def remote_of(settings: Settings) -> Remote:
    """The store of the settings."""
    return Remote(settings.store_url, settings.store_path, settings.packages_directory)


def identity_of(settings: Settings, remote: Remote) -> Identity:
    """This server, as the store knows it."""
    seen = settings.run_directory / "store"
    return Identity(remote, settings.registry, socket.gethostname(), expected=settings.volume_identity, seen=seen)


def check(settings: Settings) -> None:
    """Make sure that the store can be used, and that it is this registry's; wait for one that is away.

    Raises:
        UnusableStoreError: It cannot, or it is not.
    """
    remote = remote_of(settings)
    identity = identity_of(settings, remote)
    end, waits = time.monotonic() + settings.volume_wait_seconds, False
    while True:
        try:
            if identity.adopt(writes=settings.writes):
                return
            problem = "No writer has begun with it yet"
        except ForeignError as error:
            raise UnusableStoreError(str(error)) from error
        except StoreError as error:
            told = remote.explained(error)
            problem = why(told)
            if told.is_for_good:
                raise UnusableStoreError(f"the store {settings.store_path} cannot be used: {problem}") from error
        except OSError as error:
            raise UnusableStoreError(f"the cache of packages cannot be written to: {why(error)}") from error
        if time.monotonic() > end:
            raise UnusableStoreError(f"the store {settings.store_path} cannot be used: {problem}")
        if not waits:
            print(f"waiting for the store: {problem}", file=sys.stderr, flush=True)  # noqa: T201 - no logger yet
        waits = True
        time.sleep(_PAUSE_SECONDS)
