"""A pytest plugin: no test passes by being skipped, and no file by having none.

With `--allowed-skips=FILE` a skip is a failure unless FILE names it: a YAML list of `tests` (a pattern of node ids),
`says` (a regular expression for the reason that the test gives) and `because`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Generator


@dataclass(frozen=True)
class AllowedSkip:
    """An entry of the list."""

    tests: str
    says: str
    because: str

    def allows(self, node: str, reason: str) -> bool:
        """Tell whether it allows that a test is skipped for this reason."""
        return self.names(node) and re.search(self.says, reason) is not None

    def names(self, node: str) -> bool:
        """Tell whether it is about this test."""
        return fnmatchcase(node, self.tests)


class Strictness:
    """Turns skips that are not allowed into failures, and counts the others."""

    def __init__(self, allowed: list[AllowedSkip], source: Path) -> None:
        self.allowed = allowed
        self.source = source
        self.used: Counter[AllowedSkip] = Counter()
        self.needless: set[AllowedSkip] = set()

    def judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Make a failure of a skip that the list does not allow."""
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = _reason(report)
            if not any(entry.allows(report.nodeid, reason) for entry in self.allowed):
                report.outcome = "failed"
                report.longrepr = f"skipped, which {self.source} does not allow: {reason}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge a test."""
        report = yield
        self.judge(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Judge a file, which can be skipped as a whole."""
        report = yield
        self.judge(report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which entries are used, and which are about tests that pass."""
        for entry in self.allowed:
            if report.skipped and entry.allows(report.nodeid, _reason(report)):
                self.used[entry] += 1
            elif report.passed and report.when == "call" and entry.names(report.nodeid):
                self.needless.add(entry)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was not verified, and what the list need not allow here."""
        for entry, count in self.used.items():
            terminalreporter.line(f"NOT VERIFIED: {count} tests of {entry.tests}: {entry.says}; {entry.because}")
        for entry in self.needless - set(self.used):
            terminalreporter.line(f"{self.source} need not allow here: {entry.tests}: {entry.says}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--allowed-skips", type=Path, metavar="FILE", help="fail for each skip that FILE does not name")


def pytest_configure(config: pytest.Config) -> None:
    """Read the list."""
    if source := config.getoption("--allowed-skips"):
        entries = [AllowedSkip(**entry) for entry in yaml.safe_load(source.read_text()) or []]
        config.pluginmanager.register(Strictness(entries, source), "allowed skips")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a failure of a file without tests."""
    report = yield
    if isinstance(collector, (pytest.Module, pytest.Class)) and report.passed and not report.result:
        report.outcome = "failed"
        report.longrepr = "there is no test in it"
    return report
