"""How Prometheus finds what it scrapes: the operator's ServiceMonitor or PodMonitor, or annotations of the pods."""

from collections.abc import Mapping

import cdk8s
from constructs import Construct

from .custom import PROMETHEUS_OPERATOR, custom_object
from .gateway import METRICS_PORT, METRICS_PORT_NAME
from .metadata import Metadata

PARTS = ("gateway", "server")
"""What answers under /metrics/: each is a target of its own, so that it shows which one is down."""


def annotations() -> dict[str, str]:
    """Return what the usual scrape configuration for pods goes by; it knows one path, under which both answer."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def service_monitor(
    scope: Construct, *, metadata: Metadata, labels: Mapping[str, str], interval_seconds: int
) -> cdk8s.ApiObject:
    """Make the ServiceMonitor."""
    endpoints = _endpoints(metadata, interval_seconds)
    selector = {"matchLabels": metadata.selector}
    return custom_object(
        scope,
        "service-monitor",
        api_version=PROMETHEUS_OPERATOR,
        kind="ServiceMonitor",
        metadata=metadata.of_custom(labels=labels),
        spec={"selector": selector, "endpoints": endpoints},
    )


def pod_monitor(
    scope: Construct, *, metadata: Metadata, labels: Mapping[str, str], interval_seconds: int
) -> cdk8s.ApiObject:
    """Make the PodMonitor."""
    endpoints = _endpoints(metadata, interval_seconds)
    selector = {"matchLabels": metadata.selector}
    return custom_object(
        scope,
        "pod-monitor",
        api_version=PROMETHEUS_OPERATOR,
        kind="PodMonitor",
        metadata=metadata.of_custom(labels=labels),
        spec={"selector": selector, "podMetricsEndpoints": endpoints},
    )


def _endpoints(metadata: Metadata, interval_seconds: int) -> list[dict[str, object]]:
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
