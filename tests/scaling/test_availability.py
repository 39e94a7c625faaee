"""The autoscaler and the disruption budget."""

from contextlib import nullcontext
from typing import Any

import pytest

import schemas
from cdk8s_pypiserver import (
    AvailabilitySpec,
    GatewaySpec,
    PodOptionsSpec,
    PyPIServerSpec,
    Resources,
    ServerSpec,
    SharedVolumeSpec,
)
from manifests import by_kind, synthesize


def _spec(kind: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of the spec
    registry = PyPIServerSpec(storage=SharedVolumeSpec(), availability=AvailabilitySpec(**fields))
    manifests = synthesize(registry)
    assert list(schemas.problems(manifests)) == []
    return dict(by_kind(manifests, kind)["spec"])


@pytest.mark.parametrize(
    ("fields", "targets"),
    [
        ({}, {"cpu": {"type": "AverageValue", "averageValue": "500m"}}),
        ({"cpu_use": "2"}, {"cpu": {"type": "AverageValue", "averageValue": "2"}}),
        ({"cpu_percent": 70}, {"cpu": {"type": "Utilization", "averageUtilization": 70}}),
        (
            {"memory_use": "400Mi"},
            {
                "cpu": {"type": "AverageValue", "averageValue": "500m"},
                "memory": {"type": "AverageValue", "averageValue": "400Mi"},
            },
        ),
    ],
)
def test_what_pods_are_added_for(fields: dict[str, Any], targets: dict[str, Any]) -> None:
    metrics = _spec("HorizontalPodAutoscaler", **fields)["metrics"]
    assert {metric["resource"]["name"]: metric["resource"]["target"] for metric in metrics} == targets


@pytest.mark.parametrize(
    ("fields", "budget"),
    [
        ({}, {"minAvailable": 1}),
        ({"min_replicas": 4, "min_available": "50%"}, {"minAvailable": "50%"}),
        ({"max_unavailable": "25%"}, {"maxUnavailable": "25%"}),
    ],
)
def test_what_evictions_leave_running(fields: dict[str, Any], budget: dict[str, Any]) -> None:
    spec = _spec("PodDisruptionBudget", **fields)
    assert {key: spec[key] for key in spec.keys() & {"minAvailable", "maxUnavailable"}} == budget


def test_containers_need_no_request_where_pods_are_added_for_cores() -> None:
    unasked = Resources(cpu_request=None)
    synthesize(
        PyPIServerSpec(
            storage=SharedVolumeSpec(),
            availability=AvailabilitySpec(),
            gateway=GatewaySpec(resources=unasked),
        )
    )


def test_a_use_that_limits_forbid_is_refused() -> None:
    def limited(server: str | None) -> PyPIServerSpec:
        return PyPIServerSpec(
            storage=SharedVolumeSpec(),
            availability=AvailabilitySpec(cpu_use="1"),
            gateway=GatewaySpec(resources=Resources(cpu_limit="500m")),
            server=ServerSpec(resources=Resources(cpu_limit=server, memory_limit="1Gi")),
        )

    with pytest.raises(RuntimeError, match=r"availability.cpu_use \(1\) must be below 0.9, the CPU limits of all"):
        synthesize(limited("400m"))
    synthesize(limited("501m"))
    synthesize(limited(None))


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("abc", r"container mine: resources.limits.cpu \(abc\) must be a Kubernetes quantity such as 512Mi"),
        ("1e-1", r"availability.cpu_use \(1\) must be below 0.9, the CPU limits of all"),
        ("100000u", r"availability.cpu_use \(1\) must be below 0.9, the CPU limits of all"),
        ("1e0", None),
    ],
)
def test_limits_of_ones_own_containers_count_as_kubernetes_reads_them(limit: str, message: str | None) -> None:
    half = Resources(cpu_limit="400m", memory_limit="1Gi")
    mine = {
        "name": "mine",
        "image": "a",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"cpu": limit}},
    }
    spec = PyPIServerSpec(
        storage=SharedVolumeSpec(),
        availability=AvailabilitySpec(cpu_use="1"),
        gateway=GatewaySpec(resources=half),
        server=ServerSpec(resources=half),
        pod=PodOptionsSpec(containers=[mine]),
    )
    with pytest.raises(RuntimeError, match=message) if message else nullcontext():
        synthesize(spec)
