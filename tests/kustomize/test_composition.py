"""Charts and components: what Kustomize composes equals what the constructs make."""

from pathlib import Path
from typing import Any

import pytest

from cases import HOST, LETSENCRYPT, STORAGE
from cdk8s_pypiserver import (
    AuthSpec,
    AvailabilitySpec,
    GatewayTLSSpec,
    MonitoringSpec,
    NetworkPolicySpec,
    PyPIServerSpec,
    RegistryIngressSpec,
)
from cdk8s_pypiserver.kustomize.patches import patch_between
from manifests import DIST, by_kind, compose, objects, synthesize, too_large

CONCERNS: dict[str, dict[str, Any]] = {
    "ingress": {"ingress": RegistryIngressSpec(host=HOST)},
    "tls": {"ingress": RegistryIngressSpec(host=HOST, tls=LETSENCRYPT)},
    "ha": {"availability": AvailabilitySpec()},
    "anonymous-reads": {"auth": AuthSpec(anonymous_reads=True)},
    "initial-password": {"auth": AuthSpec(initial_password=True)},
    "monitoring": {"monitoring": MonitoringSpec(certificate="pypiserver-tls")},
    "gateway-tls": {"gateway_tls": GatewayTLSSpec()},
}
CONCERNS["network-policy"] = {
    "network_policy": NetworkPolicySpec(),
    **CONCERNS["ingress"],
    **CONCERNS["monitoring"],
}
NEEDS = {"tls": ["ingress"], "network-policy": ["ingress", "monitoring"]}
ANYWHERE = ("ingress", "tls", "anonymous-reads", "monitoring", "gateway-tls")
COMPOSITIONS = [
    *[(chart, (concern,)) for chart in STORAGE for concern in ANYWHERE],
    ("shared", ("ha",)),
    ("local", ("initial-password",)),
    *[(chart, ("network-policy",)) for chart in STORAGE],
    ("shared", ("ha", "network-policy")),
    *[("shared", pair) for pair in (("ha", "ingress"), ("ha", "tls"), ("ha", "anonymous-reads"), ("ha", "monitoring"))],
    *[(chart, ("tls", "anonymous-reads")) for chart in STORAGE],
    *[(chart, ("anonymous-reads", "monitoring")) for chart in STORAGE],
    *[("shared", ("gateway-tls", other)) for other in ("ha", "anonymous-reads", "monitoring")],
    ("local", ("monitoring", "initial-password")),
    ("local", ("tls", "initial-password")),
    ("local", ("anonymous-reads", "initial-password")),
]


def _spec(chart: str, concerns: tuple[str, ...]) -> PyPIServerSpec:
    fields: dict[str, Any] = {"storage": STORAGE[chart]}
    for concern in concerns:
        for field, value in CONCERNS[concern].items():
            if field == "auth" and field in fields:
                fields[field] = AuthSpec(anonymous_reads=True, initial_password=True)
            else:
                fields[field] = value
    return PyPIServerSpec(**fields)


def test_every_component_is_composed() -> None:
    assert {path.name for path in (DIST / "components").iterdir()} == set(CONCERNS)
    assert {concern for _, concerns in COMPOSITIONS for concern in concerns} == set(CONCERNS)


@pytest.mark.parametrize(
    ("chart", "concerns"), COMPOSITIONS, ids=lambda part: part if isinstance(part, str) else "+".join(part)
)
def test_chart_and_components_equal_the_construct(chart: str, concerns: tuple[str, ...], tmp_path: Path) -> None:
    needed = [name for concern in concerns for name in [*NEEDS.get(concern, []), concern]]
    rendered = compose(tmp_path / "overlay", chart, *needed)
    assert objects(rendered) == objects(synthesize(_spec(chart, concerns)))
    assert too_large(rendered) == []


@pytest.mark.parametrize("chart", STORAGE)
def test_chart_equals_the_construct(chart: str, tmp_path: Path) -> None:
    rendered = compose(tmp_path / "overlay", chart)
    assert objects(rendered) == objects(synthesize(_spec(chart, ())))
    assert too_large(rendered) == []


def test_every_patch_for_workloads_meets_one(tmp_path: Path) -> None:
    """Kustomize says nothing of a patch whose target matches nothing."""
    patched = {path.parent for path in (DIST / "components").rglob("patch.Deployment.*")}
    assert {path.name for path in patched} >= {"ha", "monitoring"}
    for component in patched:
        chart = "shared" if component.name == "ha" else "local"
        with_component, without = (
            by_kind(compose(tmp_path / f"{component.name}-{len(names)}", chart, *names), "Deployment")
            for names in ([component.name], [])
        )
        assert with_component != without


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
