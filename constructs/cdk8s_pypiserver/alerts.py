"""What is worth a rule: figures that the dashboard and the alerts share, and alerts that somebody can act on."""

from collections.abc import Mapping
from typing import Any

import cdk8s
from constructs import Construct

from . import objectives
from .custom import PROMETHEUS_OPERATOR, custom_object
from .metadata import Metadata

REQUESTS = "namespace_job_route:pypiserver_requests:rate5m"
LATENCY = "namespace_job_route:pypiserver_request_duration_seconds:p95_5m"
UPLOADS = "namespace_job_result:pypiserver_uploads:rate15m"
DAY_SECONDS = 24 * 60 * 60
CERTIFICATE_DAYS = 14
"""How long before its end a certificate is worth an alert: cert-manager renews when a third of its life is left."""


def rules(metadata: Metadata, certificate: str | None = None) -> list[dict[str, Any]]:
    """Return the groups of rules of a registry, whose name is the `job` of its targets.

    Args:
        metadata: Whose name it is.
        certificate: Name of cert-manager's Certificate in the registry's namespace; None for no alert about one.
    """
    job = metadata.name
    alerts = [*_alerts(job), *objectives.alerts(job), *([_certificate(job, certificate)] if certificate else [])]
    return [
        {"name": f"{job}.records", "rules": [*_records(job), *objectives.records(job)]},
        {"name": f"{job}.alerts", "rules": alerts},
    ]


def prometheus_rule(
    scope: Construct, *, metadata: Metadata, labels: Mapping[str, str], certificate: str | None
) -> cdk8s.ApiObject:
    """Make the PrometheusRule."""
    return custom_object(
        scope,
        "rules",
        api_version=PROMETHEUS_OPERATOR,
        kind="PrometheusRule",
        metadata=metadata.of_custom(labels=labels),
        spec={"groups": rules(metadata, certificate)},
    )


def _records(job: str) -> list[dict[str, Any]]:
    def rate(metric: str, window: str, labels: str) -> str:
        return f'sum by (namespace, job, {labels}) (rate({metric}{{job="{job}"}}[{window}]))'

    buckets = rate("pypiserver_request_duration_seconds_bucket", "5m", "route, le")
    return [
        {"record": REQUESTS, "expr": rate("pypiserver_requests_total", "5m", "route")},
        {"record": LATENCY, "expr": f"histogram_quantile(0.95, {buckets})"},
        {"record": UPLOADS, "expr": rate("pypiserver_uploads_total", "15m", "result")},
    ]


def _alerts(job: str) -> list[dict[str, Any]]:
    own = f'{{job="{job}"}}'
    failed, stored = (
        f'sum by (namespace, job) ({UPLOADS}{{job="{job}", result="{result}"}})' for result in ("failed", "stored")
    )
    free = f"pypiserver_volume_free_bytes{own} / pypiserver_volume_size_bytes{own}"
    return [
        objectives.alert(
            "PyPIServerAbsent",
            f"absent(pypiserver_volume_answers{own})",
            minutes=5,
            severity="critical",
            summary=f"No pod of the registry {job} answers",
            description="There is no pod, or no server in one, that answers a scrape.",
        ),
        objectives.alert(
            "PyPIServerTargetDown",
            f"up{own} == 0",
            minutes=10,
            severity="warning",
            summary="The {{ $labels.part }} of {{ $labels.pod }} cannot be scraped",
            description="It has not answered for ten minutes; see the log of its container.",
        ),
        objectives.alert(
            "PyPIServerVolumeNotAnswering",
            f"pypiserver_volume_answers{own} == 0",
            minutes=2,
            severity="critical",
            summary="The package volume of {{ $labels.pod }} does not answer",
            description="The pod is not ready meanwhile; its log and /ready say what the volume does.",
        ),
        objectives.alert(
            "PyPIServerVolumeNearlyFull",
            f"{free} < 0.1",
            minutes=15,
            severity="warning",
            summary="The package volume has {{ $value | humanizePercentage }} left",
            description="Uploads are refused once it is full; reads go on. Enlarge the volume.",
        ),
        objectives.alert(
            "PyPIServerPublishingFails",
            f"{failed} > 0 unless {stored} >= {failed}",
            minutes=5,
            severity="critical",
            summary="More uploads fail than are stored",
            description="They were allowed and well formed; the server's log says what the volume refused.",
        ),
    ]


def _certificate(job: str, name: str) -> dict[str, Any]:
    # One that was never issued ends at 0. Where cert-manager is scraped without honorLabels, `namespace` is its own and
    # `exported_namespace` that of the certificate.
    end = (
        f'label_replace(certmanager_certificate_expiration_timestamp_seconds{{name="{name}"}} > 0, '
        '"namespace", "$1", "exported_namespace", "(.+)")'
    )
    return objectives.alert(
        "PyPIServerCertificateExpires",
        f'max by (namespace) ({end}) - time() < {CERTIFICATE_DAYS * DAY_SECONDS} and on (namespace) up{{job="{job}"}}',
        minutes=60,
        severity="warning",
        summary=f"The certificate {name} ends in {{{{ $value | humanizeDuration }}}}",
        description="cert-manager should have renewed it by now: kubectl describe certificate says what is in the way.",
    )
