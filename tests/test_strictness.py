"""A run fails if a test is skipped that need not be, or if a file has no test."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="there is no moon")
def test_by_a_mark():
    pass

def test_from_within():
    pytest.skip("there is no sun")

@pytest.fixture
def star():
    pytest.skip("there is no star")

def test_by_a_fixture(star):
    pass

@pytest.mark.xfail(strict=True)
def test_that_is_expected_to_fail():
    assert False
"""
LIST = """
- {tests: "*::test_by_a_mark", says: no moon, because: it is day}
- {tests: "*::test_by_a_fixture", says: no star, because: it is day}
- {tests: "*::test_from_within", says: no moon, because: it is day}
- {tests: "*::test_passes", says: no need, because: it passes}
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest('pytest_plugins = ["strictness"]')
    pytester.makefile(".yaml", allowed=LIST)
    return pytester


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_what_the_list_does_not_name_fails(run: pytest.Pytester, workers: list[str]) -> None:
    run.makepyfile(TESTS)
    result = run.runpytest("--allowed-skips=allowed.yaml", *workers)
    result.assert_outcomes(passed=1, failed=1, skipped=2, xfailed=1)
    result.stdout.fnmatch_lines(["*skipped, which allowed.yaml does not allow*: *there is no sun*"])
    result.stdout.fnmatch_lines(["NOT VERIFIED: 1 tests of *::test_by_a_mark: no moon; it is day"])
    result.stdout.fnmatch_lines(["allowed.yaml need not allow here: *::test_passes: no need"])


def test_a_file_that_is_skipped_as_a_whole_fails(run: pytest.Pytester) -> None:
    run.makepyfile("import pytest; pytest.importorskip('no_such_module')\ndef test_a(): pass")
    result = run.runpytest("--allowed-skips=allowed.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*does not allow*could not import 'no_such_module'*"])


def test_a_file_without_a_test_fails(run: pytest.Pytester) -> None:
    run.makepyfile(test_some="def test_a(): pass", test_none="def tset_a(): pass")
    run.runpytest().assert_outcomes(errors=1)


def test_without_a_list_a_skip_is_a_skip(run: pytest.Pytester) -> None:
    run.makepyfile(TESTS)
    run.runpytest().assert_outcomes(passed=1, skipped=3, xfailed=1)
