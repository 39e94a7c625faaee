"""Which versions go and which stay, project by project."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from cdk8s_pypiserver import RetentionRuleSpec, RetentionSpec
from retention import releases
from retention.configuration import Configuration, Rule
from retention.judgement import Judge
from retention.locks import Locks
from retention.releases import File

if TYPE_CHECKING:
    from collections.abc import Iterable

    from retention.judgement import Verdict

NOW = datetime(2026, 11, 26, tzinfo=timezone.utc)
OLD = 1000.0


def file(version: str, days: float | None = OLD, *, yanked: bool = False, form: str = "-py3-none-any.whl") -> File:
    uploaded = None if days is None else NOW - timedelta(days=days)
    return File(f"demo-{version}{form}", 10, uploaded, frozenset({("sha256", f"hash of {version}")}), yanked)


def configuration(*rules: RetentionRuleSpec, **fields: Any) -> Configuration:  # noqa: ANN401
    made = RetentionSpec(rules=list(rules), **fields).configuration(port=80, tls=False, tls_name=None)
    read = [
        Rule(**{**rule, "projects": tuple(rule["projects"])}, number=number)
        for number, rule in enumerate(made["rules"], 1)
    ]
    return Configuration(**{**made, "rules": tuple(read), "pinned": tuple(made["pinned"])})


def verdicts(files: Iterable[File], *rules: RetentionRuleSpec, **fields: Any) -> list[Verdict]:  # noqa: ANN401
    found, _ = releases.of("demo", files)
    return Judge(configuration(*rules, **fields), Locks(), NOW).verdicts("demo", found)


def going(files: Iterable[File], *rules: RetentionRuleSpec, **fields: Any) -> list[str]:  # noqa: ANN401
    return [str(each.release.version) for each in verdicts(files, *rules, **fields) if each.goes]


def versions(*names: str) -> list[File]:
    return [file(name) for name in names]


LAST = RetentionRuleSpec(keep_versions=2)


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        (["1.0", "2.0"], []),
        (["1.0", "2.0", "3.0"], ["1.0"]),
        (["0.9", "0.10", "0.11"], ["0.9"]),
        (["1.0", "1.0.post1", "1.1"], ["1.0"]),
        (["1!1.0", "2.0", "3.0"], ["2.0"]),
        (["2.0+cpu", "2.0+cu118", "1.0", "0.9"], ["0.9"]),
        (["3.0rc1", "3.0.dev2", "2.0", "1.0"], ["1.0"]),
    ],
)
def test_the_last_versions_stay(there: list[str], gone: list[str]) -> None:
    assert going(versions(*there), LAST) == gone


def test_a_yanked_version_is_none_of_the_last_ones_and_goes_as_others_do() -> None:
    there = [file("4.0", yanked=True), file("3.0"), file("2.0"), file("1.5", yanked=True), file("1.0")]
    assert going(there, LAST) == ["1.5", "1.0"]


def test_what_any_of_the_rule_keeps_stays() -> None:
    there = [file("3.0", 300), file("2.0", 200), file("1.0", 10), file("0.9", 100)]
    assert going(there, RetentionRuleSpec(keep_versions=1, keep_days=90)) == ["2.0", "0.9"]


def test_a_version_is_as_old_as_its_youngest_file() -> None:
    there = [file("2.0"), file("1.0"), file("1.0", 10, form=".tar.gz"), file("0.9")]
    assert going(there, RetentionRuleSpec(keep_versions=1), minimum_age_days=30) == ["0.9"]


def test_a_file_of_unknown_age_is_young() -> None:
    assert going([file("2.0"), file("1.0", None), file("0.9")], RetentionRuleSpec(keep_days=90)) == ["0.9"]
    assert going([file("2.0"), file("1.0", None), file("0.9")], RetentionRuleSpec(keep_versions=1)) == ["0.9"]


def test_spellings_of_one_version_go_together() -> None:
    there = [file("2.0"), file("1.0"), file("1.0.0", form=".tar.gz"), file("1.0-1")]
    (verdict,) = (each for each in verdicts(there, RetentionRuleSpec(keep_versions=1)) if each.goes)
    assert verdict.release.spellings == {
        "1.0": ["demo-1.0-py3-none-any.whl"],
        "1.0.0": ["demo-1.0.0.tar.gz"],
        "1.0-1": ["demo-1.0-1-py3-none-any.whl"],
    }


def test_prereleases_are_counted_apart_if_they_are_kept() -> None:
    there = versions("3.0rc2", "3.0rc1", "2.0", "1.1rc1", "1.0", "0.9")
    rule = RetentionRuleSpec(keep_versions=2, keep_prereleases=1)
    assert going(there, rule) == ["3.0rc1", "1.1rc1", "0.9"]
    # Finals are not what such a rule is about.
    assert going(there, RetentionRuleSpec(keep_prereleases=0)) == ["3.0rc2", "3.0rc1", "1.1rc1"]


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        (["2.0", "2.0rc1", "2.0.dev3", "1.9"], ["2.0rc1", "2.0.dev3"]),
        (["2.0.0", "2.0b1"], ["2.0b1"]),
        (["2.1rc1", "2.0"], []),
        # 2.0.post1 is another one than 2.0.
        (["2.0.post1", "2.0rc1"], []),
        (["2.0.post1", "2.0.post1.dev1"], ["2.0.post1.dev1"]),
        (["1!2.0", "2.0rc1"], []),
    ],
)
def test_prereleases_go_when_their_final_is_there(there: list[str], gone: list[str]) -> None:
    assert going(versions(*there), RetentionRuleSpec(final_replaces_prereleases=True)) == gone
    # They are not counted among those that are kept either.
    assert going(versions(*there), RetentionRuleSpec(final_replaces_prereleases=True, keep_versions=2)) == gone


def test_a_yanked_final_replaces_nothing() -> None:
    there = [file("2.0", yanked=True), file("2.0rc1"), file("1.0")]
    assert going(there, RetentionRuleSpec(final_replaces_prereleases=True)) == []


def test_the_last_of_a_project_stays() -> None:
    rule = RetentionRuleSpec(keep_days=90)
    assert going(versions("2.1rc1", "2.0", "1.0"), rule) == ["2.1rc1", "1.0"]
    assert going([file("2.0", yanked=True), file("1.0"), file("0.9")], rule) == ["2.0", "0.9"]
    assert going([file("2.0", yanked=True), file("1.0", yanked=True)], rule) == ["1.0"]
    # Not another one that is younger.
    assert going([file("2.0"), file("1.0", 10), file("0.9")], rule) == ["0.9"]
    assert going(versions("2.0rc1", "1.0rc1"), rule) == ["1.0rc1"]
    assert going(versions("2.0", "1.0"), RetentionRuleSpec(keep_days=90, keep_last=False)) == ["2.0", "1.0"]


def test_the_last_that_is_not_yanked_is_never_yanked() -> None:
    rule = RetentionRuleSpec(keep_days=90)
    there = [file("2.0", yanked=True), file("1.0"), file("0.9")]
    assert going(there, rule, action="yank") == ["0.9"]
    assert going([file("2.0", yanked=True), file("1.0", yanked=True)], rule, action="yank") == []


def test_what_is_pinned_stays() -> None:
    there = versions("4.0", "3.0", "2.0", "1.0")
    rule = RetentionRuleSpec(keep_versions=1)
    assert going(there, rule, pinned=["Demo<2"]) == ["3.0", "2.0"]
    assert going(there, rule, pinned=["d*==2.*", "other"]) == ["3.0", "1.0"]
    assert going(there, rule, pinned=["DEMO"]) == []


def test_the_first_rule_decides() -> None:
    there = versions("4.0", "3.0", "2.0", "1.0")
    others = RetentionRuleSpec(projects=["other-*"], keep_versions=3)
    assert going(there, others) == []
    assert going(there, others, RetentionRuleSpec(keep_versions=1)) == ["3.0", "2.0", "1.0"]
    assert going(there, RetentionRuleSpec(projects=["D*"], keep_versions=2), RetentionRuleSpec(keep_versions=1)) == [
        "2.0",
        "1.0",
    ]


def test_a_version_that_cannot_be_compared_is_left_alone() -> None:
    found, unordered = releases.of("demo", [file("2.0"), file("1.0"), file("2004d", form=".tar.gz")])
    assert [str(each.version) for each in found] == ["2.0", "1.0"]
    assert [each.name for each in unordered] == ["demo-2004d.tar.gz"]


NUMBERS = st.sampled_from(["0.1", "0.2", "1.0", "1.0rc1", "1.0.dev1", "1.1", "2.0", "2.0rc1", "2.0+cpu", "2.1.post1"])
FILES = st.lists(
    st.builds(file, NUMBERS, st.sampled_from([1.0, 20.0, 100.0, None]), yanked=st.booleans()), min_size=1, max_size=12
)
RULES = st.builds(
    RetentionRuleSpec,
    keep_versions=st.integers(1, 3),
    keep_days=st.none() | st.integers(10, 120),
    keep_prereleases=st.none() | st.integers(1, 2),
    final_replaces_prereleases=st.booleans(),
)


@settings(deadline=None)
@given(FILES, RULES, st.sampled_from(["remove", "yank"]))
def test_whatever_the_rule_something_usable_and_everything_young_stays(
    files: list[File], rule: RetentionRuleSpec, action: str
) -> None:
    # A version is yanked as a whole.
    yanked = {each.written for each in files if each.yanked}
    files = [each._replace(yanked=each.written in yanked) for each in files]
    found = verdicts(files, rule, action=action)
    assert len(found) == len({Version(each.written) for each in files})
    gone = [each.release for each in found if each.goes]
    assert all(each.uploaded and NOW - each.uploaded >= timedelta(days=7) for each in gone)
    assert len(gone) < len(found)
    left = [each.release for each in found if not each.goes]
    if any(not each.release.is_yanked for each in found):
        assert any(not each.is_yanked for each in left)
    # A second run has nothing to do.
    kept = [each for release in left for each in release.files]
    if action == "yank":
        kept += [each._replace(yanked=True) for release in gone for each in release.files]
    assert not [each for each in verdicts(kept, rule, action=action) if each.goes]
