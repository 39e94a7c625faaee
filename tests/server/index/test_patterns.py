from __future__ import annotations

import itertools
from fnmatch import fnmatchcase

import pytest

from executed import executed_lines
from server.index.patterns import Matching, Patterns, Rules

PATTERNS = ["".join(each) for length in range(1, 5) for each in itertools.product("ab*", repeat=length)]
NAMES = ["".join(each) for length in range(1, 7) for each in itertools.product("ab", repeat=length)]


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("acme-*", ["acme-a", "acme-a-b"], ["acme", "acmea", "my-acme-a"]),
        ("Acme.Core_Lib", ["acme-core-lib"], ["acme-core", "acme-core-lib2"]),
        ("*-internal", ["a-internal"], ["internal"]),
    ],
)
def test_patterns_are_compared_as_names_are(pattern: str, names: list[str], others: list[str]) -> None:
    patterns = Patterns(["unrelated", pattern])
    assert [name for name in (*names, *others) if name in patterns] == names


@pytest.mark.parametrize("pattern", ["", "a b", "a/b", "[a]", "a?", "ä"])
def test_what_can_be_no_name_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no pattern"):
        Patterns([pattern])


@pytest.mark.parametrize("rule", ["django>=x", ">=1", "a b", "a==", "a>=1;python_version>'3'"])
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="is no "):
        Rules([rule])


def test_rules_are_about_versions() -> None:
    rules = Rules(["django>=4,<5", "Django==1.0", "left.pad"])
    assert [rules.covers("django", version, unknown=False) for version in ("3.2", "4.0rc1", "4.2", "5.0", "1.0.0")] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert rules.covers("left-pad", "whatever", unknown=False)
    assert rules.covers_all("left-pad")
    assert not rules.covers_all("django")
    assert not rules.covers("other", "1", unknown=True)


def test_which_rules_are_about_a_version() -> None:
    written = ["*-tools", "Acme.Tools<2", "acme-tools>=2", "acme-*", "acme-tools==1.*"]
    rules = Rules(written)
    assert rules.covering("acme-tools", "1.5", unknown=False) == [each for each in written if ">=" not in each]
    assert rules.covering("acme-tools", "no version", unknown=False) == ["*-tools", "acme-*"]
    assert rules.covering("acme-tools", "no version", unknown=True) == written
    assert rules.covering("other", "1", unknown=True) == []


def test_a_version_that_cannot_be_compared_is_as_the_caller_says() -> None:
    rules = Rules(["old<2"])
    assert rules.covers("old", "1.0-final-really", unknown=True)
    assert not rules.covers("old", "1.0-final-really", unknown=False)


def test_a_release_candidate_is_denied_with_its_range() -> None:
    assert Rules(["a<2"]).covers("a", "1.9rc1", unknown=False)


def test_many_patterns_are_found_as_each_by_itself() -> None:
    matching = Matching((pattern, pattern) for pattern in PATTERNS)
    for name in NAMES:
        assert sorted(matching.of(name)) == sorted(each for each in PATTERNS if fnmatchcase(name, each))


def _lines(rules: Rules, name: str) -> int:
    return executed_lines(lambda: rules.covers(name, "1.0", unknown=False))


def test_a_verdict_does_not_grow_with_the_rules_nor_with_the_name() -> None:
    few, many = (
        Rules(each for at in range(number) for each in (f"name-{at}>=1", f"begin{at}-*", f"*-end{at}"))
        for number in (10, 2000)
    )
    assert _lines(many, "name-7") <= _lines(few, "name-7") + 50
    assert _lines(many, "x" * 2**20) <= _lines(many, "x" * 100)
