"""One writer and many readers: what differs between their pods, and who reaches whom."""

from typing import Any

import cdk8s
import pytest

import schemas
from cdk8s_pypiserver import (
    GatewayTLSSpec,
    PodOptionsSpec,
    PyPIServerChart,
    PyPIServerSpec,
    ReadersSpec,
    RegistryNetworkPolicySpec,
    RolloutSpec,
    S3VolumeSpec,
)
from cdk8s_pypiserver.scaling.roles import template_of
from manifests import Manifest, by_kind, synthesize

BUCKET = S3VolumeSpec(bucket="pypi-packages")
READ = PyPIServerSpec(storage=BUCKET, readers=ReadersSpec())
WORKLOADS = {"reader": "Deployment", "writer": "StatefulSet"}
HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def _template(manifests: list[Manifest], role: str) -> Manifest:
    template: Manifest = by_kind(manifests, WORKLOADS[role])["spec"]["template"]
    return template


def _container(template: Manifest, name: str) -> Manifest:
    (found,) = (each for each in template["spec"]["containers"] if each["name"] == name)
    return dict(found)


def _variables(container: Manifest) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def _selects(selector: dict[str, str], template: Manifest) -> bool:
    labels: dict[str, str] = template["metadata"]["labels"]
    return selector.items() <= labels.items()


def test_it_is_valid_for_every_supported_kubernetes() -> None:
    assert list(schemas.problems(synthesize(READ.replace(rollout=RolloutSpec(min_ready_seconds=5))))) == []


def test_the_pods_differ_in_their_role_alone() -> None:
    manifests = synthesize(READ)
    reader, writer = _template(manifests, "reader"), _template(manifests, "writer")
    assert _variables(_container(reader, "pypiserver"))["ROLE"] == "reader"
    assert _variables(_container(writer, "pypiserver"))["ROLE"] == "writer"
    assert _variables(_container(reader, "gateway"))["WRITER"] == "pypiserver-writer"
    assert "WRITER" not in _variables(_container(writer, "gateway"))
    for template, role in ((reader, "reader"), (writer, "writer")):
        assert template["metadata"]["labels"].pop("pypiserver/role") == role
        for container in template["spec"]["containers"]:
            container["env"] = [each for each in container["env"] if each["name"] not in {"ROLE", "WRITER", "READERS"}]
            for mount in container["volumeMounts"]:
                if mount["name"] == "packages":
                    assert mount.pop("readOnly", False) or (container["name"], role) == ("pypiserver", "writer")
    assert reader == writer


def test_what_joins_the_pod_joins_both_and_never_writes_at_a_reader() -> None:
    chart = PyPIServerChart(cdk8s.App(), "chart", READ)
    mount = {"name": "packages", "mountPath": "/mnt"}
    added = {"name": "mine", "image": "a:1", "securityContext": HARDENED, "volumeMounts": [mount]}
    chart.registry.pod.add_container(added)
    chart.registry.pod.add_init_container({**added, "name": "first"})
    chart.registry.server.set("LOG_LEVEL", "debug")
    manifests = chart.to_json()
    for role in WORKLOADS:
        template = _template(manifests, role)
        assert _variables(_container(template, "pypiserver"))["LOG_LEVEL"] == "debug"
        for each in (_container(template, "mine"), template["spec"]["initContainers"][0]):
            assert each["volumeMounts"] == [{**mount, "readOnly": True} if role == "reader" else mount]


def test_a_volume_of_its_own_may_be_written_to_at_a_reader() -> None:
    mount = {"name": "packages", "mountPath": "/mnt"}
    template = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "mine", "volumeMounts": [mount]}]}}
    for shared, mounted in ((True, {**mount, "readOnly": True}), (False, mount)):
        made = template_of("reader", template, writer="pypiserver-writer", shared=shared)
        assert _container(made, "mine")["volumeMounts"] == [mounted]


