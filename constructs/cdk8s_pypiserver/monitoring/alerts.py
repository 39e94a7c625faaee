"""What is worth a rule: figures that the dashboard and the alerts share, and alerts that somebody can act on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from constructs import Construct

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject

from . import objectives
from .scraping import PROMETHEUS_OPERATOR

REQUESTS = "namespace_job_route:pypiserver_requests:rate5m"
LATENCY = "namespace_job_route:pypiserver_request_duration_seconds:p95_5m"
UPLOADS = "namespace_job_result:pypiserver_uploads:rate15m"
HOUR_SECONDS = 60 * 60
DAY_SECONDS = 24 * HOUR_SECONDS
CERTIFICATE_DAYS = 14
"""How long before its end a certificate is worth an alert: cert-manager renews when a third of its life is left."""
_UNITS = {"h": HOUR_SECONDS, "d": DAY_SECONDS}

Age = Annotated[str, Form(r"[1-9][0-9]{0,3}[hd]", "must be whole hours or days such as 26h or 8d", 5)]
"""How old something may be."""

CronJobName = Annotated[
    str,
    Form(
        r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?",
        "must be a name of lower-case letters, digits, - and ., with a letter or digit at both ends",
        52,  # Kubernetes adds eleven characters for the name of a Job
    ),
]
"""Name of a CronJob."""


def _age_seconds(age: str) -> int:
    return int(age[:-1]) * _UNITS[age[-1]]


class BackupAlertSpec(Spec):
    """A backup whose age is watched by alerts, through kube-state-metrics; the project itself makes none."""

    cron_job: CronJobName
    """CronJob, in the registry's namespace, whose success is a backup."""
    max_age: Age = "26h"
    """How long ago the last success may be, in hours or days: by default what a daily backup needs, with two hours for
    one that takes longer."""


def rules(
    job: str,
    certificates: Sequence[str] = (),
    backup: BackupAlertSpec | None = None,
    further: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return the groups of rules of a registry, whose name is the `job` of its targets.

    Args:
        job: Whose name it is.
        certificates: Names of cert-manager's Certificates in the registry's namespace.
        backup: The backup to watch; None for no alert about one.
        further: Alerting rules of other concerns.
    """
    alerts = [
        *_alerts(job),
        *_objectives(job),
        *(_certificate(job, name) for name in certificates),
        *(_backup(job, backup) if backup else []),
        *further,
    ]
    return [
        {"name": f"{job}.records", "rules": [*_records(job), *objectives.records(job)]},
        {"name": f"{job}.alerts", "rules": alerts},
    ]


def prometheus_rule(
    scope: Construct,
    *,
    identity: Identity,
    labels: Mapping[str, str],
    groups: Callable[[], list[dict[str, Any]]],
) -> KubernetesObject:
    """Make the PrometheusRule."""
    return KubernetesObject(
        scope,
        "rules",
        api_version=PROMETHEUS_OPERATOR,
        kind="PrometheusRule",
        identity=identity,
        labels=labels,
        content=lambda: {"spec": {"groups": groups()}},
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
            "PyPIServerPublishingFails",
            f"{failed} > 0 unless {stored} >= {failed}",
            minutes=5,
            severity="critical",
            summary="More uploads fail than are stored",
            description="They were allowed and well formed; the server's log says what the volume refused.",
        ),
    ]


def _objectives(job: str) -> list[dict[str, Any]]:
    return [
        _alert(
            objective.alert,
            f'{objective.recorded(burn.short)}{{job="{job}"}} > {burn.limit} '
            f'and {objective.recorded(burn.long)}{{job="{job}"}} > {burn.limit} '
            f"and {objective.missed.format(job=job, window=burn.long)} >= {objectives.FEWEST}",
            minutes=2,
            severity=burn.severity,
            summary=objective.summary,
            description=objective.description,
        )
        for objective in objectives.OBJECTIVES
        for burn in objectives.BURNS
    ]


def _certificate(job: str, name: str) -> dict[str, Any]:
    # One that was never issued ends at 0.
    end = _of_namespaces(f'certmanager_certificate_expiration_timestamp_seconds{{name="{name}"}} > 0')
    return _alert(
        "PyPIServerCertificateExpires",
        f'{end} - time() < {CERTIFICATE_DAYS * DAY_SECONDS} and on (namespace) up{{job="{job}"}}',
        minutes=60,
        severity="warning",
        summary=f"The certificate {name} ends in {{{{ $value | humanizeDuration }}}}",
        description="cert-manager should have renewed it by now: kubectl describe certificate says what is in the way.",
    )


def _backup(job: str, spec: BackupAlertSpec) -> list[dict[str, Any]]:
    name = spec.cron_job
    succeeded, created = (
        _of_namespaces(f'{metric}{{cronjob="{name}"}}')
        for metric in ("kube_cronjob_status_last_successful_time", "kube_cronjob_created")
    )
    return [
        _alert(
            "PyPIServerBackupTooOld",
            # Of a CronJob that has never succeeded there is only when it was made.
            f'time() - ({succeeded} or {created}) > {_age_seconds(spec.max_age)} and on (namespace) up{{job="{job}"}}',
            minutes=5,
            severity="warning",
            summary=f"The CronJob {name} last made a backup {{{{ $value | humanizeDuration }}}} ago, or never did",
            description=f"It should succeed at least every {spec.max_age}: see the log of its last Job.",
        ),
        _alert(
            "PyPIServerBackupAbsent",
            f'max by (namespace) (up{{job="{job}"}}) unless on (namespace) {created}',
            minutes=15,
            severity="warning",
            summary=f"There is no CronJob {name} that makes backups",
            description="It was deleted or renamed, or Prometheus does not scrape kube-state-metrics.",
        ),
    ]


def _of_namespaces(expression: str) -> str:
    """Return the highest value of each namespace that an exporter tells about.

    Where it is scraped without honorLabels, `namespace` is its own and `exported_namespace` that of the object.
    """
    return f'max by (namespace) (label_replace({expression}, "namespace", "$1", "exported_namespace", "(.+)"))'


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
