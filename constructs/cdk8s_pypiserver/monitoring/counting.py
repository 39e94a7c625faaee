"""What Prometheus and Grafana get: counters of every request, how to scrape them, alerts and a dashboard."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Image, Labels, Name, Peer
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.objects import KubernetesObject, chart_of
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.pod.container import ContainerSpec
from cdk8s_pypiserver.pod.hardening import hardened, http_probe, mount, requirements

from . import alerts, dashboard, expectations, scraping
from .alerts import BackupAlertSpec
from .scraping import METRICS_PORT, METRICS_PORT_NAME

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

CONTAINER = "metrics"
FILES_DIRECTORY = "/etc/pypiserver/monitoring"
FILES_VOLUME = "monitoring-files"
# As in runtime/gateway/http-metrics.conf. Below the ports that the kernel gives to clients, from 32768 on: while nobody
# listens at such a port the gateway's own socket would one day get it, talk to itself, and keep mtail from it.
LOG_ADDRESS = "127.0.0.1:3904"
MTAIL_PORT = 3903
ENVIRONMENT = {
    # Counting never takes more than one core from the containers that serve.
    "GOMAXPROCS": "1",
    # mtail takes 128 KiB for each line: by default it looks for garbage every dozen lines, half of what a line costs.
    "GOGC": "150",
}
"""What mtail's container has in its environment."""


def arguments(*, programs: str, log_address: str, port: int) -> list[str]:
    """Return mtail's arguments: the folder of its programs, where the gateway sends lines to, and the port scraped."""
    return [
        f"-progs={programs}",
        f"-logs=udp://{log_address}",
        "-address=127.0.0.1",
        f"-port={port}",
        "-logtostderr",
        "-emit_prog_label=false",
        # mtail 3.0 takes one line off the socket each time, later ones all there are.
        "-poll_interval=20ms",
    ]


class MonitoringSpec(ContainerSpec):
    """Counters, and what makes use of them."""

    image: Image = images.METRICS
    """Image; another one must hold mtail as its entry point, 3.2.22 or later: 3.0 reads fifty lines a second at
    most, and redirects alone can bring more."""
    scrape: Literal["service-monitor", "pod-monitor", "annotations"] = "service-monitor"
    """How Prometheus finds the pods: an object of the Prometheus operator, or prometheus.io annotations."""
    interval_seconds: Annotated[int, Field(ge=5, le=300)] = 30
    """Seconds between two scrapes, where an object of the operator says so."""
    object_labels: Labels = Field(default_factory=dict)
    """Labels of the operator's objects besides the usual ones: many a Prometheus takes only those with a label of its
    own, such as `release: kube-prometheus-stack`."""
    scrapers: Annotated[Sequence[Peer], Field(min_length=1)] = (
        {
            "namespaceSelector": {
                "matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring", "prometheus"]}
                ]
            }
        },
    )
    """Peers (NetworkPolicyPeer) that a network policy lets through to the port that is scraped: Prometheus' pods."""
    rules: bool = True
    """Whether there is a PrometheusRule with alerts; the operator's, so not with annotations."""
    certificate: Name | None = None
    """A further Certificate of cert-manager whose end is watched by an alert, besides those that the spec asks for and
    those called `<name>` and `<name>-tls`."""
    backup: BackupAlertSpec | None = None
    """Backup whose age is watched by an alert; None for no such alert."""
    dashboard: bool = True
    """Whether there is a ConfigMap with a dashboard, for the sidecar of Grafana's Helm chart."""
    resources: Resources = Resources(cpu_request="10m", memory_request="25Mi", memory_limit="64Mi")
    """Requests and limits."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield rules that nobody could tell what they are about, and what needs rules."""
        yield from super().conflicts()
        if self.rules and self.scrape == "annotations":
            reason = (
                "must be False with scrape (annotations): without a monitor object nobody gives the targets the labels "
                "that the rules go by"
            )
            yield self.problem("rules", reason)
        for field, value in (("certificate", self.certificate), ("backup", self.backup and self.backup.cron_job)):
            if value and not self.rules:
                yield self.problem("rules", f"must be True with {field} ({value}): an alert about it is a rule")


