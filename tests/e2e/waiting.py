"""Waiting for something to become true, and never longer than that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def eventually(condition: Callable[[], T], what: str, seconds: float = 60, pause: float = 0.2) -> T:
    """Poll until `condition` returns something true, and return that; fail after `seconds`, naming `what`.

    An AssertionError of the condition means "not yet"; the last one is part of the message.
    """
    deadline = time.monotonic() + seconds
    while True:
        reason = ""
        try:
            if result := condition():
                return result
        except AssertionError as error:
            reason = f": {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what}{reason}")
        time.sleep(pause)
