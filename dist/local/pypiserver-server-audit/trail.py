"""The audit trail: a line of JSON on standard output for each change, and for what was refused."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING

from server.audit.chain import DIRECTORY, Chain
from server.http.bottle import request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from server.pod.settings import Settings

STANDARD_OUTPUT = 1
"""Its number (POSIX): no buffer of Python's is in between."""
AS = "pypiserver.as"
"""The key of the environment that says by what the current request may do what it does, if by no rule alone."""
STRANGERS_A_SECOND = 50
"""How many refusals of what needs no credentials have a line; the next line says how many had none."""
LONGEST_TEXT = 1000
"""How many characters of a text are written, of those that a client chooses."""

Value = str | int | None


class Trail:
    """Writes lines that say what happened, when, by whom and from where.

    A change has two: `begun` before anything of it can be seen, and `done` before it is acknowledged. One that has only
    the first was cut off in between: the index says whether it came to be.
    """

    def __init__(self, write: Callable[[str], None] | None, chain: Chain | None = None) -> None:
        """Give each line to `write`, and each record of a change to `chain` before; with neither do nothing."""
        self._write = write
        self._chain = chain
        self._lock = threading.Lock()
        self._second = 0
        self._strangers = 0
        self._left_out = 0

    def begun(self, event: str, **facts: Value) -> None:
        """Write that a change is about to be made by the current request.

        Raises:
            OSError: It cannot be written down, so it must not be made.
        """
        self._change(event, "begun", facts)

    def done(self, event: str, **facts: Value) -> None:
        """Write that a change has been made by the current request.

        Raises:
            OSError: It cannot be written down, so it must not be acknowledged.
        """
        self._change(event, "done", facts)

    def refused(self, event: str, status: int, reason: str, **facts: Value) -> None:
        """Write that the current request was refused, or failed if the status is one of the server's."""
        outcome = "failed" if status >= 500 else "refused"  # noqa: PLR2004 - RFC 9110
        # A volume that is full is a reason to refuse, and none not to say so.
        with suppress(OSError):
            self._change(event, outcome, {**facts, "status": status, "reason": reason})

    def login_refused(self, status: int, *, user: str | None, address: str, asked_for: str) -> None:
        """Write that credentials were not enough; the user only if the password was right.

        It is on standard output alone, and at most STRANGERS_A_SECOND: anybody can have thousands of these.
        """
        self._of_a_stranger("login", {"status": status, "user": user, "address": address, "asked_for": asked_for})

    def stranger_refused(self, event: str, status: int, reason: str, **facts: Value) -> None:
        """Write that the current request was refused, which needs no credentials: where and as often as logins are.

        What a stranger sends must neither fill the volume nor keep others from writing to it.
        """
        self._of_a_stranger(event, {**_sender(), **facts, "status": status, "reason": reason})

    def _of_a_stranger(self, event: str, facts: dict[str, Value]) -> None:
        if not self._write:
            return
        with self._lock:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._strangers = second, 0
            self._strangers += 1
            if self._strangers > STRANGERS_A_SECOND:
                self._left_out += 1
                return
            if self._left_out:
                facts["left_out"], self._left_out = self._left_out, 0
        self._write(_line(_record(event, "refused", facts)))

    def _change(self, event: str, outcome: str, facts: Mapping[str, Value]) -> None:
        if not self._write:
            return
        record = _record(event, outcome, {**_sender(), **facts})
        if self._chain:
            record["chain"] = self._chain.add(record)
        self._write(_line(record))


@cache
def trail(settings: Settings) -> Trail:
    """The one trail of this process, as the settings want it."""
    if settings.audit == "none":
        return Trail(None)
    if settings.audit == "log":
        return Trail(_print)
    return Trail(_print, Chain(settings.packages_directory / DIRECTORY))


def _sender() -> dict[str, Value]:
    return {
        "user": (request.auth or ("anonymous",))[0],
        "right": request.get_header("X-Right"),
        "as": request.environ.get(AS),
        "address": request.get_header("X-Forwarded-For"),
        "request": request.get_header("X-Request-ID"),
    }


def _record(event: str, outcome: str, facts: Mapping[str, Value]) -> dict[str, Value]:
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    known = {
        name: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for name, value in facts.items()
        if value is not None
    }
    return {"audit": event, "outcome": outcome, "time": now, **known}


def _line(record: Mapping[str, Value]) -> str:
    return json.dumps(record, separators=(",", ":"))


_printing = threading.Lock()


def _print(line: str) -> None:
    """Write a line at once: when this returns, it outlives the process."""
    data = f"{line}\n".encode()
    with _printing:
        while data:
            data = data[os.write(STANDARD_OUTPUT, data) :]
