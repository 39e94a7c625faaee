"""Which of many patterns match a name, in a time that does not grow with their number."""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import translate
from typing import TYPE_CHECKING, Generic, TypeVar

from server.index.patterns import Patterns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Value = TypeVar("_Value")


class Matching(Generic[_Value]):
    """Values by patterns of names, as Patterns has them."""

    def __init__(self, entries: Iterable[tuple[str, _Value]]) -> None:
        """Take the patterns, each with a value.

        Raises:
            ValueError: One can be no name.
        """
        self._names: dict[str, list[_Value]] = defaultdict(list)
        # By what is before the first star, else by what is after the last: few have neither.
        self._heads: dict[str, list[tuple[re.Pattern[str], _Value]]] = defaultdict(list)
        self._tails: dict[str, list[tuple[re.Pattern[str], _Value]]] = defaultdict(list)
        for written, value in entries:
            pattern = Patterns.checked(written)
            head, tail = pattern.partition("*")[0], pattern.rpartition("*")[2]
            if "*" not in pattern:
                self._names[pattern].append(value)
            elif head or not tail:
                self._heads[head].append((re.compile(translate(pattern)), value))
            else:
                self._tails[tail].append((re.compile(translate(pattern)), value))

    def of(self, name: str) -> Iterator[_Value]:
        """The values of all patterns that match a normalised name."""
        yield from self._names.get(name, ())
        for length in range(len(name) + 1):
            for ends, end in ((self._heads, name[:length]), (self._tails, name[length:])):
                yield from (value for pattern, value in ends.get(end, ()) if pattern.match(name))
