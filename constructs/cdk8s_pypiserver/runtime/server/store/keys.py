"""The options of the remote that a Secret has, told to rclone: when they change, without a restart.

rclone reads its configuration again when the file's time or size changes (fs/config/configfile), but goes on with the
remotes that it has made of it until `fscache/clear` (fs/cache); what is on its way then ends as it has begun.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PAUSE_SECONDS = 1.0
"""How long the thread rests between two looks at the Secret."""
AGAIN_SECONDS = (0.0, 2.0, 10.0)
"""When rclone is told to forget its remotes: it may be making one of what it read before, and keep that."""
_PATIENCE_SECONDS = 5.0
_DATA = "..data"
"""What the kubelet swaps, so that all values change at once."""
_log = logging.getLogger("keys")


class UnusableKeyError(ValueError):
    """A value cannot stand in a file of rclone's; the text says which and why, and not the value."""


class Keys:
    """Keeps rclone's configuration file like the Secret."""

    def __init__(
        self, secret: Path, file: Path, kind: str, url: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to `file` what `secret` has, of the remote `store`, for the rclone at `url`; `kind` is its type."""
        self._secret = secret
        self._file = file
        self._kind = kind
        self._address = urlsplit(url)
        self._clock = clock
        self._written = ""
        self._due: list[float] = []
        self._failure = ""

    def start(self) -> None:
        """Write it, and go on for as long as the process lives."""
        self.look()
        threading.Thread(target=self._run, name="keys", daemon=True).start()

    def look(self) -> None:
        """Write what has changed, and have rclone forget what it made of the configuration before."""
        failure = ""
        try:
            self.write()
        except FileNotFoundError:
            # The kubelet was swapping it.
            pass
        except (OSError, UnusableKeyError) as error:
            failure = f"rclone is not told of the Secret of the store: {error}"
        if self._due and self._clock() >= self._due[0]:
            try:
                self._forget()
                self._due = self._due[1:]
            except (OSError, http.client.HTTPException) as error:
                failure = failure or f"rclone does not answer, and goes on with what it knew: {error}"
        if failure and failure != self._failure:
            _log.warning("%s", failure)
        self._failure = failure

    def write(self) -> None:
        """Write what has changed.

        Raises:
            UnusableKeyError: rclone would read another value.
            OSError: The Secret cannot be read, or the file not be written.
        """
        text = _configuration(self._kind, _values(self._secret))
        if text == self._written:
            return
        _replace(self._file, text)
        if self._written:
            _log.info("the Secret of the store has changed, and rclone is told")
        self._written = text
        self._due = [self._clock() + seconds for seconds in AGAIN_SECONDS]

    def _forget(self) -> None:
        connection = http.client.HTTPConnection(
            self._address.hostname or "", self._address.port, timeout=_PATIENCE_SECONDS
        )
        try:
            connection.request("POST", "/fscache/clear", "{}", {"Content-Type": "application/json"})
            connection.getresponse().read()
        finally:
            connection.close()

    def _run(self) -> None:
        while True:
            time.sleep(PAUSE_SECONDS)
            self.look()


def _values(secret: Path) -> dict[str, str]:
    """The values of a mounted Secret, all of one time."""
    with contextlib.suppress(FileNotFoundError):
        secret = (secret / _DATA).resolve(strict=True)
    return {path.name: path.read_text() for path in sorted(secret.iterdir()) if not path.name.startswith(".")}


def _configuration(kind: str, values: Mapping[str, str]) -> str:
    lines = ["[store]", f"type = {kind}"]
    # In quotes, by which what is at both ends counts as well.
    lines += (f"{name} = `{_one_line(name, value)}`" for name, value in values.items())
    return "".join(f"{line}\n" for line in lines)


def _one_line(name: str, value: str) -> str:
    value = value.strip("\r\n")
    if "\n" in value:
        with contextlib.suppress(ValueError):
            # As the credentials of clouds are.
            value = json.dumps(json.loads(value))
    if re.search(r"[\r\n\0]", value):
        raise UnusableKeyError(f"{name} has more than one line")
    if re.search(r"%\([^)]+\)s", value):
        raise UnusableKeyError(f"{name} has %(…)s, in whose place rclone puts another value")
    return value


def _replace(file: Path, text: str) -> None:
    """In one step: rclone may read it at any time."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    new.rename(file)
