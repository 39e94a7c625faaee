"""How Prometheus finds what it scrapes: the operator's ServiceMonitor or PodMonitor, or annotations of the pods."""

from collections.abc import Mapping
from typing import Literal

import cdk8s
from constructs import Construct

from cdk8s_pypiserver.base.custom import PROMETHEUS_OPERATOR, custom_object
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.pod.gateway import METRICS_PORT, METRICS_PORT_NAME

PARTS = ("gateway", "server")
"""What answers under /metrics/: each is a target of its own, so that it shows which one is down."""


def annotations() -> dict[str, str]:
    """Return what the usual scrape configuration for pods goes by; it knows one path, under which both answer."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def monitor(
    scope: Construct,
    *,
    kind: Literal["ServiceMonitor", "PodMonitor"],
    metadata: Identity,
    labels: Mapping[str, str],
    interval_seconds: int,
) -> cdk8s.ApiObject:
    """Make the operator's object of this kind."""
    endpoints = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"
    return custom_object(
        scope,
        "monitor",
        api_version=PROMETHEUS_OPERATOR,
        kind=kind,
        metadata=metadata.of_custom(labels=labels),
        spec={"selector": {"matchLabels": metadata.selector}, endpoints: _endpoints(metadata, interval_seconds)},
    )


def _endpoints(metadata: Identity, interval_seconds: int) -> list[dict[str, object]]:
    return [
        {
            "port": METRICS_PORT_NAME,
            "path": f"/metrics/{part}",
            "interval": f"{interval_seconds}s",
            "relabelings": [
                # The same for both kinds of monitor: alerts and dashboard tell registries apart by it.
                {"action": "replace", "targetLabel": "job", "replacement": metadata.name},
                # Without it the two targets of a pod would have the same labels.
                {"action": "replace", "targetLabel": "part", "replacement": part},
            ],
        }
        for part in PARTS
    ]
