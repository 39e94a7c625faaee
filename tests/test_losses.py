"""`.ci/run` repeats what has failed, since some of it waits, and never a loss."""

import re
import shlex

import pytest

from manifests import ROOT

pytest_plugins = ["pytester"]

(OPTIONS,) = re.findall(r'^export PYTEST_ADDOPTS="(.*)"$', (ROOT / ".ci/run").read_text(), re.MULTILINE)
TESTS = """
from e2e.waiting import eventually
from losses import no_loss

def test_that_waits_in_vain():
    eventually(lambda: False, "the moon", 0)

def test_that_finds_a_loss():
    no_loss({"a"} <= set(), "a")

def test_that_finds_one_while_it_waits():
    eventually(lambda: no_loss({"a"} <= set(), "a"), "the moon", 0)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_only_waiting_is_repeated(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    pytester.makepyfile(TESTS)
    repeating = [option for option in shlex.split(OPTIONS) if "rerun" in option]
    result = pytester.runpytest_subprocess(*repeating, *workers)
    assert result.parseoutcomes() == {"failed": 3, "rerun": 2}
