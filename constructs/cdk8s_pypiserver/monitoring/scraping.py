"""How Prometheus finds what it scrapes: the operator's ServiceMonitor or PodMonitor, or annotations of the pods."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from cdk8s_pypiserver.base.identity import APPLICATION, Identity
from cdk8s_pypiserver.base.manifest import Manifest

from .socket import Target

PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"
METRICS_PORT = 9090
METRICS_PORT_NAME = "metrics"
APP = APPLICATION
"""Value of the label `app` of every target, by which alerts know those of registries."""
SUFFIX = "metrics"
"""The Service that is scraped is called `<registry>-metrics`."""
SCRAPED = {"pypiserver/scraped": "true"}
"""The label of that Service alone: Argo CD and Kustomize's labels rewrite the usual ones."""

_INSTANCE = "__meta_kubernetes_pod_label_app_kubernetes_io_instance"
_SERVICE = "__meta_kubernetes_service_name"
_MONITOR = "__tmp_pypiserver_monitor"


def annotations() -> dict[str, str]:
    """Return what the usual scrape configuration for pods goes by; it knows one path, under which both answer."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def service(identity: Identity, targets: Iterable[Target]) -> Manifest:
    """Return the spec of the Service that is scraped: without an address, since nobody else has anything to ask there.

    Args:
        identity: Whose pods they are.
        targets: What is scraped there.
    """
    # A headless Service leads to the ports of the pods whatever its own numbers are; they only have to differ.
    numbered = enumerate(dict.fromkeys(target.port for target in targets), METRICS_PORT)
    return {
        "clusterIP": "None",
        "selector": identity.selector,
        "ports": [{"name": name, "port": number, "targetPort": name} for number, name in numbered],
    }


def monitor(
    kind: Literal["ServiceMonitor", "PodMonitor"],
    *,
    identity: Identity,
    interval_seconds: int,
    targets: Iterable[Target],
) -> Manifest:
    """Return the spec of the operator's object of this kind.

    Its targets have the labels `namespace`, `job`, which is the registry, `pod`, `part` and `app`. Nothing but what
    Kubernetes tells gives the registry's name, so that it is right after Kustomize has given another one.
    """
    by_service = kind == "ServiceMonitor"
    found = [
        {
            "port": target.port,
            "path": target.path,
            "interval": f"{interval_seconds}s",
            "relabelings": [
                *(_job_of_service() if by_service else _job_of_pod()),
                {"action": "replace", "targetLabel": "app", "replacement": APP},
                # Without it the targets of a pod would have the same labels.
                {"action": "replace", "targetLabel": "part", "replacement": target.part},
            ],
        }
        for target in targets
    ]
    selected = SCRAPED if by_service else identity.selector
    return {"selector": {"matchLabels": dict(selected)}, "endpoints" if by_service else "podMetricsEndpoints": found}


def _job_of_service() -> list[Mapping[str, Any]]:
    """The registry is what its Service is called, less the suffix; what another monitor is for is dropped."""
    return [
        # A nameSuffix of Kustomize comes behind ours.
        {
            "action": "replace",
            "sourceLabels": [_SERVICE],
            "regex": f"(.+)-{SUFFIX}(.*)",
            "targetLabel": "job",
            "replacement": "$1$2",
        },
        # The operator keeps the name of the monitor here; where something else reads monitors it may be missing, and
        # then all Services of the namespace are taken, each under its own name.
        {"action": "replace", "sourceLabels": ["job"], "targetLabel": _MONITOR},
        {
            "action": "replace",
            "sourceLabels": ["__tmp_prometheus_job_name"],
            "regex": "serviceMonitor/[^/]+/(.+)/[0-9]+",
            "targetLabel": _MONITOR,
            "replacement": "$1",
        },
        {"action": "keepequal", "sourceLabels": ["job"], "targetLabel": _MONITOR},
    ]


def _job_of_pod() -> list[Mapping[str, Any]]:
    return [{"action": "replace", "sourceLabels": [_INSTANCE], "targetLabel": "job"}]
