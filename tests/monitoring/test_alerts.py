"""promtool's verdict on the rules: each alert fires on its fault, and none on a registry that is well."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cases import OWN_CA
from cdk8s_pypiserver import (
    BackupAlertSpec,
    GatewayTLSSpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    MonitoringSpec,
    PyPIServerSpec,
    RegistryIngressSpec,
)
from cdk8s_pypiserver.monitoring.alerts import rules
from manifests import by_kind, synthesize
from programs import installed, needs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = needs("promtool")

NAME = "team-a"
CERTIFICATE = "team-a-tls"
TARGET = f'namespace="tools", job="{NAME}", pod="{NAME}-1"'
PAGES = f'{TARGET}, route="project"'
REQUESTS = f'pypiserver_requests_total{{{PAGES}, status="2xx"}}'
ERRORS = f'pypiserver_requests_total{{{PAGES}, status="5xx"}}'
DURATIONS = f"pypiserver_request_duration_seconds_count{{{PAGES}}}"
IN_TIME = f'pypiserver_request_duration_seconds_bucket{{{PAGES}, le="0.25"}}'
ALL_BUT_SLOW = f'pypiserver_request_duration_seconds_bucket{{{PAGES}, le="60"}}'
EXPIRATION = "certmanager_certificate_expiration_timestamp_seconds"
EXPIRES = f'{EXPIRATION}{{namespace="cert-manager", exported_namespace="tools", name="{CERTIFICATE}"}}'
HOUR = 60 * 60
DAY = 24 * HOUR
BACKUP = "team-a-backup"
CREATED = f'kube_cronjob_created{{namespace="tools", cronjob="{BACKUP}"}}'
SUCCEEDED = f'kube_cronjob_status_last_successful_time{{namespace="tools", cronjob="{BACKUP}"}}'
# The same where kube-state-metrics is scraped without honorLabels.
RELABELLED = {
    name: name.replace('namespace="tools"', 'namespace="monitoring", exported_namespace="tools"')
    for name in (CREATED, SUCCEEDED)
}
# A registry that is well, and others that are broken in every way: in the same namespace, and in another one.
WELL = {
    f'up{{{TARGET}, part="gateway"}}': "1x120",
    f'up{{{TARGET}, part="server"}}': "1x120",
    f"pypiserver_volume_answers{{{TARGET}}}": "1x120",
    f"pypiserver_volume_free_bytes{{{TARGET}}}": "50x120",
    f"pypiserver_volume_size_bytes{{{TARGET}}}": "100x120",
    REQUESTS: "0+1000x120",
    ERRORS: "0+10x120",
    DURATIONS: "0+1000x120",
    IN_TIME: "0+990x120",
    ALL_BUT_SLOW: "0+1000x120",
    f'pypiserver_uploads_total{{{TARGET}, result="stored"}}': "0+10x120",
    f'pypiserver_uploads_total{{{TARGET}, result="failed"}}': "0+1x120",
    EXPIRES: f"{30 * DAY}x120",
    CREATED: f"{-10 * DAY}x120",
    SUCCEEDED: f"{-20 * HOUR}x120",
    'up{namespace="tools", job="other", pod="other-1", part="server"}': "0x120",
    'pypiserver_volume_answers{namespace="tools", job="other", pod="other-1"}': "0x120",
    'pypiserver_requests_total{namespace="tools", job="other", route="project", status="5xx"}': "0+100x120",
    f'{EXPIRATION}{{namespace="elsewhere", name="{CERTIFICATE}"}}': f"{DAY}x120",
    f'{EXPIRATION}{{namespace="tools", name="other-tls"}}': f"{DAY}x120",
    CREATED.replace("tools", "elsewhere"): f"{-10 * DAY}x120",
    CREATED.replace(BACKUP, "other"): f"{-10 * DAY}x120",
}
FAST, SLOW = "critical", "warning"


@dataclass(frozen=True)
class Fault:
    """What a fault makes of the series, and the minute after which the alert that it is for fires."""

    changes: Mapping[str, str | None]
    quiet: int
    brings: tuple[str, str] | None = None
    """The other alert that such a fault has to bring."""


FAULTS: dict[tuple[str, str], Fault] = {
    ("PyPIServerAbsent", FAST): Fault({f"pypiserver_volume_answers{{{TARGET}}}": None}, 4),
    ("PyPIServerTargetDown", SLOW): Fault({f'up{{{TARGET}, part="gateway"}}': "0x120"}, 9),
    ("PyPIServerVolumeNotAnswering", FAST): Fault({f"pypiserver_volume_answers{{{TARGET}}}": "0x120"}, 1),
    ("PyPIServerVolumeNearlyFull", SLOW): Fault({f"pypiserver_volume_free_bytes{{{TARGET}}}": "9x120"}, 14),
    ("PyPIServerErrors", FAST): Fault({ERRORS: "0+200x120"}, 2, ("PyPIServerErrors", SLOW)),
    ("PyPIServerErrors", SLOW): Fault({ERRORS: "0+80x120"}, 2),
    ("PyPIServerSlow", FAST): Fault({IN_TIME: "0+800x120"}, 2, ("PyPIServerSlow", SLOW)),
    ("PyPIServerSlow", SLOW): Fault({IN_TIME: "0+920x120"}, 2),
    ("PyPIServerPublishingFails", FAST): Fault(
        {
            f'pypiserver_uploads_total{{{TARGET}, result="stored"}}': "5x120",
            f'pypiserver_uploads_total{{{TARGET}, result="failed"}}': "0x20 1x40",
        },
        24,
    ),
    ("PyPIServerCertificateExpires", SLOW): Fault({EXPIRES: f"{13 * DAY}x120"}, 59),
    ("PyPIServerBackupTooOld", SLOW): Fault({SUCCEEDED: f"{-26 * HOUR}x120"}, 5),
    ("PyPIServerBackupAbsent", SLOW): Fault({CREATED: None, SUCCEEDED: None}, 14),
}
# Other ways to the same alert.
MORE_FAULTS: list[tuple[tuple[str, str], Fault]] = [
    # Never a backup at all.
    (("PyPIServerBackupTooOld", SLOW), Fault({SUCCEEDED: None}, 4)),
    (
        ("PyPIServerBackupTooOld", SLOW),
        Fault(
            {
                CREATED: None,
                SUCCEEDED: None,
                RELABELLED[CREATED]: f"{-10 * DAY}x120",
                RELABELLED[SUCCEEDED]: f"{-26 * HOUR}x120",
            },
            5,
        ),
    ),
]
# What is no fault, however bad the share looks.
FINE: list[dict[str, str | None]] = [
    {},
    # Nine of ten requests a night.
    {REQUESTS: "0x30 1x90", ERRORS: "0x30 9x90", DURATIONS: "0x30 10x90", IN_TIME: "0x30 1x90"},
    # A fifth of the requests, for two minutes of an hour.
    {ERRORS: "0x100 200 400x18"},
    # Nobody has met an error yet, and nobody has asked for a page.
    {ERRORS: None, DURATIONS: None, IN_TIME: None},
    {EXPIRES: "0x120"},
    {EXPIRES: None},
    # The first backup is not due yet.
    {CREATED: "0x120", SUCCEEDED: None},
    {CREATED: None, SUCCEEDED: None, RELABELLED[CREATED]: "0x120", RELABELLED[SUCCEEDED]: "0x120"},
]


def _groups() -> list[dict[str, Any]]:
    return rules(NAME, CERTIFICATE, BackupAlertSpec(cron_job=BACKUP))


def _promtool(*arguments: str | Path) -> str:
    promtool = installed("promtool")
    assert promtool
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": _groups()}))
    return path


def test_promtool_takes_the_rules(rules_file: Path) -> None:
    assert "SUCCESS: 23 rules found" in _promtool("check", "rules", rules_file)


def test_every_alert_has_its_fault() -> None:
    shipped = [(rule["alert"], rule["labels"]["severity"]) for rule in _groups()[1]["rules"]]
    assert sorted(shipped) == sorted(FAULTS)


def test_there_is_an_alert_about_a_certificate_only_where_there_is_one() -> None:
    for fields, names in (
        (_ingress(None), set()),
        (_ingress(IngressTLSSpec(secret="wildcard")), set()),
        (_ingress(IngressTLSSpec(certificate=IngressCertificateSpec(issuer="ca"))), {"pypiserver-tls"}),
        (_ingress(IngressTLSSpec(certificate=IngressCertificateSpec(issuer="ca"), secret="pypi")), {"pypi"}),
        (_ingress(IngressTLSSpec(certificate=IngressCertificateSpec(issuer="ca", object=True))), {"pypiserver"}),
        ({"gateway_tls": GatewayTLSSpec(secret="wildcard")}, set()),
        ({"gateway_tls": OWN_CA}, {"pypiserver"}),
    ):
        spec = PyPIServerSpec(monitoring=MonitoringSpec(), **fields)
        rule = by_kind(synthesize(spec), "PrometheusRule")
        assert set(re.findall(rf'{EXPIRATION}{{name="([^"]*)"}}', json.dumps(rule).replace(r"\"", '"'))) == names


def test_the_age_of_a_backup_is_in_hours_or_days() -> None:
    for age, seconds in (("1h", 3600), ("26h", 93_600), ("8d", 691_200)):
        made = rules(NAME, backup=BackupAlertSpec(cron_job=BACKUP, max_age=age))
        (expression,) = (each["expr"] for each in made[1]["rules"] if each["alert"] == "PyPIServerBackupTooOld")
        assert f" > {seconds} " in expression


def _ingress(tls: IngressTLSSpec | None) -> dict[str, Any]:
    return {"ingress": RegistryIngressSpec(host="pypi.example.org", tls=tls)}


def _case(changes: Mapping[str, str | None], checks: list[tuple[int, tuple[str, str], bool]]) -> dict[str, Any]:
    series = {**WELL, **changes}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items() if values],
        "promql_expr_test": [
            {
                "expr": f"count by (severity) (ALERTS{{{labels}}})",
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{severity="{severity}"}}', "value": 1}] if fires else [],
            }
            for minute, (alert, severity), fires in checks
            for labels in [f'alertname="{alert}", severity="{severity}", alertstate="firing"']
        ],
    }


def _late(fault: Fault) -> int:
    """A minute at which the alert fires."""
    return 30 if fault.quiet < 30 else fault.quiet + 5


def test_each_alert_fires_on_its_fault_and_on_no_other(rules_file: Path, tmp_path: Path) -> None:
    cases = [
        _case(changes, [(minute, alert, False) for alert in FAULTS for minute in (5, 30, 60, 120)]) for changes in FINE
    ]
    for alert, fault in [*FAULTS.items(), *MORE_FAULTS]:
        others = [other for other in FAULTS if other not in (alert, fault.brings)]
        checks = [(minute, other, False) for other in others for minute in (fault.quiet, _late(fault))]
        cases.append(_case(fault.changes, [(fault.quiet, alert, False), (_late(fault), alert, True), *checks]))
    tests = tmp_path / "tests.yaml"
    tests.write_text(yaml.safe_dump({"rule_files": [rules_file.name], "evaluation_interval": "1m", "tests": cases}))
    _promtool("test", "rules", tests)