def test_the_writer_is_made_anew_only_when_it_is_gone() -> None:
    manifests = synthesize(READ.replace(rollout=RolloutSpec(revision_history_limit=3, max_surge=2)))
    writer = by_kind(manifests, "StatefulSet")
    assert writer["metadata"]["name"] == "pypiserver-writer"
    assert writer["spec"]["replicas"] == 1
    assert writer["spec"]["revisionHistoryLimit"] == 3
    readers = by_kind(manifests, "Deployment")["spec"]
    assert readers["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
    assert "replicas" not in readers


def test_everybody_reaches_readers_and_readers_the_writer() -> None:
    """A read that fails because of the writer would have to come to it first."""
    manifests = synthesize(READ.replace(gateway_tls=GatewayTLSSpec()))
    templates = {role: _template(manifests, role) for role in WORKLOADS}
    for name, role in (("pypiserver", "reader"), ("pypiserver-writer", "writer")):
        service = _named(manifests, "Service", name)["spec"]
        assert {each for each, template in templates.items() if _selects(service["selector"], template)} == {role}
    ports = {port["name"]: port["port"] for port in service["ports"]}
    assert ports == {"http": 80, "https": 443}
    for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
        selector = by_kind(manifests, kind)["spec"]["selector"]["matchLabels"]
        assert len([each for each in templates.values() if _selects(selector, each)]) == 1, kind
        assert not [key for key in selector if "version" in key]


def test_names_follow_the_registry() -> None:
    manifests = synthesize(READ.replace(name="team-a"))
    assert by_kind(manifests, "StatefulSet")["spec"]["serviceName"] == "team-a-writer"
    assert _variables(_container(_template(manifests, "reader"), "gateway"))["WRITER"] == "team-a-writer"
    assert by_kind(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "team-a"


@pytest.mark.parametrize(
    ("fields", "budget"),
    [({}, {"minAvailable": 1}), ({"min_replicas": 1}, {"maxUnavailable": 1}), ({"max_unavailable": 2},) * 2],
)
def test_what_evictions_leave_running(fields: dict[str, Any], budget: dict[str, Any]) -> None:
    if "max_unavailable" in budget:
        budget = {"maxUnavailable": 2}
    spec = by_kind(synthesize(READ.replace(readers=ReadersSpec(**fields))), "PodDisruptionBudget")["spec"]
    assert {key: spec[key] for key in spec.keys() & {"minAvailable", "maxUnavailable"}} == budget


def test_a_policy_lets_readers_find_and_reach_the_writer() -> None:
    manifests = synthesize(READ.replace(network_policy=RegistryNetworkPolicySpec(clients=[])))
    policy = by_kind(manifests, "NetworkPolicy")["spec"]
    templates = {role: _template(manifests, role) for role in WORKLOADS}
    assert all(_selects(policy["podSelector"]["matchLabels"], template) for template in templates.values())
    (incoming,) = policy["ingress"]
    assert _selects(incoming["from"][0]["podSelector"]["matchLabels"], templates["reader"])
    assert {port["port"] for port in incoming["ports"]} >= {"http", "https"}
    ways = [(port["port"], port["protocol"]) for rule in policy["egress"] for port in rule["ports"]]
    assert set(ways) == {(53, "TCP"), (53, "UDP"), ("http", "TCP"), ("https", "TCP")}
    (writer,) = (rule for rule in policy["egress"] if rule["ports"][0]["port"] == "http")
    assert _selects(writer["to"][0]["podSelector"]["matchLabels"], templates["writer"])


def test_the_role_of_a_pod_is_not_to_be_changed() -> None:
    registry = PyPIServerChart(cdk8s.App(), "chart", READ).registry
    with pytest.raises(ValueError, match=r"label pypiserver/role \(writer\) cannot be changed"):
        registry.pod.add_label("pypiserver/role", "writer")
    with pytest.raises(ValueError, match=r"pypiserver/role.*'writer'\) cannot be changed"):
        PodOptionsSpec(labels={"pypiserver/role": "writer"})


def test_the_parts_are_to_be_had() -> None:
    registry = PyPIServerChart(cdk8s.App(), "chart", READ).registry
    assert registry.writer
    assert registry.readers
    assert cdk8s.ApiObject.of(registry).kind == "Deployment"
    assert cdk8s.ApiObject.of(registry.readers).kind == "HorizontalPodAutoscaler"
    assert registry.writer.kind == "StatefulSet"
    alone = PyPIServerChart(cdk8s.App(), "chart").registry
    assert alone.writer is None
    assert alone.readers is None
