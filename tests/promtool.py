"""promtool's verdict on rules, and the cases that it tries them with."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from programs import installed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Firing = tuple[str, str, str, str]
"""An alert, its severity, and the namespace and job of the registry that it is about."""


def promtool(*arguments: str | Path) -> str:
    """Return what promtool says, which has to be content."""
    program = installed("promtool")
    assert program
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def case(series: Mapping[str, str | None], checks: list[tuple[int, set[Firing]]]) -> dict[str, Any]:
    """Return a case in which at these minutes just these alerts fire."""
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname, severity, namespace, job) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": _labels(*alert), "value": 1} for alert in sorted(firing)],
            }
            for minute, firing in checks
        ],
    }


def try_rules(
    rule_files: list[str], folder: Path, cases: list[dict[str, Any]], *, evaluation_interval: str = "1m"
) -> None:
    """Have promtool try the rules of these files, which are in the folder."""
    tests = folder / "tests.yaml"
    content = {"rule_files": rule_files, "evaluation_interval": evaluation_interval, "tests": cases}
    tests.write_text(yaml.safe_dump(content))
    promtool("test", "rules", tests)


def _labels(alert: str, severity: str, namespace: str, job: str) -> str:
    whose = f', namespace="{namespace}", job="{job}"' if job else ""
    return f'{{alertname="{alert}", severity="{severity}"{whose}}}'
