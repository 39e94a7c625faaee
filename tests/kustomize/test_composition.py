"""Charts and components: what Kustomize composes equals what the constructs make."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from cases import BACKUP, COPYING, DIRECTORY, HOST, LETSENCRYPT, PERMISSIONS, PUBLIC, READERS, RETENTION, STORAGE
from cdk8s_pypiserver import (
    AuditSpec,
    AuthSpec,
    AvailabilitySpec,
    GatewayTLSSpec,
    MonitoringSpec,
    PermissionRuleSpec,
    PyPIServerSpec,
    RegistryIngressSpec,
    RegistryNetworkPolicySpec,
    ServerSpec,
)
from cdk8s_pypiserver.kustomize.patches import patch_between
from manifests import DIST, Manifest, by_kind, compose, kustomization, objects, pod_of, render, synthesize, too_large

PUBLIC_PROJECTS = PERMISSIONS.replace(
    rules=[*PERMISSIONS.rules, PermissionRuleSpec(projects=["open-*"], read=["@anonymous"])]
)
CONCERNS: dict[str, dict[str, Any]] = {
    "ingress": {"ingress": RegistryIngressSpec(host=HOST)},
    "tls": {"ingress": RegistryIngressSpec(host=HOST, tls=LETSENCRYPT)},
    "ha": {"availability": AvailabilitySpec()},
    "anonymous-reads": {"auth": AuthSpec(anonymous_reads=True)},
    "initial-password": {"auth": AuthSpec(initial_password=True)},
    "monitoring": {"monitoring": MonitoringSpec(certificate="pypiserver-tls")},
    "gateway-tls": {"gateway_tls": GatewayTLSSpec()},
    "retention": {"retention": RETENTION},
    "retention-gateway-tls": {"gateway_tls": GatewayTLSSpec(), "retention": RETENTION},
    "upstream": {"upstream": PUBLIC},
    "monitoring-upstream": {"upstream": PUBLIC, "monitoring": MonitoringSpec()},
    "backup": {"backup": BACKUP},
    "backup-gateway-tls": {"gateway_tls": GatewayTLSSpec(), "backup": BACKUP},
    "backup-object-store": {"backup": BACKUP},
    "backup-object-store-gateway-tls": {"gateway_tls": GatewayTLSSpec(), "backup": BACKUP},
    "copy": {"copying": COPYING},
    "audit": {"audit": AuditSpec()},
    "ldap": {"ldap": DIRECTORY},
    "permissions": {"permissions": PERMISSIONS},
    "anonymous-projects": {"permissions": PUBLIC_PROJECTS},
    "removal": {"server": ServerSpec(allow_removal=True)},
}
CONCERNS["network-policy"] = {
    "network_policy": RegistryNetworkPolicySpec(),
    **CONCERNS["ingress"],
    **CONCERNS["retention"],
    **CONCERNS["backup"],
    **CONCERNS["copy"],
    **CONCERNS["monitoring"],
}
CONCERNS["network-policy-readers"] = CONCERNS["network-policy"]
CONCERNS["network-policy-upstream"] = {
    "network_policy": RegistryNetworkPolicySpec(),
    **CONCERNS["ingress"],
    **CONCERNS["retention"],
    **CONCERNS["backup"],
    **CONCERNS["copy"],
    **CONCERNS["monitoring-upstream"],
}
CONCERNS["network-policy-ldap"] = {**CONCERNS["network-policy"], **CONCERNS["ldap"]}
for _policy in (
    "network-policy-object-store",
    "network-policy-object-store-ldap",
    "network-policy-object-store-upstream",
):
    CONCERNS[_policy] = CONCERNS[_policy.replace("-object-store", "")]
POLICIES = {"s3-csi": "network-policy-readers", "object-store": "network-policy-object-store"}
LDAP_POLICIES = {"object-store": "network-policy-object-store-ldap"}
UPSTREAM_POLICIES = {"object-store": "network-policy-object-store-upstream"}
NEEDS = {
    "anonymous-projects": ["permissions"],
    "tls": ["ingress"],
    "network-policy": ["ingress", "monitoring", "retention", "backup", "copy"],
    "network-policy-readers": ["ingress", "monitoring", "retention", "backup", "copy"],
    "monitoring-upstream": ["upstream"],
    "network-policy-upstream": ["upstream", "ingress", "monitoring-upstream", "retention", "backup", "copy"],
    "network-policy-object-store": ["ingress", "monitoring", "retention", "backup-object-store", "copy"],
    "network-policy-object-store-upstream": [
        "upstream",
        "ingress",
        "monitoring-upstream",
        "retention",
        "backup-object-store",
        "copy",
    ],
    "network-policy-ldap": ["ldap", "ingress", "monitoring", "retention", "backup", "copy"],
    "network-policy-object-store-ldap": ["ldap", "ingress", "monitoring", "retention", "backup-object-store", "copy"],
    "retention-gateway-tls": ["gateway-tls"],
    "backup-gateway-tls": ["gateway-tls"],
    "backup-object-store-gateway-tls": ["gateway-tls"],
}
RULES = ("ConfigMap", "pypiserver-permissions")
ANYWHERE = (
    "ingress",
    "tls",
    "anonymous-projects",
    "anonymous-reads",
    "audit",
    "monitoring",
    "gateway-tls",
    "upstream",
    "monitoring-upstream",
    "retention",
    "retention-gateway-tls",
    "copy",
    "ldap",
    "permissions",
    "removal",
)
COMPOSITIONS = [
    *[(chart, (concern,)) for chart in STORAGE for concern in ANYWHERE],
    ("shared", ("ha",)),
    ("local", ("initial-password",)),
    *[(chart, (POLICIES.get(chart, "network-policy"),)) for chart in STORAGE],
    *[(chart, (LDAP_POLICIES.get(chart, "network-policy-ldap"),)) for chart in STORAGE],
    *[(chart, ("ldap", "monitoring-upstream")) for chart in STORAGE],
    ("shared", ("ha", "ldap", "permissions", "monitoring")),
    ("local", ("ldap", "anonymous-reads", "initial-password")),
    *[(chart, (UPSTREAM_POLICIES.get(chart, "network-policy-upstream"),)) for chart in STORAGE],
    *[(chart, ("gateway-tls", "monitoring", "anonymous-reads")) for chart in READERS],
    *[(chart, ("backup",)) for chart in STORAGE if chart != "object-store"],
    *[(chart, ("backup-gateway-tls",)) for chart in STORAGE if chart != "object-store"],
    ("object-store", ("backup-object-store",)),
    ("object-store", ("backup-object-store-gateway-tls",)),
    ("object-store", ("backup-object-store", "monitoring")),
    ("shared", ("ha", "backup", "anonymous-reads")),
    ("local", ("backup", "tls", "monitoring", "initial-password")),
    ("local", ("upstream", "backup")),
    ("shared", ("ha", "network-policy")),
    *[("shared", pair) for pair in (("ha", "ingress"), ("ha", "tls"), ("ha", "anonymous-reads"), ("ha", "monitoring"))],
    *[(chart, ("tls", "anonymous-reads")) for chart in STORAGE],
    *[(chart, ("anonymous-reads", "monitoring")) for chart in STORAGE],
    *[("shared", ("gateway-tls", other)) for other in ("ha", "anonymous-reads", "monitoring")],
    ("shared", ("ha", "anonymous-reads", "monitoring-upstream")),
    ("local", ("tls", "initial-password", "upstream")),
    ("local", ("gateway-tls", "upstream")),
    ("local", ("monitoring", "initial-password")),
    ("shared", ("ha", "retention", "audit")),
    ("local", ("tls", "initial-password")),
    ("local", ("anonymous-reads", "initial-password")),
]


def _spec(chart: str, concerns: tuple[str, ...]) -> PyPIServerSpec:
    fields: dict[str, Any] = {"storage": STORAGE[chart], "readers": READERS.get(chart)}
    for concern in concerns:
        for field, value in CONCERNS[concern].items():
            if field == "auth" and field in fields:
                fields[field] = AuthSpec(anonymous_reads=True, initial_password=True)
            else:
                fields[field] = value
    return PyPIServerSpec(**fields)


def test_every_component_is_composed() -> None:
    # That of the images takes an address that no spec has: tests/images/test_mirror.py.
    assert {path.name for path in (DIST / "components").iterdir()} - {"images"} == set(CONCERNS)
    assert {concern for _, concerns in COMPOSITIONS for concern in concerns} == set(CONCERNS)


@pytest.mark.parametrize(
    ("chart", "concerns"), COMPOSITIONS, ids=lambda part: part if isinstance(part, str) else "+".join(part)
)
def test_chart_and_components_equal_the_construct(chart: str, concerns: tuple[str, ...], tmp_path: Path) -> None:
    needed = [name for concern in concerns for name in [*NEEDS.get(concern, []), concern]]
    rendered = compose(tmp_path / "overlay", chart, *needed)
    expected, found = objects(synthesize(_spec(chart, concerns))), objects(rendered)
    if "anonymous-projects" in concerns:
        # Which projects are public its user says.
        assert found.pop(RULES)["data"] == objects(synthesize(_spec(chart, ("permissions",))))[RULES]["data"]
        assert expected.pop(RULES)["data"] == {"permissions.json": PUBLIC_PROJECTS.text}
    assert found == expected
    assert too_large(rendered) == []


@pytest.mark.parametrize("chart", STORAGE)
def test_chart_equals_the_construct(chart: str, tmp_path: Path) -> None:
    rendered = compose(tmp_path / "overlay", chart)
    assert objects(rendered) == objects(synthesize(_spec(chart, ())))
    assert too_large(rendered) == []


@cache
def _without(chart: str, *components: str) -> list[Manifest]:
    """What most components are compared with."""
    with TemporaryDirectory() as directory:
        return compose(Path(directory) / "plain", chart, *components)


def test_every_patch_for_workloads_meets_one(tmp_path: Path) -> None:
    """Kustomize says nothing of a patch whose target matches nothing."""
    patched = {path.parent for path in (DIST / "components").rglob("patch.Deployment.*")}
    assert {path.name for path in patched} >= {"ha", "monitoring"}
    for component in patched:
        chart = {"ha": "shared", "network-policy-readers": "s3-csi"}.get(component.name, "local")
        if "object-store" in component.name:
            chart = "object-store"
        needed = NEEDS.get(component.name, [])
        with_component = compose(tmp_path / component.name, chart, *needed, component.name)
        assert by_kind(with_component, "Deployment") != by_kind(_without(chart, *needed), "Deployment")


@pytest.mark.parametrize("chart", READERS)
def test_what_changes_in_readers_changes_in_the_writer(chart: str, tmp_path: Path) -> None:
    patched = {path.parent.name for path in (DIST / "components").rglob("patch.StatefulSet.*")}
    # All that change pods, but for those of other charts: what they put beside the pods is no matter of the template.
    of_pods = {
        path.parent.name
        for path in (DIST / "components").rglob("patch.Deployment.*")
        if "template" in yaml.safe_load(path.read_text()).get("spec", {})
    }
    assert patched == of_pods - {"ha", "initial-password"}
    # Of what is kept elsewhere, and of a volume.
    stored = {"backup-object-store", "backup-object-store-gateway-tls"}
    for name in patched - ({"backup", "backup-gateway-tls"} if chart == "object-store" else stored):
        needed = NEEDS.get(name, [])
        made = [_without(chart, *needed), compose(tmp_path / name, chart, *needed, name)]
        changes = []
        for kind in ("Deployment", "StatefulSet"):
            before, after = ({"kind": kind, **by_kind(rendered, kind)["spec"]["template"]} for rendered in made)
            changes.append(patch_between(before, after))
        assert changes[0] == changes[1] != {}, name


@pytest.mark.parametrize("chart", READERS)
def test_the_order_of_components_does_not_matter(chart: str, tmp_path: Path) -> None:
    names = ["ingress", "tls", "anonymous-reads", "monitoring", POLICIES[chart]]
    other = ["monitoring", "anonymous-reads", "ingress", POLICIES[chart], "tls"]
    made = [objects(compose(tmp_path / str(number), chart, *order)) for number, order in enumerate((names, other))]
    assert made[0] == made[1]


def test_an_overlay_names_indexes_of_its_own(tmp_path: Path) -> None:
    own: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pypiserver-upstream"}}
    own["data"] = {"upstream.json": '{"indexes": []}\n'}
    plain = compose(tmp_path / "plain", "local", "upstream")
    patched = render(
        kustomization(
            tmp_path / "patched",
            resources=[DIST / "local", DIST / "local-volume"],
            components=[DIST / "components/upstream"],
            patches=[{"patch": json.dumps(own)}],
        )
    )
    names = []
    for rendered in (plain, patched):
        (made,) = (each for each in rendered if "upstream.json" in each.get("data", {}))
        names.append(made["metadata"]["name"])
        volumes = {each["name"]: each for each in pod_of(rendered)["volumes"]}
        assert volumes["upstream-files"]["configMap"] == {"name": names[-1]}
    assert made["data"] == own["data"]
    assert made["immutable"] is True
    # Another name, so that the pods are made anew.
    assert len(set(names)) == 2


def test_patch_merges_lists_by_their_key() -> None:
    old = {"kind": "Deployment", "spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}}
    new = {
        "kind": "Deployment",
        "spec": {"containers": [{"name": "b"}, {"name": "a", "env": [{"name": "X", "value": "2"}]}]},
    }
    assert patch_between(old, new) == {
        "spec": {"containers": [{"name": "b"}, {"name": "a", "env": [{"name": "X", "value": "2"}]}]}
    }


def test_patch_takes_fields_away_and_replaces_other_lists() -> None:
    old = {"kind": "Deployment", "spec": {"replicas": 1, "args": ["a", "b"]}}
    new = {"kind": "Deployment", "spec": {"args": ["b"]}}
    assert patch_between(old, new) == {"spec": {"replicas": None, "args": ["b"]}}


def test_patch_refuses_to_take_an_item_away() -> None:
    old = {"kind": "Deployment", "spec": {"volumes": [{"name": "a"}, {"name": "b"}]}}
    with pytest.raises(ValueError, match=r"Deployment: volumes must not lose items in a component \(lost \['b'\]\)"):
        patch_between(old, {"kind": "Deployment", "spec": {"volumes": [{"name": "a"}]}})
