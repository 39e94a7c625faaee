from __future__ import annotations

import pytest

from server.index.patterns import Patterns, Rules


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


def test_a_version_that_cannot_be_compared_is_as_the_caller_says() -> None:
    rules = Rules(["old<2"])
    assert rules.covers("old", "1.0-final-really", unknown=True)
    assert not rules.covers("old", "1.0-final-really", unknown=False)


def test_a_release_candidate_is_denied_with_its_range() -> None:
    assert Rules(["a<2"]).covers("a", "1.9rc1", unknown=False)
