"""Which names, and which versions of them, are meant."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

_RULE = re.compile(r"\s*(?P<pattern>[A-Za-z0-9._*-]+)\s*(?P<specifier>[<>=!~].*)?\Z", re.DOTALL)


class Patterns:
    """Names of projects in which `*` stands for anything, in whatever spelling (PEP 503)."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Take the patterns.

        Raises:
            ValueError: One can be no name.
        """
        self._patterns = tuple(_compiled(pattern) for pattern in patterns)

    def __contains__(self, name: object) -> bool:
        """Whether a normalised name is one of them."""
        return isinstance(name, str) and any(pattern.match(name) for pattern in self._patterns)

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
        self._rules = tuple(_rule(rule) for rule in rules)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._rules)

    def names(self, name: str) -> bool:
        """Whether any rule is about this normalised name."""
        return any(pattern.match(name) for pattern, _ in self._rules)

    def covers_all(self, name: str) -> bool:
        """Whether a rule is about every version of this normalised name."""
        return any(specifier is None and pattern.match(name) for pattern, specifier in self._rules)

    def covers(self, name: str, version: str, *, unknown: bool) -> bool:
        """Whether a rule is about this version of a normalised name.

        Args:
            name: The name.
            version: The version.
            unknown: What is said of a version that PEP 440 cannot compare.
        """
        of_name = [specifier for pattern, specifier in self._rules if pattern.match(name)]
        if None in of_name:
            return True
        try:
            parsed = Version(version)
        except InvalidVersion:
            return unknown and bool(of_name)
        return any(specifier is not None and specifier.contains(parsed, prereleases=True) for specifier in of_name)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(Patterns.checked(pattern)))


def _rule(text: str) -> tuple[re.Pattern[str], SpecifierSet | None]:
    found = _RULE.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no rule")
    try:
        specifier = SpecifierSet(found["specifier"]) if found["specifier"] else None
    except InvalidSpecifier as error:
        raise ValueError(f"{text!r} is no rule: {error}") from error
    return _compiled(found["pattern"]), specifier
