"""What is worth a rule: figures that the dashboard and the alerts share, and alerts that somebody can act on.

Every rule is about all registries that a Prometheus scrapes, told apart by namespace and job, and names none of them:
Kustomize could not change a name in an expression. So each registry brings the same rules, and several of them are as
one, since the series and alerts that they make are the same.
"""

from typing import Annotated, Any

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.model import Spec

from . import expectations, objectives
from .scraping import APP
from .socket import Alert, MonitoringSocket

REQUESTS = "namespace_job_route:pypiserver_requests:rate5m"
LATENCY = "namespace_job_route:pypiserver_request_duration_seconds:p95_5m"
UPLOADS = "namespace_job_result:pypiserver_uploads:rate15m"
HOUR_SECONDS = 60 * 60
DAY_SECONDS = 24 * HOUR_SECONDS
CERTIFICATE_DAYS = 14
"""How long before its end a certificate is worth an alert: cert-manager renews when a third of its life is left."""
TOKEN_DAYS = 7
"""How long before its end a token is worth an alert: time to put another one where it is used."""
REMEMBERED = "1d"
"""How long a registry that is gone is missed: long enough to be noticed, and not for ever if it was taken down."""
_UNITS = {"h": HOUR_SECONDS, "d": DAY_SECONDS}
_UP = f'up{{app="{APP}"}}'
_WHO = "{{ $labels.namespace }}/{{ $labels.job }}"

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


def age_seconds(age: str) -> int:
    """Return an age such as `26h` or `8d` in seconds."""
    return int(age[:-1]) * _UNITS[age[-1]]


class BackupAlertSpec(Spec):
    """A backup that something else than BackupSpec makes, whose age is watched by alerts through kube-state-metrics."""

    cron_job: CronJobName
    """CronJob, in the registry's namespace, whose success is a backup."""
    max_age: Age = "26h"
    """How long ago the last success may be, in hours or days: by default what a daily backup needs, with two hours for
    one that takes longer."""


