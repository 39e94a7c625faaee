"""The process that verifies, as the program beside the server sees it: replaced when it hangs or dies."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

START_SECONDS = 120.0
"""How long it may take to load its libraries."""
SECONDS = 5.0
"""How long it may take for an answer; one of eight attestations takes a hundredth of it."""
PATIENCE_SECONDS = 4.0
"""How long a question waits for its turn."""
PAUSE_SECONDS = 1.0, 30.0
"""How long to wait before the next attempt at first, and at most."""
READY = b"ready\n"
"""What a process says before its first answer."""
_log = logging.getLogger("worker")


class AwayError(RuntimeError):
    """There is no answer; the text says why."""


class Worker:
    """Asks a process, one question after the other."""

    def __init__(self, command: Sequence[str], before: Sequence[str] = (), mark: Path | None = None) -> None:
        """Answer by `command`, once the command `before` has succeeded, of which the file `mark` is left."""
        self._command = [*command]
        self._before = [*before]
        self._mark = mark
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to keep a process, until this one ends."""
        threading.Thread(target=self._run, name="worker", daemon=True).start()

    def ask(self, question: bytes) -> bytes:
        """The answer to a question, both a line.

        Raises:
            AwayError: There is none in time.
        """
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise AwayError("too many attestations are being verified")
        try:
            process = self._process
            if process is None:
                raise AwayError("the verifier is not up")
            answer = b""
            with contextlib.suppress(OSError), _killed_after(SECONDS, process):
                answer = _said(process, question + b"\n")
            if not answer.endswith(b"\n"):
                self._process = None
                process.kill()
                raise AwayError("the verifier has died of a question, or hung")
            return answer
        finally:
            self._lock.release()

    def _run(self) -> None:
        shortest, longest = PAUSE_SECONDS
        pause = shortest
        while self._before and not _done(self._before, self._mark):
            time.sleep(pause)
            pause = min(2 * pause, longest)
        pause = shortest
        while True:
            if self._one():
                pause = shortest
            time.sleep(pause)
            pause = min(2 * pause, longest)

    def _one(self) -> bool:
        """Keep one process until it ends; whether it was good for anything."""
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with _killed_after(START_SECONDS, process):
            up = _said(process) == READY
        if up:
            _log.info("attestations can be verified")
            with self._lock:
                self._process = process
        else:
            process.kill()
        status = process.wait()
        with self._lock:
            self._process = None
        _log.error("the process that verifies has ended with %d; another one is started", status)
        for each in (process.stdin, process.stdout):
            if each:
                with contextlib.suppress(OSError):
                    each.close()
        return up


@contextlib.contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have whoever waits for a process wait no longer than this."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _said(process: subprocess.Popen[bytes], question: bytes = b"") -> bytes:
    """The next line of a process, after it was asked; what there is of it if it ends."""
    if process.stdin is None or process.stdout is None:
        return b""
    if question:
        process.stdin.write(question)
        process.stdin.flush()
    return process.stdout.readline()


def _done(command: Sequence[str], mark: Path | None) -> bool:
    """Whether a command has succeeded, now or for an earlier container of the pod; what it says is in the log."""
    if mark and mark.exists():
        return True
    status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    if status:
        _log.error("the libraries cannot be installed (%d); it is tried again", status)
    elif mark:
        mark.touch()
    return status == 0
