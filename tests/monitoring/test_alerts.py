"""promtool's verdict on the rules: each alert fires for the registry that has the fault, and for no other one."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cases import HOST, OWN_CA
from cdk8s_pypiserver import (
    Alert,
    BackupAlertSpec,
    GatewayTLSSpec,
    IngressCertificateSpec,
    IngressTLSSpec,
    MonitoringSocket,
    MonitoringSpec,
    PyPIServerSpec,
    RegistryIngressSpec,
)
from cdk8s_pypiserver.monitoring.alerts import rules
from manifests import by_kind, synthesize
from programs import needs
from promtool import case, promtool, try_rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = needs("promtool")

HOUR = 60 * 60
DAY = 24 * HOUR
EXPIRATION = "certmanager_certificate_expiration_timestamp_seconds"
FAST, SLOW = "critical", "warning"
Series = dict[str, str]


def _target(namespace: str, job: str) -> str:
    return f'namespace="{namespace}", job="{job}", app="pypiserver", pod="{job}-1", instance="10.0.0.1:9090"'


def _up(target: str, part: str) -> str:
    return f'up{{{target}, part="{part}"}}'


def _certificate(namespace: str, name: str) -> str:
    return f'{EXPIRATION}{{namespace="cert-manager", exported_namespace="{namespace}", name="{name}"}}'


def _created(namespace: str, cron_job: str) -> str:
    return f'kube_cronjob_created{{namespace="{namespace}", cronjob="{cron_job}"}}'


def _succeeded(namespace: str, cron_job: str) -> str:
    return f'kube_cronjob_status_last_successful_time{{namespace="{namespace}", cronjob="{cron_job}"}}'


def _well(namespace: str, job: str) -> Series:
    """Return the series of a registry that is well."""
    target = _target(namespace, job)
    pages = f'{target}, part="gateway", route="project"'
    return {
        _up(target, "gateway"): "1x120",
        _up(target, "server"): "1x120",
        f"pypiserver_volume_answers{{{target}}}": "1x120",
        f"pypiserver_volume_problems{{{target}}}": "0x120",
        f"pypiserver_writes{{{target}}}": "1x120",
        f"pypiserver_volume_free_bytes{{{target}}}": "50x120",
        f"pypiserver_volume_size_bytes{{{target}}}": "100x120",
        f"pypiserver_store_answers{{{target}}}": "1x120",
        f"pypiserver_store_lost_files{{{target}}}": "0x120",
        f"pypiserver_store_fenced{{{target}}}": "0x120",
        f"pypiserver_directory_up{{{target}}}": "1x120",
        f"pypiserver_directory_missing_groups{{{target}}}": "0x120",
        f'pypiserver_token_expiry_timestamp_seconds{{{target}, token="ci"}}': f"{8 * DAY}x120",
        f"pypiserver_token_problems{{{target}}}": "0x120",
        f'pypiserver_requests_total{{{pages}, status="2xx"}}': "0+1000x120",
        f'pypiserver_requests_total{{{pages}, status="5xx"}}': "0+10x120",
        f"pypiserver_request_duration_seconds_count{{{pages}}}": "0+1000x120",
        f'pypiserver_request_duration_seconds_bucket{{{pages}, le="0.25"}}': "0+990x120",
        f'pypiserver_request_duration_seconds_bucket{{{pages}, le="60"}}': "0+1000x120",
        f'pypiserver_uploads_total{{{target}, result="stored"}}': "0+10x120",
        f'pypiserver_uploads_total{{{target}, result="failed"}}': "0+1x120",
    }


# The registry that gets the fault; one of the same name in another namespace, and one beside it.
OWN = "tools", "team-a"
TARGET = _target(*OWN)
PAGES = f'{TARGET}, part="gateway", route="project"'
REQUESTS = f'pypiserver_requests_total{{{PAGES}, status="2xx"}}'
ERRORS = f'pypiserver_requests_total{{{PAGES}, status="5xx"}}'
DURATIONS = f"pypiserver_request_duration_seconds_count{{{PAGES}}}"
IN_TIME = f'pypiserver_request_duration_seconds_bucket{{{PAGES}, le="0.25"}}'
STORED, FAILED = (f'pypiserver_uploads_total{{{TARGET}, result="{result}"}}' for result in ("stored", "failed"))
EXPIRES = _certificate("tools", "team-a-tls")
EXPECTED = f'pypiserver_expected_backup_seconds{{{TARGET}, part="gateway", cronjob="backup"}}'
CREATED, SUCCEEDED = _created("tools", "backup"), _succeeded("tools", "backup")
# The same where kube-state-metrics is scraped without honorLabels.
RELABELLED = {
    name: name.replace('namespace="tools"', 'namespace="monitoring", exported_namespace="tools"')
    for name in (CREATED, SUCCEEDED)
}
TOKEN = f'pypiserver_token_expiry_timestamp_seconds{{{TARGET}, token="ci"}}'
OTHER = _target("tools", "team-b")
KINDS = ("backup", "drill", "retention")
DUE = {kind: f'pypiserver_{kind}_due_timestamp_seconds{{{TARGET}, part="server"}}' for kind in KINDS}
DID = {kind: f'pypiserver_{kind}_failed{{{TARGET}, part="server", reason=""}}' for kind in KINDS}
DID_NOT = {kind: name.replace('reason=""', 'reason="emptier"') for kind, name in DID.items()}
WILDCARD = _certificate("tools", "wildcard")
WELL = {
    **_well(*OWN),
    **_well("elsewhere", "team-a"),
    **_well("tools", "team-b"),
    EXPIRES: f"{30 * DAY}x120",
    EXPECTED: f"{26 * HOUR}x120",
    CREATED: f"{-10 * DAY}x120",
    SUCCEEDED: f"{-20 * HOUR}x120",
    # What the others expect: a backup every week, and a certificate that is called as people like.
    f'pypiserver_expected_backup_seconds{{{OTHER}, part="gateway", cronjob="weekly"}}': f"{8 * DAY}x120",
    _created("tools", "weekly"): f"{-30 * DAY}x120",
    _succeeded("tools", "weekly"): f"{-6 * DAY}x120",
    f'pypiserver_expected_certificate{{{OTHER}, part="gateway", name="wildcard"}}': "1x120",
    WILDCARD: f"{30 * DAY}x120",
    # What the registry makes itself.
    **{DUE[kind]: f"{10 * HOUR}x120" for kind in KINDS},
    **{DID[kind]: "0x120" for kind in KINDS},
    # What is nobody's, or another's: of other things in the namespace, and of the same names elsewhere.
    'up{namespace="tools", job="node-exporter", pod="node-exporter-1", part="server"}': "0x120",
    _certificate("tools", "shop-tls"): f"{DAY}x120",
    _certificate("elsewhere", "wildcard"): f"{DAY}x120",
    _created("elsewhere", "backup"): f"{-10 * DAY}x120",
    _created("tools", "report"): f"{-10 * DAY}x120",
}


@dataclass(frozen=True)
class Fault:
    """What a fault makes of the series, and the last minute at which the alert that it is for does not fire yet."""

    changes: Mapping[str, str | None]
    quiet: int
    also: tuple[str, str] | None = None
    """The other alert that such a fault has to bring."""
    whose: tuple[str, str] = OWN


GONE: dict[str, str | None] = {name: values.replace("x120", "x40 stale") for name, values in _well(*OWN).items()}
GONE |= {EXPECTED: f"{26 * HOUR}x40 stale"}
GONE |= {name: WELL[name].replace("x120", "x40 stale") for names in (DUE, DID) for name in names.values()}
FAULTS: dict[tuple[str, str], Fault] = {
    ("PyPIServerAbsent", FAST): Fault(GONE, 45),
    ("PyPIServerTargetDown", SLOW): Fault({_up(TARGET, "gateway"): "0x120"}, 9),
    ("PyPIServerVolumeNotAnswering", FAST): Fault({f"pypiserver_volume_answers{{{TARGET}}}": "0x120"}, 1),
    ("PyPIServerStoreNotAnswering", FAST): Fault({f"pypiserver_store_answers{{{TARGET}}}": "0x120"}, 4),
    ("PyPIServerStoreLosesFiles", FAST): Fault({f"pypiserver_store_lost_files{{{TARGET}}}": "3x120"}, 4),
    ("PyPIServerStoreHasTwoWriters", SLOW): Fault({f"pypiserver_store_fenced{{{TARGET}}}": "1x120"}, 14),
    ("PyPIServerDirectoryAway", FAST): Fault({f"pypiserver_directory_up{{{TARGET}}}": "0x120"}, 1),
    ("PyPIServerDirectoryGroupMissing", SLOW): Fault({f"pypiserver_directory_missing_groups{{{TARGET}}}": "1x120"}, 14),
    ("PyPIServerTokenExpires", SLOW): Fault({TOKEN: f"{6 * DAY}x120"}, 59),
    ("PyPIServerTokenProblems", SLOW): Fault({f"pypiserver_token_problems{{{TARGET}}}": "1x120"}, 4),
    ("PyPIServerVolumeProblems", SLOW): Fault({f"pypiserver_volume_problems{{{TARGET}}}": "3x120"}, 14),
    ("PyPIServerVolumeNearlyFull", SLOW): Fault({f"pypiserver_volume_free_bytes{{{TARGET}}}": "9x120"}, 14),
    ("PyPIServerErrors", FAST): Fault({ERRORS: "0+200x120"}, 2, ("PyPIServerErrors", SLOW)),
    ("PyPIServerErrors", SLOW): Fault({ERRORS: "0+80x120"}, 2),
    ("PyPIServerSlow", FAST): Fault({IN_TIME: "0+800x120"}, 2, ("PyPIServerSlow", SLOW)),
    ("PyPIServerSlow", SLOW): Fault({IN_TIME: "0+920x120"}, 2),
    ("PyPIServerWriterAway", FAST): Fault({f"pypiserver_writes{{{TARGET}}}": "0x120"}, 4),
    ("PyPIServerPublishingFails", FAST): Fault({STORED: "5x120", FAILED: "0x20 1x40"}, 24),
    ("PyPIServerCertificateExpires", SLOW): Fault({EXPIRES: f"{13 * DAY}x120"}, 59),
    ("PyPIServerBackupTooOld", SLOW): Fault({SUCCEEDED: f"{-26 * HOUR}x120"}, 5),
    ("PyPIServerBackupAbsent", SLOW): Fault({CREATED: None, SUCCEEDED: None}, 14),
    ("PyPIServerBackupOverdue", SLOW): Fault({DUE["backup"]: "0x120"}, 5),
    ("PyPIServerBackupFailed", SLOW): Fault({DID["backup"]: None, DID_NOT["backup"]: "1x120"}, 4),
    ("PyPIServerRestoreDrillOverdue", SLOW): Fault({DUE["drill"]: "0x120"}, 5),
    ("PyPIServerRestoreDrillFailed", FAST): Fault({DID["drill"]: None, DID_NOT["drill"]: "1x120"}, 4),
    ("PyPIServerRetentionOverdue", SLOW): Fault({DUE["retention"]: "0x120"}, 5),
    ("PyPIServerRetentionFailed", SLOW): Fault({DID["retention"]: None, DID_NOT["retention"]: "1x120"}, 4),
}
# Other ways to the same alert.
MORE_FAULTS: list[tuple[tuple[str, str], Fault]] = [
    # There is a pod, but its server has never answered.
    (
        ("PyPIServerAbsent", FAST),
        Fault(
            {
                **{name: None for name in _well(*OWN) if name.startswith("pypiserver_volume")},
                _up(TARGET, "server"): "0x120",
            },
            4,
            ("PyPIServerTargetDown", SLOW),
        ),
    ),
    # Certificates of other names: the registry's own, behind a nameSuffix, and what the registry itself tells.
    (
        ("PyPIServerCertificateExpires", SLOW),
        Fault({EXPIRES: None, _certificate("tools", "team-a"): f"{13 * DAY}x120"}, 59),
    ),
    (
        ("PyPIServerCertificateExpires", SLOW),
        Fault(
            {**_well("tools", "team-c-x"), _certificate("tools", "team-c-tls-x"): f"{13 * DAY}x120"},
            59,
            whose=("tools", "team-c-x"),
        ),
    ),
    (("PyPIServerCertificateExpires", SLOW), Fault({WILDCARD: f"{13 * DAY}x120"}, 59, whose=("tools", "team-b"))),
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
    # A backup that failed at first.
    {DID["backup"]: "_x10 0x110", DID_NOT["backup"]: "0x5 1x3 stale"},
    {EXPIRES: "0x120"},
    {EXPIRES: None},
    # The first backup is not due yet.
    {CREATED: "0x120", SUCCEEDED: None},
    {CREATED: None, SUCCEEDED: None, RELABELLED[CREATED]: "0x120", RELABELLED[SUCCEEDED]: "0x120"},
    # A pod that is restarted.
    {f"pypiserver_volume_answers{{{TARGET}}}": "1x40 stale _x2 1x70", _up(TARGET, "server"): "1x40 0x3 1x70"},
]
FURTHER = Alert(name="TeamA", expression="pypiserver_packages > 9000", summary="Many files", description="Tidy up.")


@pytest.fixture
def rule_files(tmp_path: Path) -> list[str]:
    """The rules of two registries, as each brings them; one of them has an alert more."""
    plain, further = MonitoringSocket(), MonitoringSocket()
    further.add_alert(FURTHER)
    for name, socket in (("one.yaml", plain), ("two.yaml", further)):
        (tmp_path / name).write_text(yaml.safe_dump({"groups": rules(socket)}))
    return ["one.yaml", "two.yaml"]


def test_promtool_takes_the_rules(rule_files: list[str], tmp_path: Path) -> None:
    (group,) = rules(MonitoringSocket())
    shipped = len(group["rules"])
    for name, number in zip(rule_files, (shipped, shipped + 1), strict=True):
        assert f"SUCCESS: {number} rules found" in promtool("check", "rules", tmp_path / name)


def test_every_alert_has_its_fault() -> None:
    (group,) = rules(MonitoringSocket())
    shipped = {(rule["alert"], rule["labels"]["severity"]) for rule in group["rules"] if "alert" in rule}
    assert shipped == {*FAULTS, ("PyPIServerNeverScraped", SLOW)}


def test_no_rule_names_a_registry() -> None:
    """Kustomize could change neither the namespace nor the name in it."""
    spec = PyPIServerSpec(name="team-a", monitoring=MonitoringSpec(backup=BackupAlertSpec(cron_job="team-a-backup")))
    assert "team-a" not in str(by_kind(synthesize(spec), "PrometheusRule")["spec"])


def test_an_alert_of_a_user_is_a_rule() -> None:
    socket = MonitoringSocket()
    socket.add_alert(FURTHER)
    assert rules(socket)[1]["rules"] == [
        {
            "alert": "TeamA",
            "expr": "pypiserver_packages > 9000",
            "for": "5m",
            "labels": {"severity": "warning"},
            "annotations": {"summary": "Many files", "description": "Tidy up."},
        }
    ]


def test_two_alerts_of_one_name_differ_in_severity() -> None:
    socket = MonitoringSocket()
    socket.add_alert(FURTHER)
    socket.add_alert(dataclasses.replace(FURTHER, severity="critical"))
    with pytest.raises(ValueError, match=r"alert TeamA of severity warning is there already; give it another name"):
        socket.add_alert(dataclasses.replace(FURTHER, expression="up == 0"))


def test_an_alert_that_no_prometheus_would_load_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Alert.duration must be a time such as 90s, 5m or 2h \(got '5 min'\)"):
        Alert(name="A", expression="up", summary="", description="", duration="5 min")
    with pytest.raises(ValueError, match=r"Alert.expression \(''\) must not be empty"):
        Alert(name="A", expression="", summary="", description="")


def test_a_certificate_of_an_unusual_name_is_told_by_the_registry() -> None:
    for fields, names in (
        (_ingress(None), set()),
        (_ingress(IngressTLSSpec(secret="wildcard")), set()),
        (_ingress(IngressTLSSpec(certificate=IngressCertificateSpec(issuer="ca"))), set()),
        (_ingress(IngressTLSSpec(certificate=IngressCertificateSpec(issuer="ca"), secret="pypi")), {"pypi"}),
        (_ingress(IngressTLSSpec(certificate=IngressCertificateSpec(issuer="ca", object=True))), set()),
        ({"gateway_tls": GatewayTLSSpec(secret="wildcard")}, set()),
        ({"gateway_tls": OWN_CA}, set()),
        ({"monitoring": MonitoringSpec(certificate="own")}, {"own"}),
    ):
        spec = PyPIServerSpec(**{"monitoring": MonitoringSpec(), **fields})
        assert set(re.findall(r'pypiserver_expected_certificate\["([^"]*)"\]', _programs(spec))) == names


def test_the_age_of_a_backup_is_in_hours_or_days() -> None:
    for age, seconds in (("1h", 3600), ("26h", 93_600), ("8d", 691_200)):
        backup = BackupAlertSpec(cron_job="team-a-backup", max_age=age)
        programs = _programs(PyPIServerSpec(monitoring=MonitoringSpec(backup=backup)))
        assert f'pypiserver_expected_backup_seconds["team-a-backup"] = {seconds}\n' in programs


def _programs(spec: PyPIServerSpec) -> str:
    found = (m["data"] for m in synthesize(spec) if m["kind"] == "ConfigMap" and "gateway.mtail" in m["data"])
    return "\n".join(text for data in found for text in data.values())


def _ingress(tls: IngressTLSSpec | None) -> dict[str, Any]:
    return {"ingress": RegistryIngressSpec(host=HOST, tls=tls)}


def _of(fault: Fault, alert: tuple[str, str]) -> dict[str, Any]:
    late = 30 if fault.quiet < 30 else fault.quiet + 5
    firing = {(*each, *fault.whose) for each in (alert, fault.also) if each}
    return case({**WELL, **fault.changes}, [(fault.quiet, set()), (late, firing)])


def test_each_alert_fires_for_the_registry_that_has_the_fault(rule_files: list[str], tmp_path: Path) -> None:
    cases = [case({**WELL, **changes}, [(minute, set()) for minute in (5, 30, 60, 120)]) for changes in FINE]
    cases += [_of(fault, alert) for alert, fault in [*FAULTS.items(), *MORE_FAULTS]]
    # Nobody is scraped: neither there nor anywhere.
    nobody = {name: values for name, values in WELL.items() if "pypiserver" not in name}
    never = ("PyPIServerNeverScraped", SLOW, "", "")
    cases.append(case(nobody, [(14, set()), (20, {never})]))
    try_rules(rule_files[:1], tmp_path, cases)


def test_rules_that_two_registries_bring_are_as_one(rule_files: list[str], tmp_path: Path) -> None:
    """The second ones make the same series and alerts, and not one more."""
    chosen = [("PyPIServerAbsent", FAST), ("PyPIServerErrors", FAST), ("PyPIServerBackupTooOld", SLOW)]
    try_rules(rule_files, tmp_path, [_of(FAULTS[alert], alert) for alert in chosen])


def test_a_registry_that_is_gone_is_missed_for_a_day(rule_files: list[str], tmp_path: Path) -> None:
    series = {name: "1x160" for name in WELL if name.startswith(("up", "pypiserver_volume_answers"))}
    series |= {name: "1x4 stale" for name in series if name in GONE}
    gone = {("PyPIServerAbsent", FAST, *OWN)}
    gone_for_long = case(series, [(40, set()), (70, gone), (24 * 60 + 30, gone), (24 * 60 + 60, set())])
    try_rules(rule_files[:1], tmp_path, [{**gone_for_long, "interval": "10m"}], evaluation_interval="10m")