class Programs(ConfigFiles):
    """The ConfigMap of the programs that count; one of them tells what is to be watched when it is written."""

    def __init__(self, sockets: "Sockets", scope: Construct, id_: str) -> None:
        """Make the ConfigMap."""
        self._sockets = sockets
        shipped = runtime_files("monitoring")
        super().__init__(scope, id_, identity=sockets.identity, suffix="monitoring", files=shipped)

    @property
    def files(self) -> dict[str, str]:
        """The programs by name, as they are now."""
        return {**self._files, **expectations.program(self._sockets.identity.name, self._sockets.monitoring)}

    @files.setter
    def files(self, files: dict[str, str]) -> None:
        self._files = files


class Monitoring(Construct):
    """The counting container, and the objects around it.

    Attributes:
        files: ConfigMap of the programs that count.
        service: The Service that is scraped, or None where no ServiceMonitor looks for it.
        monitor: The ServiceMonitor or PodMonitor, or None where annotations say it.
        rules: The PrometheusRule or None.
        dashboard: The ConfigMap of the dashboard or None.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: MonitoringSpec) -> None:
        """Make the objects, and join the pod."""
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        identity, watched = sockets.identity, sockets.monitoring
        self.files = Programs(sockets, self, "Default")
        sockets.pod.add_late_container(CONTAINER, self.container)
        sockets.pod.add_late_volume(FILES_VOLUME, lambda: self.files.volume(FILES_VOLUME))
        sockets.gateway.add_file("http", "metrics", runtime_files("gateway")["http-metrics.conf"])
        sockets.gateway.add_port(METRICS_PORT_NAME, METRICS_PORT)
        sockets.network.allow_from(spec.scrapers, ports=[METRICS_PORT_NAME])
        if spec.certificate:
            watched.watch_certificate(spec.certificate)
        if spec.backup:
            watched.watch_backup(spec.backup.cron_job, max_age_seconds=alerts.age_seconds(spec.backup.max_age))
        self.service: KubernetesObject | None = None
        self.monitor: KubernetesObject | None = None
        self.rules: KubernetesObject | None = None
        self.dashboard: KubernetesObject | None = None
        if spec.scrape == "annotations":
            for key, value in scraping.annotations().items():
                sockets.pod.add_annotation(key, value)
        elif spec.scrape == "pod-monitor":
            self.monitor = self._operated("monitor", "PodMonitor", lambda: self._monitor("PodMonitor"))
        else:
            self.service = KubernetesObject(
                self,
                "service",
                kind="Service",
                identity=identity,
                suffix=scraping.SUFFIX,
                labels=scraping.SCRAPED,
                content=lambda: {"spec": scraping.service(identity, watched.targets)},
            )
            self.monitor = self._operated("monitor", "ServiceMonitor", lambda: self._monitor("ServiceMonitor"))
        if spec.rules:
            self.rules = self._operated("rules", "PrometheusRule", lambda: {"groups": alerts.rules(watched)})
        if spec.dashboard:
            self.dashboard = KubernetesObject(
                self,
                "dashboard",
                kind="ConfigMap",
                identity=identity,
                suffix=dashboard.SUFFIX,
                labels=dashboard.LABEL,
                content=lambda: {"data": dashboard.files(identity.name, chart_of(self).namespace, watched.panels)},
            )

    def container(self) -> Manifest:
        """Return the container; the port that is scraped is the gateway's."""
        container = {
            "name": CONTAINER,
            "image": self.spec.image,
            "args": arguments(programs=FILES_DIRECTORY, log_address=LOG_ADDRESS, port=MTAIL_PORT),
            "env": variables(ENVIRONMENT),
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            "livenessProbe": http_probe("/metrics/gateway", METRICS_PORT, period=30, timeout=5, failures=3),
            "volumeMounts": [mount(FILES_VOLUME, FILES_DIRECTORY, read_only=True)],
        }
        return self.spec.applied(container)

    def _operated(self, id_: str, kind: str, spec: Callable[[], Manifest]) -> KubernetesObject:
        """Make an object of the Prometheus operator."""
        return KubernetesObject(
            self,
            id_,
            api_version=scraping.PROMETHEUS_OPERATOR,
            kind=kind,
            identity=self._sockets.identity,
            labels=self.spec.object_labels,
            content=lambda: {"spec": spec()},
        )

    def _monitor(self, kind: Literal["ServiceMonitor", "PodMonitor"]) -> Manifest:
        return scraping.monitor(
            kind,
            identity=self._sockets.identity,
            interval_seconds=self.spec.interval_seconds,
            targets=self._sockets.monitoring.targets,
        )
