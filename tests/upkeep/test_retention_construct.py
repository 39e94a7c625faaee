"""What the concern makes: a CronJob that no Service selects, its way to the registry, and variables that are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cases import CASES, OWN_CA, RETENTION
from cdk8s_pypiserver import (
    PodOptionsSpec,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    RegistryServiceSpec,
    SharedVolumeSpec,
)
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.schedules import Schedule
from manifests import by_kind, synthesize
from retention.configuration import Configuration, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from manifests import Manifest

NODES = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "arch", "operator": "In", "values": ["amd64"]}]}]
    }
}
COMPANY = "retention-of-a-company"


def pod_template(manifests: list[Manifest]) -> Manifest:
    template: Manifest = by_kind(manifests, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    return template


def rules(manifests: list[Manifest]) -> Any:  # noqa: ANN401
    (found,) = (each["data"]["rules.json"] for each in manifests if "rules.json" in each.get("data", {}))
    return json.loads(found)


def variables(manifests: list[Manifest]) -> dict[str, str]:
    (container,) = pod_template(manifests)["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("case", ["retention", COMPANY, "everything"])
def test_the_program_reads_what_is_set(case: str, tmp_path: Path) -> None:
    manifests = synthesize(CASES[case])
    own = {name.upper() for name in Settings.__dataclass_fields__}
    assert variables(manifests).keys() - {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} <= own
    assert own - variables(manifests).keys() == {"TERMINATION_LOG"}
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(rules(manifests)))
    retention = CASES[case].retention
    assert retention
    assert len(Configuration.from_file(path).rules) == len(retention.rules)


def test_what_is_mounted_is_what_the_variables_name() -> None:
    manifests = synthesize(CASES[COMPANY])
    template = pod_template(manifests)["spec"]
    (container,) = template["containers"]
    places = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert {each["name"] for each in template["volumes"]} == set(places.values())
    found = variables(manifests)
    assert found["RULES_FILE"].rpartition("/")[0] in places
    assert found["CERTIFICATES"].rpartition("/")[0] in places
    assert found["CREDENTIALS_DIRECTORY"] in places
    assert {f"{found['LOCKS_DIRECTORY']}/{name}" for name in ("team-a-locks", "team-b-locks")} <= places.keys()
    assert f"{found['PYTHONPATH']}/retention" in places
    (program,) = (each for each in manifests if each["kind"] == "ConfigMap" and "judgement.py" in each["data"])
    assert program["data"] == runtime_files("retention")


def test_no_service_leads_to_its_pods() -> None:
    manifests = synthesize(CASES["retention"])
    labels = pod_template(manifests)["metadata"]["labels"]
    for selector in (
        by_kind(manifests, "Service")["spec"]["selector"],
        by_kind(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
    ):
        assert not selector.items() <= labels.items()


def test_its_pods_are_as_hardened_and_run_where_the_others_do() -> None:
    pod = PodOptionsSpec(
        image_pull_secrets=["mirror"],
        node_selector={"disk": "ssd"},
        affinity={"nodeAffinity": NODES, "podAntiAffinity": {}},
        host_aliases=[{"ip": "192.0.2.1", "hostnames": ["a.example.org"]}],
        security_context={"supplementalGroups": [4712]},
    )
    manifests = synthesize(PyPIServerSpec(storage=SharedVolumeSpec(), pod=pod, retention=RETENTION))
    own = pod_template(manifests)["spec"]
    serving = by_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    for field in ("imagePullSecrets", "nodeSelector", "hostAliases", "automountServiceAccountToken"):
        assert own[field] == serving[field]
    assert own["affinity"] == {"nodeAffinity": NODES}
    assert own["securityContext"] == {
        "runAsGroup": 9898,
        "runAsNonRoot": True,
        "runAsUser": 9898,
        "seccompProfile": {"type": "RuntimeDefault"},
        "supplementalGroups": [4712],
    }
    # Nobody to the cloud.
    assert "serviceAccountName" not in own
    (container,) = own["containers"]
    (server,) = (each for each in serving["containers"] if each["name"] == "pypiserver")
    assert container["securityContext"] == server["securityContext"]
    assert container["image"] == server["image"]


def test_it_asks_the_service_where_that_listens() -> None:
    plain = rules(synthesize(PyPIServerSpec(service=RegistryServiceSpec(port=8888), retention=RETENTION)))
    assert (plain["port"], plain["tls"], plain["tls_name"]) == (8888, False, None)
    secured = rules(synthesize(PyPIServerSpec(gateway_tls=OWN_CA.replace(port=8443), retention=RETENTION)))
    assert (secured["port"], secured["tls"], secured["tls_name"]) == (8443, True, "pypiserver.team.svc")


def test_of_the_gateways_secret_it_gets_the_authority_alone() -> None:
    template = pod_template(synthesize(PyPIServerSpec(gateway_tls=OWN_CA, retention=RETENTION)))
    (volume,) = (each for each in template["spec"]["volumes"] if each["name"] == "retention-ca")
    assert volume["secret"]["secretName"] == "pypiserver-tls"
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_a_policy_lets_it_reach_the_registry_and_nothing_else() -> None:
    spec = PyPIServerSpec(retention=RETENTION, network_policy=RegistryNetworkPolicySpec(clients=[]))
    manifests = synthesize(spec)
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"}
    own = {"matchLabels": {**by_kind(manifests, "Service")["spec"]["selector"]}}
    jobs = {"matchLabels": {**own["matchLabels"], "app.kubernetes.io/component": "retention"}}
    ports = [{"port": port, "protocol": "TCP"} for port in (8080, 8443)]
    assert {"from": [{"podSelector": jobs}], "ports": ports} in policies["pypiserver"]["ingress"]
    isolated = policies["pypiserver-retention"]
    assert isolated["podSelector"] == jobs
    assert isolated["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in isolated
    assert isolated["egress"][0] == {"to": [{"podSelector": own}], "ports": ports}
    assert {port["port"] for rule in isolated["egress"][1:] for port in rule["ports"]} == {53}
    without = synthesize(spec.replace(network_policy=None))
    assert [each for each in without if each["kind"] == "NetworkPolicy"] == []


(_SCHEDULE,) = Schedule.__metadata__  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "schedule",
    ["30 3 * * *", "*/15 0-6 1,15 JAN-mar ?", "0 0 29 2 *", "0 0 31 2 mon", "5/10 * * * 0-6/2", "@daily", "0  3 * * 1"],
)
def test_schedules_that_kubernetes_takes(schedule: str) -> None:
    assert _SCHEDULE.reason(schedule) is None


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("60 3 * * *", "has a minute that there is not (60): it is one of 0 to 59, *, a range or a step"),
        ("0 3 * * 7", "has a day of the week that there is not (7): it is one of 0 to 6 or sun to sat"),
        ("0 3 0 * *", "has a day of the month that there is not (0)"),
        ("0 5-3 * * *", "has an hour that there is not (5-3)"),
        ("*/0 3 * * *", "has a minute that there is not (*/0)"),
        ("0 3 * FEBRUARY *", "has a month that there is not (FEBRUARY)"),
        ("0 0 31 4,6 *", "never comes: no month that it names has that day"),
        ("0 3 * *", "must be five fields"),
        ("TZ=UTC 0 3 * * *", "must be five fields"),
        ("@every 1h", "must be one of @yearly"),
        ("@reboot", "must be one of @yearly"),
    ],
)
def test_schedules_that_never_come_or_kubernetes_refuses(schedule: str, says: str) -> None:
    assert says in (_SCHEDULE.reason(schedule) or "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dry_run": "no"}, "dry_run ('no') in the file is not of the right kind"),
        ({"dryrun": True}, "dryrun is no field of the file"),
        ({"most_versions": 0}, "most_versions (0) in the file must be at least 1"),
        ({"minimum_age_days": True}, "minimum_age_days (True) in the file is not of the right kind"),
        ({"action": "delete"}, "action ('delete') must be remove or yank"),
        ({"rules": [{"keep_versions": 1}]}, "projects is missing in rules[0]"),
        ({"rules": ["acme"]}, "rules[0] must be a mapping"),
        ({"pinned": [1]}, "pinned ([1]) must be a list of texts"),
        ({"pinned": ["acme=="]}, "'acme==' is no rule"),
    ],
)
def test_rules_that_were_edited_by_hand_are_checked(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    """Whoever vendors the manifests writes this file."""
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({**RETENTION.configuration(port=80, tls=False, tls_name=None), **change}))
    with pytest.raises(ValueError, match=r"rules\.json") as refused:
        Configuration.from_file(path)
    assert says in str(refused.value)
