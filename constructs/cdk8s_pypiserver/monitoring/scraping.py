"""How Prometheus finds what it scrapes: the operator's ServiceMonitor or PodMonitor, or annotations of the pods."""

from collections.abc import Mapping, Sequence
from typing import Literal

from constructs import Construct

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.objects import KubernetesObject, Manifest

PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
METRICS_PORT = 9090
METRICS_PORT_NAME = "metrics"


def annotations() -> dict[str, str]:
    """Return what the usual scrape configuration for pods goes by; it knows one path, under which both answer."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def monitor(  # noqa: PLR0913
    scope: Construct,
    *,
    kind: Literal["ServiceMonitor", "PodMonitor"],
    identity: Identity,
    labels: Mapping[str, str],
    interval_seconds: int,
    targets: Sequence[str],
) -> KubernetesObject:
    """Make the operator's object of this kind."""
    endpoints = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"

    def content() -> Manifest:
        found = _endpoints(identity, interval_seconds, targets)
        return {"spec": {"selector": {"matchLabels": identity.selector}, endpoints: found}}

    return KubernetesObject(
        scope,
        "monitor",
        api_version=PROMETHEUS_OPERATOR,
        kind=kind,
        identity=identity,
        labels=labels,
        content=content,
    )


def _endpoints(identity: Identity, interval_seconds: int, targets: Sequence[str]) -> list[dict[str, object]]:
    return [
        {
            "port": METRICS_PORT_NAME,
            "path": f"/metrics/{part}",
            "interval": f"{interval_seconds}s",
            "relabelings": [
                # The same for both kinds of monitor: alerts and dashboard tell registries apart by it.
                {"action": "replace", "targetLabel": "job", "replacement": identity.name},
                # Without it the two targets of a pod would have the same labels.
                {"action": "replace", "targetLabel": "part", "replacement": part},
            ],
        }
        for part in targets
    ]