def rules(socket: MonitoringSocket) -> list[dict[str, Any]]:
    """Return the groups of rules: the same for every registry, and last what concerns and users added to this one."""
    alerts = [*_answering(), *_volume(), *_store(), *_publishing(), *_objectives(), *_certificate(), *_backup()]
    alerts += [*_upkeep(), *_directory(), *_tokens()]
    # One group, since its rules are evaluated one after another: alerts go by the records of the same moment.
    shipped = [*_records(), *objectives.records(), *map(_rule, alerts)]
    groups = [{"name": "pypiserver", "rules": shipped}]
    if socket.alerts:
        groups.append({"name": "pypiserver-further", "rules": [_rule(alert) for alert in socket.alerts]})
    return groups


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.duration,
        "labels": {**alert.labels, "severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }


def _records() -> list[dict[str, Any]]:
    def rate(metric: str, window: str, labels: str) -> str:
        return f"sum by (namespace, job, {labels}) (rate({metric}[{window}]))"

    buckets = rate("pypiserver_request_duration_seconds_bucket", "5m", "route, le")
    return [
        {"record": REQUESTS, "expr": rate("pypiserver_requests_total", "5m", "route")},
        {"record": LATENCY, "expr": f"histogram_quantile(0.95, {buckets})"},
        {"record": UPLOADS, "expr": rate("pypiserver_uploads_total", "15m", "result")},
    ]


def _answering() -> list[Alert]:
    return [
        Alert(
            name="PyPIServerAbsent",
            # `absent` is content with any registry that is there, and cannot say which one is not.
            expression=f"max by (namespace, job) (max_over_time({_UP}[{REMEMBERED}])) "
            "unless max by (namespace, job) (pypiserver_volume_answers)",
            severity="critical",
            summary=f"No pod of the registry {_WHO} answers",
            description=f"There is no pod, or no server in one, that answers a scrape; there was within {REMEMBERED}, "
            "or there is a pod.",
        ),
        Alert(
            name="PyPIServerNeverScraped",
            expression=f"absent_over_time({_UP}[{REMEMBERED}])",
            duration="15m",
            summary="Prometheus knows rules about registries and scrapes none",
            description="Its serviceMonitorSelector or podMonitorSelector asks for a label that the monitor object "
            "lacks, or a network policy keeps it from the pods.",
        ),
        Alert(
            name="PyPIServerTargetDown",
            expression=f"min by (namespace, job, pod, part) ({_UP}) == 0",
            duration="10m",
            summary=f"The {{{{ $labels.part }}}} of {{{{ $labels.pod }}}} ({_WHO}) cannot be scraped",
            description="It has not answered for ten minutes; see the log of its container.",
        ),
    ]


def _volume() -> list[Alert]:
    return [
        Alert(
            name="PyPIServerVolumeNotAnswering",
            expression="min by (namespace, job, pod) (pypiserver_volume_answers) == 0",
            duration="2m",
            severity="critical",
            summary=f"The package volume of {{{{ $labels.pod }}}} ({_WHO}) is away",
            description="It hangs or fails, or something else is in its place; the pod's log and /ready say which. The "
            "pod is not ready meanwhile; its index stays.",
        ),
        Alert(
            name="PyPIServerVolumeProblems",
            expression="max by (namespace, job) (pypiserver_volume_problems) > 0",
            duration="15m",
            summary=f"{{{{ $value }}}} entries on the package volume of {_WHO} cannot be read",
            description="The server's log names each of them; all others are served.",
        ),
        Alert(
            name="PyPIServerVolumeNearlyFull",
            expression="min by (namespace, job) (pypiserver_volume_free_bytes / pypiserver_volume_size_bytes) < 0.1",
            duration="15m",
            summary=f"The package volume of {_WHO} has {{{{ $value | humanizePercentage }}}} left",
            description="Uploads are refused once it is full; reads go on. Enlarge the volume.",
        ),
    ]


def _store() -> list[Alert]:
    return [
        Alert(
            name="PyPIServerStoreNotAnswering",
            expression="min by (namespace, job, pod) (pypiserver_store_answers) == 0",
            duration="5m",
            severity="critical",
            summary=f"The object store does not answer {{{{ $labels.pod }}}} ({_WHO})",
            description="Nothing can be published, and packages that are not kept cannot be read; index pages and what "
            "is kept are served. The server's log says what the store answers.",
        ),
        Alert(
            name="PyPIServerStoreLosesFiles",
            expression="max by (namespace, job) (pypiserver_store_lost_files) > 0",
            severity="critical",
            summary=f"{{{{ $value }}}} listed files of {_WHO} are not in the bucket any more",
            description="They are more than half, too many to be believed gone: they stay listed until they are back, "
            "or are removed through the registry. Stop whatever removes them.",
        ),
        Alert(
            name="PyPIServerStoreHasTwoWriters",
            expression="max by (namespace, job, pod) (pypiserver_store_fenced) > 0",
            duration="15m",
            summary=f"{{{{ $labels.pod }}}} ({_WHO}) may not write to the bucket any more",
            description="Another server does; the log says which. If it is to be this one, stop the other and restart "
            "the pod.",
        ),
    ]


def _publishing() -> list[Alert]:
    failed, stored = (f'sum by (namespace, job) ({UPLOADS}{{result="{result}"}})' for result in ("failed", "stored"))
    return [
        Alert(
            name="PyPIServerWriterAway",
            expression="max by (namespace, job) (pypiserver_writes) == 0",
            severity="critical",
            summary=f"Nothing can be published to {_WHO}: no pod that may write answers",
            description="Packages are read meanwhile. The pod of the StatefulSet is missing, does not start or is on a "
            "node that is lost; there it stays until the node is back, its Node object is deleted, or somebody deletes "
            "the pod by force.",
        ),
        Alert(
            name="PyPIServerPublishingFails",
            expression=f"{failed} > 0 unless {stored} >= {failed}",
            severity="critical",
            summary=f"More uploads to {_WHO} fail than are stored",
            description="They were allowed and well formed; the server's log says what the volume refused.",
        ),
    ]


def _objectives() -> list[Alert]:
    return [
        Alert(
            name=objective.alert,
            expression=f"{objective.recorded(burn.short)} > {burn.limit} "
            f"and {objective.recorded(burn.long)} > {burn.limit} "
            f"and {objective.missed.format(window=burn.long)} >= {objectives.FEWEST}",
            duration="2m",
            severity=burn.severity,
            summary=objective.summary,
            description=objective.description,
        )
        for objective in objectives.OBJECTIVES
        for burn in objectives.BURNS
    ]


def _certificate() -> list[Alert]:
    # One that was never issued ends at 0.
    end = _of_namespaces("certmanager_certificate_expiration_timestamp_seconds > 0", "name")
    # Called <registry> or <registry>-tls; a nameSuffix of Kustomize comes behind that.
    usual = (
        f'label_replace(label_replace({end}, "job", "$1", "name", "(.+?)(?:-tls)?"), "job", "$1$2", "name", '
        f'"(.+)-tls(-.+)") and on (namespace, job) {_UP}'
    )
    named = f"{end} * on (namespace, name) group_right () max by (namespace, job, name) ({expectations.CERTIFICATE})"
    return [
        Alert(
            name="PyPIServerCertificateExpires",
            expression=f"({usual} or {named}) - time() < {CERTIFICATE_DAYS * DAY_SECONDS}",
            duration="60m",
            summary=f"The certificate {{{{ $labels.name }}}} of {_WHO} ends in {{{{ $value | humanizeDuration }}}}",
            description="cert-manager should have renewed it by now: kubectl describe certificate says what is in the "
            "way.",
        )
    ]


def _backup() -> list[Alert]:
    succeeded, created = (
        _of_namespaces(metric, "cronjob")
        for metric in ("kube_cronjob_status_last_successful_time", "kube_cronjob_created")
    )
    expected = f"max by (namespace, job, cronjob) ({expectations.BACKUP})"
    return [
        Alert(
            name="PyPIServerBackupTooOld",
            # Of a CronJob that has never succeeded there is only when it was made.
            expression=f"(time() - ({succeeded} or {created})) > on (namespace, cronjob) group_right () {expected}",
            summary=f"The CronJob {{{{ $labels.cronjob }}}} last made a backup of {_WHO} "
            "{{ $value | humanizeDuration }} ago, or never did",
            description="See the log of its last Job.",
        ),
        Alert(
            name="PyPIServerBackupAbsent",
            expression=f"{expected} unless on (namespace, cronjob) {created}",
            duration="15m",
            summary=f"There is no CronJob {{{{ $labels.cronjob }}}} that makes backups of {_WHO}",
            description="It was deleted or renamed, or Prometheus does not scrape kube-state-metrics.",
        ),
    ]


def _directory() -> list[Alert]:
    return [
        Alert(
            name="PyPIServerDirectoryAway",
            expression="min by (namespace, job, pod) (pypiserver_directory_up) == 0",
            duration="2m",
            severity="critical",
            summary=f"The directory of users does not answer {{{{ $labels.pod }}}} ({_WHO})",
            description="Users who are not in the Secret get in only as long as what was known of them counts, and 503 "
            "then. The logs of the containers pypiserver and ldap say why.",
        ),
        Alert(
            name="PyPIServerDirectoryGroupMissing",
            expression="max by (namespace, job, pod) (pypiserver_directory_missing_groups) > 0",
            duration="15m",
            summary=f"Groups that {_WHO} goes by are not in the directory",
            description="Nobody is let in by them. The log of the container pypiserver names them.",
        ),
    ]


def _tokens() -> list[Alert]:
    end = "min by (namespace, job, token) (pypiserver_token_expiry_timestamp_seconds)"
    return [
        Alert(
            name="PyPIServerTokenExpires",
            expression=f"{end} - time() < {TOKEN_DAYS * DAY_SECONDS}",
            duration="60m",
            summary=f"The token {{{{ $labels.token }}}} of {_WHO} ends in {{{{ $value | humanizeDuration }}}}",
            description="From then on it is refused. Put another one where it is used and take its line out of the "
            "Secret; the line of one that nobody uses any more too.",
        ),
        Alert(
            name="PyPIServerTokenProblems",
            expression="max by (namespace, job) (pypiserver_token_problems) > 0",
            summary=f"{{{{ $value }}}} lines of the tokens of {_WHO} count for nobody",
            description="The log of the container pypiserver says which, and why.",
        ),
    ]


def _upkeep() -> list[Alert]:
    """What the registry's own backups, drills and retention tell, through the server; nothing where there are none."""

    def overdue(kind: str) -> str:
        # Every pod on a shared volume tells of the same.
        return f"time() - max by (namespace, job) (pypiserver_{kind}_due_timestamp_seconds) > 0"

    return [
        Alert(
            name="PyPIServerBackupOverdue",
            expression=overdue("backup"),
            summary=f"A backup of {_WHO} should have succeeded {{{{ $value | humanizeDuration }}}} ago",
            description="None has since, or none ever did: see the log of the last Job of the CronJob backup, and "
            "whether it is suspended.",
        ),
        Alert(
            name="PyPIServerBackupFailed",
            expression="max by (namespace, job, reason) (pypiserver_backup_failed) == 1",
            summary=f"The last backup of {_WHO} failed: {{{{ $labels.reason }}}}",
            description="`emptier` and `other-volume`: the volume has lost much, or is another; nothing was written, "
            "look at the volume before anything else. The log and the termination message of the Job say more.",
        ),
        Alert(
            name="PyPIServerRestoreDrillOverdue",
            expression=overdue("drill"),
            summary=f"A restore drill of {_WHO} should have succeeded {{{{ $value | humanizeDuration }}}} ago",
            description="Nobody knows whether the backups can be restored: see the log of the last Job of the CronJob "
            "drill.",
        ),
        Alert(
            name="PyPIServerRestoreDrillFailed",
            expression="max by (namespace, job, reason) (pypiserver_drill_failed) == 1",
            severity="critical",
            summary=f"The last restore drill of {_WHO} failed: {{{{ $labels.reason }}}}",
            description="What was restored is not what the registry has, or could not be restored: the log of the Job "
            "names the files.",
        ),
        Alert(
            name="PyPIServerRetentionOverdue",
            expression=overdue("retention"),
            summary=f"A run of the retention of {_WHO} should have succeeded {{{{ $value | humanizeDuration }}}} ago",
            description="Old versions stay: see the log of the last Job of the CronJob retention, and whether it is "
            "suspended.",
        ),
        Alert(
            name="PyPIServerRetentionFailed",
            expression="max by (namespace, job, reason) (pypiserver_retention_failed) == 1",
            summary=f"The last run of the retention of {_WHO} failed: {{{{ $labels.reason }}}}",
            description="`bounds`: it would take more than it may, as a slip in a pattern does, and took nothing. The "
            "log and the termination message of the Job say more.",
        ),
    ]


def _of_namespaces(expression: str, label: str) -> str:
    """Return the highest value of each object that an exporter tells about; `label` is its name.

    Where it is scraped without honorLabels, `namespace` is its own and `exported_namespace` that of the object.
    """
    relabelled = f'label_replace({expression}, "namespace", "$1", "exported_namespace", "(.+)")'
    return f"max by (namespace, {label}) ({relabelled})"
