"""Has this pod replaced when the program behind its mount has ended: a container that starts again gets the same mount.

No permission is needed for it: the kubelet evicts a pod that writes more to one of its volumes than that may hold, and
whatever made the pod makes another, for which the volume is mounted anew.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FILE = "asked"
"""What is written, in a volume of the pod that may hold far less."""
BYTES = 2**20
LOOKS = 5
"""How many times in a row nobody has to be behind the mount. It never comes back to life; meanwhile the node unmounts
what later pods would get too."""
PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks."""
_PATIENCE_SECONDS = 1.0
_log = logging.getLogger("replacement")


class Replacement:
    """Asks for another pod once the package volume has no program behind it any more.

    The kernel says so, and nobody else: ENOTCONN for a mount whose program has closed its end. A bucket that is away,
    refuses or hangs has a program behind its mount that says so itself, and is waited for.
    """

    def __init__(self, root: Path, directory: Path | None) -> None:
        """Look at `root`; ask in `directory`, or never if that is None."""
        self._root = root
        self._directory = directory
        self._dead = 0

    def start(self) -> None:
        """Begin to look, until the process ends; a mount that hangs stops this thread alone."""
        if self._directory:
            threading.Thread(target=self._run, name="replacement", daemon=True).start()

    def look(self) -> None:
        """Look once."""
        self._dead = self._dead + 1 if self._is_dead() else 0
        if self._dead >= LOOKS:
            self._ask()

    def before_the_end(self) -> None:
        """Ask at once if it is so: this process ends, and its container could not be started on a dead mount."""
        if self._directory:
            last = threading.Thread(target=self._ask_if_dead, daemon=True)
            last.start()
            last.join(_PATIENCE_SECONDS)

    def _ask_if_dead(self) -> None:
        if self._is_dead():
            self._ask()

    def _is_dead(self) -> bool:
        try:
            # Never from the kernel's memory, and no far end is asked for it.
            os.statvfs(self._root)
        except OSError as error:
            return error.errno == errno.ENOTCONN
        return False

    def _ask(self) -> None:
        if not self._directory or (self._directory / FILE).exists():
            return
        _log.error("the mount of the package volume is dead: the kubelet is asked for another pod")
        try:
            # Not zeros, which some file systems do not count.
            (self._directory / FILE).write_bytes(os.urandom(BYTES))
        except OSError as error:
            _log.warning("the kubelet cannot be asked: %s", error)

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(PAUSE_SECONDS)
