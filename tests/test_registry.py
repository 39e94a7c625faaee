"""The objects of a registry: snapshots for their shape, and what must hold of every one of them."""

from collections.abc import Iterator
from typing import Any

import cdk8s
import pytest
from syrupy.assertion import SnapshotAssertion

from cases import CASES
from cdk8s_pypiserver import LocalVolumeSpec, PyPIServerChart, PyPIServerSpec, ServerSpec, SpecError, VolumeChart
from manifests import Manifest, by_kind, objects, pod_of, synthesize
from schemas import problems

ROOMS = ("access", "audit", "fetching", "http", "index", "pod", "publish", "volume")


@pytest.fixture(params=CASES)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return synthesize(CASES[request.param])


@pytest.mark.parametrize("case", CASES)
def test_manifests(case: str, manifests_snapshot: SnapshotAssertion) -> None:
    assert synthesize(CASES[case]) == manifests_snapshot


def test_objects_are_valid_for_every_supported_kubernetes(manifests: list[Manifest]) -> None:
    assert list(problems(manifests)) == []


def test_pod_meets_the_restricted_standard(manifests: list[Manifest]) -> None:
    pod = pod_of(manifests)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in _containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True


def _containers(pod: Manifest) -> list[Manifest]:
    return [*pod["containers"], *pod.get("initContainers", [])]


def test_no_token_and_no_service_links(manifests: list[Manifest]) -> None:
    assert pod_of(manifests)["automountServiceAccountToken"] is False
    assert by_kind(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod_of(manifests)["enableServiceLinks"] is False


def test_no_variable_is_empty(manifests: list[Manifest]) -> None:
    """The API server drops an empty value: each apply would change the Deployment anew."""
    assert all(
        variable.get("value") != "" for container in _containers(pod_of(manifests)) for variable in container["env"]
    )


def test_no_manifest_holds_a_secret(manifests: list[Manifest]) -> None:
    assert "Secret" not in {manifest["kind"] for manifest in manifests}


def test_every_mount_has_its_volume_and_every_volume_its_mount(manifests: list[Manifest]) -> None:
    pod = pod_of(manifests)
    mounted = {mount["name"] for container in _containers(pod) for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_scratch_volume_is_bounded(manifests: list[Manifest]) -> None:
    scratch = [volume["emptyDir"] for volume in pod_of(manifests)["volumes"] if "emptyDir" in volume]
    assert scratch
    assert all("sizeLimit" in volume for volume in scratch)


def test_selectors_match_the_pods_and_hold_no_version(manifests: list[Manifest]) -> None:
    for selector in _selectors(manifests):
        role = selector.get("pypiserver/role")
        kind = "StatefulSet" if role == "writer" else "Deployment"
        labels = by_kind(manifests, kind)["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        assert role == labels.get("pypiserver/role")
        assert sorted(selector.keys() - {"pypiserver/role"}) == [
            "app.kubernetes.io/component",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/name",
        ]


def _selectors(manifests: list[Manifest]) -> Iterator[dict[str, str]]:
    yield by_kind(manifests, "Deployment")["spec"]["selector"]["matchLabels"]
    for manifest in manifests:
        if manifest["kind"] == "Service":
            yield manifest["spec"]["selector"]
    for manifest in manifests:
        if manifest["kind"] == "PodDisruptionBudget":
            yield manifest["spec"]["selector"]["matchLabels"]
    for constraint in pod_of(manifests).get("topologySpreadConstraints", []):
        yield constraint["labelSelector"]["matchLabels"]


def test_names_that_other_people_rely_on() -> None:
    manifests = synthesize()
    assert set(objects(manifests)) == {
        ("ConfigMap", "pypiserver-gateway"),
        *(("ConfigMap", f"pypiserver-server-{room}") for room in ROOMS),
        ("Deployment", "pypiserver"),
        ("PersistentVolumeClaim", "pypiserver-packages"),
        ("Service", "pypiserver"),
        ("ServiceAccount", "pypiserver"),
    }
    assert by_kind(manifests, "Service")["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    volumes = {volume["name"]: volume for volume in pod_of(manifests)["volumes"]}
    assert volumes["credentials"]["secret"] == {"secretName": "pypiserver-auth", "optional": True}


def test_replicas_belong_to_the_autoscaler_where_there_is_one() -> None:
    assert "replicas" not in by_kind(synthesize(CASES["everything"]), "Deployment")["spec"]
    assert by_kind(synthesize(CASES["shared"]), "Deployment")["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("case", "strategy"),
    [
        ("defaults", "Recreate"),
        ("s3-static", "Recreate"),
        ("object-store", "Recreate"),
        ("shared", "RollingUpdate"),
        ("everything", "RollingUpdate"),
    ],
)
def test_a_volume_of_one_writer_is_never_rolled(case: str, strategy: str) -> None:
    assert by_kind(synthesize(CASES[case]), "Deployment")["spec"]["strategy"]["type"] == strategy


def test_the_server_outlives_the_gateway_by_less_than_the_grace_period() -> None:
    pod = pod_of(synthesize(PyPIServerSpec(termination_grace_seconds=60)))
    (server,) = (container for container in pod["containers"] if container["name"] == "pypiserver")
    assert "[ $i -lt 50 ]" in server["lifecycle"]["preStop"]["exec"]["command"][-1]


def test_the_spread_over_nodes_needs_no_zone_label() -> None:
    pod = pod_of(synthesize(CASES["everything"]))
    assert [constraint["topologyKey"] for constraint in pod["topologySpreadConstraints"]] == ["kubernetes.io/hostname"]
    assert pod["topologySpreadConstraints"][0]["matchLabelKeys"] == ["pod-template-hash"]
    (zone,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert zone["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone"


def test_two_registries_of_one_namespace_share_no_name() -> None:
    first, second = (synthesize(PyPIServerSpec(name=name)) for name in ("team-a", "team-b"))
    names = [{(manifest["kind"], manifest["metadata"]["name"]) for manifest in side} for side in (first, second)]
    assert not names[0] & names[1]


def test_synthesis_does_not_depend_on_what_was_synthesized_before() -> None:
    spec = PyPIServerSpec(server=ServerSpec(threads=7))
    assert synthesize(spec) == synthesize(spec)


@pytest.mark.parametrize("namespace", ["", "Bad_NS", "a.b", "a" * 64])
def test_a_namespace_that_there_cannot_be_is_refused(namespace: str) -> None:
    spec = PyPIServerSpec()
    with pytest.raises(SpecError, match=rf"PyPIServerChart cannot be made:\n  namespace \({namespace!r}\) must"):
        PyPIServerChart(cdk8s.App(), "chart", spec, namespace=namespace)
    with pytest.raises(SpecError, match=rf"VolumeChart cannot be made:\n  namespace \({namespace!r}\) must"):
        VolumeChart(cdk8s.App(), "chart", spec, namespace=namespace)


@pytest.mark.parametrize("spec", [{"name": "team-a"}, "registry.yaml", {}, LocalVolumeSpec()])
def test_what_is_no_spec_is_refused(spec: Any) -> None:  # noqa: ANN401 - whatever a user gives
    app = cdk8s.App()
    with pytest.raises(TypeError, match=r"^spec \(.*\) must be a PyPIServerSpec; .*model_validate makes one$"):
        PyPIServerChart(app, "chart", spec)
