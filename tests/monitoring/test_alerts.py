"""promtool's verdict on the rules: each alert fires on its fault, and none on a registry that is well."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cdk8s_pypiserver.alerts import rules
from cdk8s_pypiserver.metadata import Metadata

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool on PATH")

NAME = "team-a"
TARGET = f'namespace="tools", job="{NAME}", pod="{NAME}-1"'
MINUTES = 60
# A registry that is well, and another one in the same namespace that is broken in every way.
WELL = {
    f'up{{{TARGET}, part="gateway"}}': "1x60",
    f'up{{{TARGET}, part="server"}}': "1x60",
    f"pypiserver_volume_answers{{{TARGET}}}": "1x60",
    f"pypiserver_volume_free_bytes{{{TARGET}}}": "50x60",
    f"pypiserver_volume_size_bytes{{{TARGET}}}": "100x60",
    f'pypiserver_requests_total{{{TARGET}, route="project", status="2xx"}}': "0+600x60",
    f'pypiserver_requests_total{{{TARGET}, route="project", status="5xx"}}': "0+6x60",
    f'pypiserver_request_duration_seconds_bucket{{{TARGET}, route="project", le="0.1"}}': "0+600x60",
    f'pypiserver_request_duration_seconds_bucket{{{TARGET}, route="project", le="1"}}': "0+600x60",
    f'pypiserver_request_duration_seconds_bucket{{{TARGET}, route="project", le="10"}}': "0+600x60",
    f'pypiserver_request_duration_seconds_bucket{{{TARGET}, route="project", le="+Inf"}}': "0+600x60",
    f'pypiserver_uploads_total{{{TARGET}, result="stored"}}': "0+10x60",
    f'pypiserver_uploads_total{{{TARGET}, result="failed"}}': "0+1x60",
    'up{namespace="tools", job="other", pod="other-1", part="server"}': "0x60",
    'pypiserver_volume_answers{namespace="tools", job="other", pod="other-1"}': "0x60",
}
# What each fault makes of the series, and until when the alert that it is for does not fire yet.
FAULTS: dict[str, tuple[dict[str, str | None], int]] = {
    "PyPIServerAbsent": ({f"pypiserver_volume_answers{{{TARGET}}}": None}, 4),
    "PyPIServerTargetDown": ({f'up{{{TARGET}, part="gateway"}}': "0x60"}, 9),
    "PyPIServerVolumeNotAnswering": ({f"pypiserver_volume_answers{{{TARGET}}}": "0x60"}, 1),
    "PyPIServerVolumeNearlyFull": ({f"pypiserver_volume_free_bytes{{{TARGET}}}": "9x60"}, 14),
    "PyPIServerErrors": (
        {f'pypiserver_requests_total{{{TARGET}, route="project", status="5xx"}}': "0+60x60"},
        9,
    ),
    "PyPIServerSlow": (
        {
            f'pypiserver_request_duration_seconds_bucket{{{TARGET}, route="project", le="0.1"}}': "0+300x60",
            f'pypiserver_request_duration_seconds_bucket{{{TARGET}, route="project", le="1"}}': "0+300x60",
        },
        9,
    ),
    "PyPIServerPublishingFails": (
        {
            f'pypiserver_uploads_total{{{TARGET}, result="stored"}}': "5x60",
            f'pypiserver_uploads_total{{{TARGET}, result="failed"}}': "0x20 1x40",
        },
        24,
    ),
}


def _names() -> list[str]:
    return [rule["alert"] for group in rules(Metadata(name=NAME)) for rule in group["rules"] if "alert" in rule]


def _promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": rules(Metadata(name=NAME))}))
    return path


def test_promtool_takes_the_rules(rules_file: Path) -> None:
    assert "SUCCESS: 11 rules found" in _promtool("check", "rules", rules_file)


def test_every_alert_has_its_fault() -> None:
    assert set(_names()) == set(FAULTS)


def _case(changes: dict[str, str | None], checks: list[tuple[int, str, bool]]) -> dict[str, Any]:
    series = {**WELL, **changes}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if fires else [],
            }
            for minute, alert, fires in checks
        ],
    }


def test_each_alert_fires_on_its_fault_and_on_no_other(rules_file: Path, tmp_path: Path) -> None:
    cases = [_case({}, [(MINUTES, name, False) for name in FAULTS])]
    for fault, (changes, quiet) in FAULTS.items():
        others = [(minute, name, False) for name in FAULTS if name != fault for minute in (quiet, 30)]
        cases.append(_case(changes, [(quiet, fault, False), (30, fault, True), *others]))
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump({"rule_files": [rules_file.name], "evaluation_interval": "1m", "tests": cases}))
    _promtool("test", "rules", tests)
