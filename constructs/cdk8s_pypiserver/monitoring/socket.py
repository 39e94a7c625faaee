"""What concerns and users want to be watched: what `registry.monitoring` is, with or without monitoring."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

_DURATION = re.compile(r"(?:\d+(?:ms|s|m|h|d|w|y))+")


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alerting rule.

    Several registries may share a Prometheus, so an expression groups by `namespace` and `job`, which tell them apart,
    rather than name one: Kustomize may still change both.
    """

    name: str
    """Name of the alert; two alerts may share it at different severities."""
    expression: str
    """PromQL that gives something while there is a fault; `pypiserver_…` are the metrics of registries, and their
    targets are `up{app="pypiserver"}`."""
    duration: str = "5m"
    """How long the fault has to last, in Prometheus's units."""
    severity: str = "warning"
    """Value of the label `severity`, by which Alertmanager chooses whom to tell."""
    summary: str
    """One line with what is wrong; `{{ $labels.job }}` and `{{ $value }}` are filled in by Prometheus."""
    description: str
    """What it means, and where to look."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Further labels of the alert, such as `team`."""

    def __post_init__(self) -> None:
        """Refuse what Prometheus would not load, since it would take no other rule of the file either.

        Raises:
            ValueError: names the field and its value.
        """
        if not self.name or not self.expression:
            raise ValueError(f"Alert.name ({self.name!r}) and Alert.expression ({self.expression!r}) must not be empty")
        if not _DURATION.fullmatch(self.duration):
            raise ValueError(f"Alert.duration must be a time such as 90s, 5m or 2h (got {self.duration!r})")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A panel of the dashboard: curves over time, or with `colours` one figure on a coloured ground."""

    REGISTRY: ClassVar[str] = 'namespace="$namespace", job="$job"'
    """The labels of the registry that the dashboard shows, for the braces of a query."""
    title: str
    """What is above it."""
    queries: Mapping[str, str]
    """PromQL by legend, such as `max(pypiserver_packages{namespace="$namespace", job="$job"})`."""
    unit: str = "short"
    """Grafana's name of the unit, such as `reqps`, `bytes` or `s`."""
    colours: Mapping[float | None, str] = field(default_factory=dict)
    """Colour of the figure from each value on; None is where they begin."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What Prometheus scrapes."""

    part: str
    """Value of the label `part`, which tells the targets of a pod apart."""
    port: str = "metrics"
    """Name of the port of the container; the gateway's own by default."""
    path: str
    """Path that answers."""


class MonitoringSocket:
    """Alerts, panels and targets that concerns and users add; without monitoring nobody asks for them.

    Attributes:
        alerts: Alerts besides those of every registry.
        panels: Panels besides those of every registry, shown below them.
        targets: Targets; the gateway and the server are there from the start.
        certificates: Names of cert-manager's Certificates whose end is watched.
        backups: CronJobs that make backups, and how many seconds ago their last success may be.
    """

    def __init__(self) -> None:
        """Begin with the targets that every registry has."""
        self.alerts: list[Alert] = []
        self.panels: list[Panel] = []
        self.targets: list[Target] = []
        self.certificates: list[str] = []
        self.backups: dict[str, int] = {}
        self.add_target("gateway")
        self.add_target("server")

    def add_alert(self, alert: Alert) -> None:
        """Add an alert.

        Raises:
            ValueError: there is one of this name and severity, whose series would be the same.
        """
        if any((each.name, each.severity) == (alert.name, alert.severity) for each in self.alerts):
            raise ValueError(f"alert {alert.name} of severity {alert.severity} is there already; give it another name")
        self.alerts.append(alert)

    def add_panel(self, panel: Panel) -> None:
        """Add a panel to the dashboard."""
        self.panels.append(panel)

    def add_target(self, part: str, *, port: str = "metrics", path: str | None = None) -> None:
        """Add a target; where it has a port of its own, `registry.network.allow_from` has to name that too.

        Args:
            part: What tells it from the other targets of a pod.
            port: Name of the container's port; by default the gateway's, where a file of the gateway has to answer.
            path: Path that answers; `/metrics/<part>` by default.

        Raises:
            ValueError: there is a target of this part.
        """
        if any(target.part == part for target in self.targets):
            raise ValueError(f"target {part} is there already: the series of both would be the same")
        self.targets.append(Target(part=part, port=port, path=path or f"/metrics/{part}"))

    def watch_certificate(self, name: str) -> None:
        """Have the end of a Certificate of cert-manager, in the registry's namespace, watched by an alert."""
        self.certificates.append(name)

    def watch_backup(self, cron_job: str, *, max_age_seconds: int) -> None:
        """Have the last success of a CronJob, in the registry's namespace, watched by alerts."""
        self.backups[cron_job] = max_age_seconds
