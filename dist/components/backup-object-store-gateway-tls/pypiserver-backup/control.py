"""The rclone that speaks with a registry's store while a run goes on, as the one in the registry's pods does."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from backup.problems import RunError
from server.store.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE_SECONDS = 60
_PAUSE_SECONDS = 0.05
_BEHAVIOUR = {
    # Whoever asks gives up after 11 s and tries again (server.store.remote).
    "RCLONE_CONTIMEOUT": "5s",
    "RCLONE_TIMEOUT": "10s",
    "RCLONE_RETRIES": "1",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
    "RCLONE_USE_SERVER_MODTIME": "true",
}


class Control:
    """It, and the places that it speaks with."""

    def __init__(self, url: str, spool: Path) -> None:
        """Ask at `url`; what is put into a store comes from below `spool`."""
        self._url = url
        self._spool = spool

    def at(self, place: str) -> Remote:
        """The objects below a place, as rclone calls it."""
        return Remote(self._url, place, self._spool)


@contextmanager
def control(program: str, port: int, spool: Path) -> Iterator[Control]:
    """Run it on loopback.

    Args:
        program: rclone.
        port: Where it listens.
        spool: A directory for what is on its way.

    Raises:
        RunError: It does not start.
    """
    command = [program, "rcd", "--rc-serve", "--rc-no-auth", f"--rc-addr=127.0.0.1:{port}"]
    process = subprocess.Popen(command, env={**os.environ, **_BEHAVIOUR})
    try:
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise RunError("settings", f"{' '.join(command)} does not start: see the lines before")
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(_PAUSE_SECONDS)
        yield Control(f"http://127.0.0.1:{port}", spool)
    finally:
        process.kill()
        process.wait()
