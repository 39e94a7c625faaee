"""Patterns of project names, with versions or without, and what can be told of two of them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Annotated, Generic, TypeVar

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.problems import Problem

_PATTERN = r"[A-Za-z0-9*](?:[A-Za-z0-9._*-]*[A-Za-z0-9*])?"
_VERSIONS = r"(?:(?:~=|[=!<>]=|[<>]) *[A-Za-z0-9.!+*_-]+)"
_REQUIREMENT = re.compile(rf"({_PATTERN}) *({_VERSIONS}(?: *, *{_VERSIONS})*)?")
_LONGEST = 200
_Value = TypeVar("_Value")


def normalised(pattern: str) -> str:
    """Return a name or a pattern as names are compared (PEP 503), without the spaces beside its versions."""
    match = _REQUIREMENT.fullmatch(pattern)
    name, versions = (match[1], match[2] or "") if match else (pattern, "")
    return re.sub(r"[-_.]+", "-", name).lower() + versions.replace(" ", "")


def covers(pattern: str, other: str) -> bool:
    """Return whether a pattern matches all that another one does; both are normalised and without versions."""
    # The star of the other one is a character like any, which only a star matches. Not by regular expressions: of
    # thousands each is compiled anew, which takes a thousand times as long.
    head, *between = pattern.split("*")
    if not between:
        return pattern == other
    *between, tail = between
    if not other.startswith(head):
        return False
    at = len(head)
    for part in between:
        found = other.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(other) - at >= len(tail) and other.endswith(tail)


class PatternIndex(Generic[_Value]):
    """Values by patterns, which are normalised and without versions: thousands are not compared each with each."""

    def __init__(self, entries: Iterable[tuple[str, _Value]] = ()) -> None:
        """Begin with these patterns, each with its value."""
        # Whatever covers a pattern begins and ends like it.
        self._by_ends: dict[str, dict[str, list[tuple[int, str, _Value]]]] = defaultdict(lambda: defaultdict(list))
        self._number = 0
        for pattern, value in entries:
            self.add(pattern, value)

    def add(self, pattern: str, value: _Value) -> None:
        """Add one more; there may be several of one pattern."""
        head, tail = pattern.partition("*")[0], pattern.rpartition("*")[2]
        self._by_ends[head][tail].append((self._number, pattern, value))
        self._number += 1

    def covering(self, other: str) -> list[_Value]:
        """Return the values of all that cover a pattern, in the order in which they came."""
        head, tail = other.partition("*")[0], other.rpartition("*")[2]
        by_tails = [self._by_ends[head[:end]] for end in range(len(head) + 1) if head[:end] in self._by_ends]
        near = chain.from_iterable(each.get(tail[at:], ()) for each in by_tails for at in range(len(tail) + 1))
        found = [(number, value) for number, pattern, value in near if covers(pattern, other)]
        return [value for _, value in sorted(found, key=itemgetter(0))]


def meet(one: str, other: str) -> bool:
    """Return whether there is a name that both match; they are normalised and without versions."""
    head, longer_head = sorted((each.partition("*")[0] for each in (one, other)), key=len)
    tail, longer_tail = sorted((each.rpartition("*")[2] for each in (one, other)), key=len)
    if not longer_head.startswith(head) or not longer_tail.endswith(tail):
        return False
    # Between the ends of two patterns there may be anything.
    return ("*" in one and "*" in other) or covers(one, other) or covers(other, one)


def needless(field: str, patterns: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each of these patterns of which another, in other letters, says as much.

    Args:
        field: The field of the spec that holds them.
        patterns: The patterns, in any spelling.
    """
    said = [normalised(each) for each in patterns]
    numbers = PatternIndex((pattern, number) for number, pattern in enumerate(said))
    for number, pattern in enumerate(said):
        for other in numbers.covering(pattern):
            # One of two that say the same has an effect.
            if patterns[other] != patterns[number] and (said[other] != pattern or other < number):
                reason = f"has no effect: {field}[{other}] ({patterns[other]}) says as much"
                yield Problem((field, number), patterns[number], reason)
                break


def names_of(pattern: str) -> tuple[str, str]:
    """Return a normalised pattern's part for names, and that for versions."""
    match = _REQUIREMENT.fullmatch(pattern)
    return (match[1], match[2] or "") if match else (pattern, "")


def _no_pattern(value: str) -> str | None:
    if re.fullmatch(r"\*+", value):
        return "must not match every name: leave it out, or say which"
    return None


def _no_requirement(value: str) -> str | None:
    match = _REQUIREMENT.fullmatch(value)
    if match is None:
        return None
    return _no_pattern(match[1]) or (_no_versions(match[2]) if match[2] else None)


def _no_versions(text: str) -> str | None:
    """Return why there are no versions of this kind."""
    # Few registries have such a pattern: the others need not load it.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415
    from packaging.version import Version  # noqa: PLC0415

    try:
        asked = SpecifierSet(text)
    except InvalidSpecifier:
        return f"has versions that there cannot be ({text}): PEP 440 has 1.0, 1.0rc1, ==1.0.* and the like"
    bounds = [(each.operator, Version(each.version)) for each in asked if not each.version.endswith(".*")]
    lowest = max(((bound, sign == ">") for sign, bound in bounds if sign in (">", ">=", "==", "~=")), default=None)
    highest = min(((bound, sign != "<") for sign, bound in bounds if sign in ("<", "<=", "==")), default=None)
    if lowest and highest:
        (least, above), (most, reached) = lowest, highest
        if least > most or (least == most and (above or not reached)):
            return f"matches nothing: no version is {text}"
    return None


ProjectName = Annotated[
    str,
    Form(
        r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?",
        "must be the name of a project, not a pattern: letters, digits, - _ and . with a letter or digit at both ends",
        _LONGEST,
    ),
]
"""Name of a project, in any spelling."""

NamePattern = Annotated[
    str,
    Form(
        _PATTERN,
        "must be a name of a project or a pattern such as acme-*: letters, digits, - _ . and *, and at both ends no "
        "- _ or ., with which no name begins or ends",
        _LONGEST,
        _no_pattern,
    ),
]
"""Names of projects, in any spelling; a star stands for any characters or none."""

AnyNamePattern = Annotated[
    str,
    Form(
        _PATTERN,
        "must be a name of a project or a pattern such as acme-* or *: letters, digits, - _ . and *, and at both ends "
        "no - _ or ., with which no name begins or ends",
        _LONGEST,
    ),
]
"""The same, and `*` for every project."""

Requirement = Annotated[
    str,
    Form(
        _REQUIREMENT.pattern,
        "must be a name or a pattern, and versions if not all are meant, such as torch, acme-* or django>=4,<5",
        2 * _LONGEST,
        _no_requirement,
    ),
]
"""Names of projects as NamePattern has them, and versions as PEP 440 writes them."""
