"""The variables that constructs set are those that the programs read: a setting that nobody reads has no effect."""

import re
from typing import Any

import cdk8s
import pytest

from cases import CASES
from cdk8s_pypiserver import PyPIServerChart
from cdk8s_pypiserver.base.config_files import runtime_files
from manifests import pod_of, synthesize
from server.pod.settings import Settings

OF_OTHERS = {"HOME", "PYTHONDONTWRITEBYTECODE"}
"""What Python and gunicorn read."""


class _Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401
        self.names.add(key)
        return default


def _variables(case: str, container: str) -> set[str]:
    (found,) = (each for each in pod_of(synthesize(CASES[case]))["containers"] if each["name"] == container)
    return {variable["name"] for variable in found["env"]}


@pytest.mark.parametrize("case", CASES)
def test_the_server_reads_what_is_set(case: str) -> None:
    asked = _Asked()
    Settings.from_environment(asked)
    assert _variables(case, "pypiserver") - OF_OTHERS <= asked.names


def test_whatever_the_server_reads_can_be_set() -> None:
    asked = _Asked()
    Settings.from_environment(asked)
    server = PyPIServerChart(cdk8s.App(), "chart").registry.server
    for name in asked.names:
        server.set(name, "1")


@pytest.mark.parametrize("case", CASES)
def test_the_gateway_reads_what_is_set(case: str) -> None:
    read = set(re.findall(r"\$\{([A-Z_]+)-", runtime_files("gateway")["start.sh"]))
    assert read
    assert _variables(case, "gateway") <= read
