"""What is worth a rule: figures that the dashboard and the alerts share, and alerts that somebody can act on."""

from collections.abc import Mapping
from typing import Any

import cdk8s
from constructs import Construct

from .custom import PROMETHEUS_OPERATOR, custom_object
from .metadata import Metadata

REQUESTS = "namespace_job_route:pypiserver_requests:rate5m"
ERRORS = "namespace_job:pypiserver_request_errors:ratio_rate5m"
LATENCY = "namespace_job_route:pypiserver_request_duration_seconds:p95_5m"
UPLOADS = "namespace_job_result:pypiserver_uploads:rate15m"


def rules(metadata: Metadata) -> list[dict[str, Any]]:
    """Return the groups of rules of a registry, whose name is the `job` of its targets."""
    return [
        {"name": f"{metadata.name}.records", "rules": _records(metadata.name)},
        {"name": f"{metadata.name}.alerts", "rules": _alerts(metadata.name)},
    ]


def prometheus_rule(scope: Construct, *, metadata: Metadata, labels: Mapping[str, str]) -> cdk8s.ApiObject:
    """Make the PrometheusRule."""
    return custom_object(
        scope,
        "rules",
        api_version=PROMETHEUS_OPERATOR,
        kind="PrometheusRule",
        metadata=metadata.of_custom(labels=labels),
        spec={"groups": rules(metadata)},
    )


def _records(job: str) -> list[dict[str, Any]]:
    def rate(metric: str, window: str, more: str = "") -> str:
        return f'rate({metric}{{job="{job}"{more}}}[{window}])'

    requests = "pypiserver_requests_total"
    failed = rate(requests, "5m", ', status="5xx"')
    buckets = rate("pypiserver_request_duration_seconds_bucket", "5m")
    return [
        {"record": REQUESTS, "expr": f"sum by (namespace, job, route) ({rate(requests, '5m')})"},
        {
            "record": ERRORS,
            "expr": f"sum by (namespace, job) ({failed}) / sum by (namespace, job) ({rate(requests, '5m')})",
        },
        {
            "record": LATENCY,
            "expr": f"histogram_quantile(0.95, sum by (namespace, job, route, le) ({buckets}))",
        },
        {
            "record": UPLOADS,
            "expr": f"sum by (namespace, job, result) ({rate('pypiserver_uploads_total', '15m')})",
        },
    ]


def _alerts(job: str) -> list[dict[str, Any]]:
    own = f'{{job="{job}"}}'
    failed, stored = (
        f'sum by (namespace, job) ({UPLOADS}{{job="{job}", result="{result}"}})' for result in ("failed", "stored")
    )
    free = f"pypiserver_volume_free_bytes{own} / pypiserver_volume_size_bytes{own}"
    return [
        _alert(
            "PyPIServerAbsent",
            f"absent(pypiserver_volume_answers{own})",
            minutes=5,
            severity="critical",
            summary=f"No pod of the registry {job} answers",
            description="There is no pod, or no server in one, that answers a scrape.",
        ),
        _alert(
            "PyPIServerTargetDown",
            f"up{own} == 0",
            minutes=10,
            severity="warning",
            summary="The {{ $labels.part }} of {{ $labels.pod }} cannot be scraped",
            description="It has not answered for ten minutes; see the log of its container.",
        ),
        _alert(
            "PyPIServerVolumeNotAnswering",
            f"pypiserver_volume_answers{own} == 0",
            minutes=2,
            severity="critical",
            summary="The package volume of {{ $labels.pod }} does not answer",
            description="The pod is not ready meanwhile; its log and /ready say what the volume does.",
        ),
        _alert(
            "PyPIServerVolumeNearlyFull",
            f"{free} < 0.1",
            minutes=15,
            severity="warning",
            summary="The package volume has {{ $value | humanizePercentage }} left",
            description="Uploads are refused once it is full; reads go on. Enlarge the volume.",
        ),
        _alert(
            "PyPIServerErrors",
            f"{ERRORS}{own} > 0.05",
            minutes=10,
            severity="critical",
            summary="{{ $value | humanizePercentage }} of the requests fail",
            description="The gateway answers them with a status of 500 and above; its log has each of them.",
        ),
        _alert(
            "PyPIServerSlow",
            f'{LATENCY}{{job="{job}", route=~"index|project"}} > 1',
            minutes=10,
            severity="warning",
            summary="Pages of the {{ $labels.route }} take {{ $value | humanizeDuration }}",
            description="One in twenty takes as long or longer; the log's upstream_duration is the server's part.",
        ),
        _alert(
            "PyPIServerPublishingFails",
            f"{failed} > 0 unless {stored} >= {failed}",
            minutes=5,
            severity="critical",
            summary="More uploads fail than are stored",
            description="They were allowed and well formed; the server's log says what the volume refused.",
        ),
    ]


def _alert(  # noqa: PLR0913
    name: str, expression: str, *, minutes: int, severity: str, summary: str, description: str
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": f"{minutes}m",
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
