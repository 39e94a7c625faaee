"""promtool's verdict on the rules about upstream, and what the dashboard asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from cdk8s_pypiserver import MonitoringSocket
from cdk8s_pypiserver.monitoring.alerts import rules
from cdk8s_pypiserver.upstream.watching import watch
from programs import needs
from promql import names_and_labels
from promtool import case, promtool, try_rules
from server.fetching.counters import NAMES
from server.upstream import counters

if TYPE_CHECKING:
    from pathlib import Path

OWN = "tools", "team-a"
AWAY = ("PyPIServerUpstreamAway", "warning", *OWN)
THRASHING = ("PyPIServerUpstreamCacheThrashing", "warning", *OWN)
OF_THE_TARGET = {"namespace", "job", "pod"}
METRICS: dict[str, set[str]] = {
    "pypiserver_requests_total": {"route"},
    "pypiserver_upstream_up": {"index"},
    "pypiserver_upstream_requests_total": {"index", "result"},
    "pypiserver_upstream_seconds_total": {"index"},
    "pypiserver_upstream_received_bytes_total": set(),
    "pypiserver_upstream_fetches_total": {"result"},
    "pypiserver_upstream_cache_bytes": set(),
    "pypiserver_upstream_cache_limit_bytes": set(),
    "pypiserver_upstream_evictions_total": set(),
    "pypiserver_upstream_evicted_young_total": set(),
    "pypiserver_upstream_hidden_files_total": {"reason"},
}
"""What there is, with its labels."""


def _target(namespace: str, job: str, pod: int = 1) -> str:
    return f'namespace="{namespace}", job="{job}", pod="{job}-{pod}", app="pypiserver", part="upstream"'


def _well(target: str) -> dict[str, str]:
    return {
        f"up{{{target}}}": "1x240",
        f"pypiserver_volume_answers{{{target}}}": "1x240",
        f'pypiserver_upstream_up{{{target}, index="one"}}': "1x240",
        f'pypiserver_upstream_up{{{target}, index="two"}}': "1x240",
        f'pypiserver_upstream_fetches_total{{{target}, result="kept"}}': "0+10x240",
        f"pypiserver_upstream_evicted_young_total{{{target}}}": "0x240",
    }


TARGET = _target(*OWN)
WELL = {
    name: values
    for target in (TARGET, _target(*OWN, pod=2), _target("elsewhere", "team-a"), _target("tools", "team-b"))
    for name, values in _well(target).items()
}
UP = f'pypiserver_upstream_up{{{TARGET}, index="two"}}'
FETCHED = f'pypiserver_upstream_fetches_total{{{TARGET}, result="kept"}}'
YOUNG = f"pypiserver_upstream_evicted_young_total{{{TARGET}}}"


def _watched() -> MonitoringSocket:
    socket = MonitoringSocket()
    watch(socket)
    return socket


@needs("promtool")
def test_each_alert_fires_for_the_registry_that_has_the_fault(tmp_path: Path) -> None:
    # As two registries bring them.
    names = ["one.yaml", "two.yaml"]
    for name in names:
        (tmp_path / name).write_text(yaml.safe_dump({"groups": rules(_watched())}))
        assert "SUCCESS" in promtool("check", "rules", tmp_path / name)
    cases = [
        case(WELL, [(30, set()), (200, set())]),
        case({**WELL, UP: "1x20 0x200"}, [(25, set()), (30, {AWAY})]),
        # It was away for four minutes.
        case({**WELL, UP: "1x20 0x3 1x200"}, [(30, set())]),
        # A tenth of what is fetched pushes out what is in use.
        case({**WELL, YOUNG: "0x20 0+2x200"}, [(30, set()), (100, {THRASHING})]),
        case({**WELL, YOUNG: "0x20 0+0.5x200"}, [(30, set()), (100, set())]),
        # A single large wheel in a quiet hour, and then nothing.
        case({**WELL, FETCHED: "0x240", YOUNG: "0x20 9x200"}, [(40, set()), (100, set())]),
        case({**WELL, YOUNG: "0x20 0+4x30 120x190"}, [(60, {THRASHING}), (140, set())]),
        # A registry without upstream.
        case({name: values for name, values in WELL.items() if "upstream_" not in name}, [(100, set())]),
    ]
    try_rules(names, tmp_path, cases)


def test_alerts_and_panels_ask_for_what_there_is() -> None:
    socket = _watched()
    expressions = [alert.expression for alert in socket.alerts]
    expressions += [query for panel in socket.panels for query in panel.queries.values()]
    asked = [pair for expression in expressions for pair in names_and_labels(expression)]
    assert {name for name, _ in asked} == METRICS.keys()
    of_the_program = {name.removeprefix("pypiserver_upstream_") for name in METRICS if "upstream" in name}
    assert {name for name in of_the_program if name.endswith("_total")} <= {*NAMES, *counters.NAMES}
    for name, labels in asked:
        assert labels <= METRICS[name] | OF_THE_TARGET, name


@pytest.mark.parametrize("title", ["Public packages", "Cache", "Files that policy hides"])
def test_panels_are_about_the_registry_that_is_shown(title: str) -> None:
    (panel,) = (panel for panel in _watched().panels if panel.title == title)
    assert all('namespace="$namespace", job="$job"' in query for query in panel.queries.values())
