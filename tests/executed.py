"""What a call costs, in a unit that no other load of the machine changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def executed_lines(call: Callable[[], object]) -> int:
    """Return how many lines of Python run in a call, and calls and returns with them."""
    counted = 0

    def count(*_: object) -> Any:  # noqa: ANN401 - as sys.settrace wants it
        nonlocal counted
        counted += 1
        return count

    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(None)
    return counted
