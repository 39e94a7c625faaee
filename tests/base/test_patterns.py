"""What is told of two patterns, against all names that there are of a few letters."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase

import pytest

from cdk8s_pypiserver.base import patterns as module
from cdk8s_pypiserver.base.patterns import PatternIndex, covers, meet, needless

PATTERNS = ["".join(each) for length in range(1, 5) for each in itertools.product("ab*", repeat=length)]
NAMES = ["".join(each) for length in range(1, 7) for each in itertools.product("ab", repeat=length)]
MATCHED = {pattern: frozenset(name for name in NAMES if fnmatchcase(name, pattern)) for pattern in PATTERNS}


def test_patterns_meet_where_both_match_a_name() -> None:
    # Of no name at all is the empty one.
    pairs = itertools.product((each for each in PATTERNS if each.strip("*")), repeat=2)
    wrong = [(one, other) for one, other in pairs if meet(one, other) != bool(MATCHED[one] & MATCHED[other])]
    assert wrong == []


def test_a_pattern_that_covers_another_meets_it() -> None:
    wrong = [(one, other) for one, other in itertools.product(PATTERNS, repeat=2) if covers(one, other)]
    assert [(one, other) for one, other in wrong if not meet(one, other) or not meet(other, one)] == []


def test_a_pattern_covers_what_it_matches_as_a_text() -> None:
    pairs = itertools.product(PATTERNS, repeat=2)
    assert [(one, other) for one, other in pairs if covers(one, other) != fnmatchcase(other, one)] == []


def test_all_that_cover_a_pattern_are_found_in_their_order() -> None:
    entries = [(pattern, f"{pattern} {number}") for number in range(2) for pattern in PATTERNS]
    patterns = PatternIndex(entries)
    wrong = [
        each
        for each in PATTERNS
        if patterns.covering(each) != [value for pattern, value in entries if covers(pattern, each)]
    ]
    assert wrong == []


def test_thousands_of_patterns_are_not_compared_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return covers(one, other)

    monkeypatch.setattr(module, "covers", compare)
    forms = ("package-{:04}", "package-{:04}-*", "*-package-{:04}", "a*-package-{:04}")
    names = [form.format(number) for number in range(1000) for form in forms]
    patterns = PatternIndex((name, name) for name in names)
    assert [patterns.covering(name) for name in names] == [
        [*([name[1:]] if name[0] == "a" else []), name] for name in names
    ]
    assert len(compared) <= 2 * len(names)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["acme-*", "tools"], []),
        (["acme-*", "Acme_Tools"], ["x[1] ('Acme_Tools') has no effect: x[0] (acme-*) says as much"]),
        (["Acme.Tools", "acme-*"], ["x[0] ('Acme.Tools') has no effect: x[1] (acme-*) says as much"]),
        (
            ["a-b", "A_B", "a.b"],
            [f"x[{at}] ('{name}') has no effect: x[0] (a-b) says as much" for at, name in ((1, "A_B"), (2, "a.b"))],
        ),
        (["*", "a"], ["x[1] ('a') has no effect: x[0] (*) says as much"]),
        # That one is there twice is said elsewhere.
        (["a", "a"], []),
    ],
)
def test_a_pattern_of_which_another_says_as_much(patterns: list[str], found: list[str]) -> None:
    assert [str(problem) for problem in needless("x", patterns)] == found
