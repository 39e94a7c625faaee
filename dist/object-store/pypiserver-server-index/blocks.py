"""Sorted lines of a long page, of which a change makes only those near it anew."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_KEYS = 512
"""How many keys a block has at most: so many lines are made anew after a change."""


class _Block:
    __slots__ = ("keys", "made")

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.made: dict[str, str] = {}


class Blocks:
    """Sorted keys in blocks, each of which remembers the lines that were made of it.

    Not to be used by two threads at a time.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._blocks = [_Block([])]
        self._firsts = [""]

    def add(self, key: str) -> None:
        """Take in a key that is not there yet."""
        at = self._place(key)
        block = self._blocks[at]
        insort(block.keys, key)
        block.made.clear()
        if len(block.keys) > MOST_KEYS:
            half = len(block.keys) // 2
            self._blocks.insert(at + 1, _Block(block.keys[half:]))
            self._firsts.insert(at + 1, block.keys[half])
            del block.keys[half:]

    def remove(self, key: str) -> None:
        """Drop a key that is there."""
        at = self._place(key)
        block = self._blocks[at]
        del block.keys[bisect_left(block.keys, key)]
        block.made.clear()
        # The first block, which takes whatever comes before all others, stays.
        if at and not block.keys:
            del self._blocks[at], self._firsts[at]

    def renew(self, key: str) -> None:
        """Have the line of a key made anew: what it shows has changed."""
        self._blocks[self._place(key)].made.clear()

    def text(self, form: str, line: Callable[[str], str], separator: str) -> str:
        """The lines of all keys.

        Args:
            form: The name of what `line` makes; it is remembered by this name.
            line: Makes the line of a key.
            separator: What stands between two lines.
        """
        for block in self._blocks:
            if form not in block.made:
                block.made[form] = separator.join(map(line, block.keys))
        return separator.join(block.made[form] for block in self._blocks if block.keys)

    def _place(self, key: str) -> int:
        return bisect_right(self._firsts, key) - 1
