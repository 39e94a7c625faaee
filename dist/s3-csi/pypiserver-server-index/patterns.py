"""Which names, and which versions of them, are meant."""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import translate
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Value = TypeVar("_Value")
_RULE = re.compile(r"\s*(?P<pattern>[A-Za-z0-9._*-]+)\s*(?P<specifier>[<>=!~].*)?\Z", re.DOTALL)


class Matching(Generic[_Value]):
    """Values by patterns of names, found in a time that does not grow with the number of patterns."""

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
        # A stranger's name may be of megabytes.
        self._longest = max(map(len, [*self._heads, *self._tails]), default=-1)

    def of(self, name: str) -> Iterator[_Value]:
        """The values of all patterns that match a normalised name."""
        yield from self._names.get(name, ())
        for length in range(min(len(name), self._longest) + 1):
            for ends, end in ((self._heads, name[:length]), (self._tails, name[len(name) - length :])):
                yield from (value for pattern, value in ends.get(end, ()) if pattern.match(name))


class Patterns:
    """Names of projects in which `*` stands for anything, in whatever spelling (PEP 503)."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Take the patterns.

        Raises:
            ValueError: One can be no name.
        """
        self._matching = Matching((pattern, True) for pattern in patterns)

    def __contains__(self, name: object) -> bool:
        """Whether a normalised name is one of them."""
        return isinstance(name, str) and any(self._matching.of(name))

    @staticmethod
    def normalised(text: str) -> str:
        """A name, or a pattern of names, as PEP 503 compares it."""
        return re.sub(r"[-_.]+", "-", text).lower()

    @classmethod
    def checked(cls, text: str) -> str:
        """A pattern of names, as PEP 503 compares it.

        Raises:
            ValueError: It can be no name.
        """
        if not re.fullmatch(r"[A-Za-z0-9._*-]+", text):
            raise ValueError(f"{text!r} is no pattern of names")
        return cls.normalised(text)


class Rules:
    """Patterns, each perhaps with a specifier of versions (PEP 440): `django>=4,<5`."""

    def __init__(self, rules: Iterable[str] = ()) -> None:
        """Take the rules.

        Raises:
            ValueError: One is none.
        """
        found = [_Rule.read(number, text) for number, text in enumerate(rules)]
        self._any = bool(found)
        self._matching = Matching((rule.pattern, rule) for rule in found)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self._any

    def names(self, name: str) -> bool:
        """Whether any rule is about this normalised name."""
        return any(True for _ in self._matching.of(name))

    def covers_all(self, name: str) -> bool:
        """Whether a rule is about every version of this normalised name."""
        return any(rule.specifier is None for rule in self._matching.of(name))

    def covers(self, name: str, version: str, *, unknown: bool) -> bool:
        """Whether a rule is about this version of a normalised name.

        Args:
            name: The name.
            version: The version.
            unknown: What is said of a version that PEP 440 cannot compare.
        """
        return any(self._covering(name, version, unknown=unknown))

    def covering(self, name: str, version: str, *, unknown: bool) -> list[str]:
        """All rules that are about this version of a normalised name, as they were given, in their order.

        Args:
            name: The name.
            version: The version.
            unknown: What is said of a version that PEP 440 cannot compare.
        """
        return [rule.text for rule in sorted(self._covering(name, version, unknown=unknown), key=attrgetter("number"))]

    def _covering(self, name: str, version: str, *, unknown: bool) -> Iterator[_Rule]:
        parsed: Version | None = None
        for rule in self._matching.of(name):
            if rule.specifier is None:
                yield rule
                continue
            try:
                parsed = parsed or Version(version)
            except InvalidVersion:
                if unknown:
                    yield rule
                continue
            if rule.specifier.contains(parsed, prereleases=True):
                yield rule


class _Rule(NamedTuple):
    number: int
    text: str
    pattern: str
    specifier: SpecifierSet | None

    @classmethod
    def read(cls, number: int, text: str) -> _Rule:
        found = _RULE.match(text)
        if found is None:
            raise ValueError(f"{text!r} is no rule")
        try:
            specifier = SpecifierSet(found["specifier"]) if found["specifier"] else None
        except InvalidSpecifier as error:
            raise ValueError(f"{text!r} is no rule: {error}") from error
        return cls(number, text, found["pattern"], specifier)
