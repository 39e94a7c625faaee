"""The gateway: nginx, the only port that others reach; it asks for passwords, bounds bodies and serves files."""

from typing import Annotated

from cdk8s_plus_27 import k8s
from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import QuantityStr, Resources, Spec
from cdk8s_pypiserver.base.values import number
from cdk8s_pypiserver.exposure.certificates import certificate, secret_name
from cdk8s_pypiserver.storage.volumes import PACKAGES_DIRECTORY
from cdk8s_pypiserver.storage.volumes import SUFFIX as PACKAGES_VOLUME

from . import tls
from .hardening import (
    RUN_DIRECTORY,
    RUN_VOLUME,
    hardened,
    http_probe,
    requirements,
    scratch,
    variables,
    wait_before_stop,
)
from .tls import GatewayTLSSpec

CONTAINER = "gateway"
PORT = 8080
PORT_NAME = "http"
METRICS_PORT = 9090
METRICS_PORT_NAME = "metrics"
FILES_DIRECTORY = "/etc/pypiserver/gateway"
FILES_VOLUME = "gateway-files"
SCRATCH_VOLUME = "gateway-tmp"
VERDICTS_VOLUME = "verdicts"
PLACES = ("http-", "server-", "packages-")
"""How the names of files begin that a concern adds (see nginx.conf)."""
DRAIN_SECONDS = 5
"""How long a stopping pod goes on accepting: until every node's proxy has learnt that it is leaving."""


class GatewaySpec(Spec):
    """The container in front of the server."""

    image: str = images.GATEWAY
    """Image; another one must hold nginx 1.22 or later with the auth_request module."""
    max_upload: QuantityStr = "1Gi"
    """Largest upload; a larger one gets 413."""
    concurrent_uploads: Annotated[int, Field(ge=1, le=256)] = 20
    """Uploads that are received at once, each by a thread of the server; one more gets 503 and is asked to come
    again."""
    temporary_size: QuantityStr = "4Gi"
    """Scratch space in /tmp: answers of the server that clients are slow to read. Uploads go through without standing
    there. A bound, not a reservation."""
    tls: GatewayTLSSpec | None = None
    """HTTPS at the pod itself, for a registry without an Ingress; None leaves it to whatever stands in front."""
    resources: Resources = Resources(cpu_request="50m", memory_request="32Mi")
    """Requests and limits."""


class Gateway(ConfigFiles):
    """The gateway: the ConfigMap of nginx.conf and of the files that it includes, one a concern, and its container.

    Attributes:
        ports: The ports of the container by name.
        certificate: cert-manager's Certificate or None.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id_: str,
        *,
        spec: GatewaySpec,
        anonymous_reads: bool,
        slow_volume: bool,
        metrics: bool,
        metadata: Identity,
    ) -> None:
        """Make the objects; the switches are those of `configuration`."""
        files = configuration(spec, anonymous_reads=anonymous_reads, slow_volume=slow_volume, metrics=metrics)
        super().__init__(scope, id_, metadata=metadata, suffix="gateway", files=files)
        self.spec = spec
        self.ports = {
            PORT_NAME: PORT,
            **({tls.PORT_NAME: tls.PORT} if spec.tls else {}),
            **({METRICS_PORT_NAME: METRICS_PORT} if metrics else {}),
        }
        self.certificate = _certificate(self, spec.tls, metadata) if spec.tls else None
        self._certificate_volumes = [tls.certificate_volume(spec.tls, metadata)] if spec.tls else []

    def container(self) -> k8s.Container:
        """Return the container."""
        return k8s.Container(
            name=CONTAINER,
            image=self.spec.image,
            command=["/bin/sh", f"{FILES_DIRECTORY}/start.sh"],
            env=variables(environment(self.spec)),
            ports=[k8s.ContainerPort(name=name, container_port=port) for name, port in self.ports.items()],
            security_context=hardened(),
            resources=requirements(self.spec.resources),
            # A volume that hangs takes nginx with it, and no restart would help: so only the port is asked.
            liveness_probe=k8s.Probe(tcp_socket=k8s.TcpSocketAction(port=number(PORT)), period_seconds=10),
            readiness_probe=http_probe("/ready", PORT, period=3, timeout=5, failures=2),
            # The image's stop signal is SIGQUIT, on which nginx finishes what it has begun.
            lifecycle=wait_before_stop(f"sleep {DRAIN_SECONDS}"),
            volume_mounts=[
                k8s.VolumeMount(name=PACKAGES_VOLUME, mount_path=PACKAGES_DIRECTORY, read_only=True),
                k8s.VolumeMount(name=RUN_VOLUME, mount_path=RUN_DIRECTORY),
                k8s.VolumeMount(name=SCRATCH_VOLUME, mount_path="/tmp"),  # noqa: S108
                k8s.VolumeMount(name=VERDICTS_VOLUME, mount_path="/var/cache/auth"),
                k8s.VolumeMount(name=FILES_VOLUME, mount_path=FILES_DIRECTORY, read_only=True),
                *([tls.certificate_mount()] if self.spec.tls else []),
            ],
        )

    def volumes(self) -> list[k8s.Volume]:
        """Return the volumes that only this container mounts."""
        return [
            self.volume(FILES_VOLUME),
            scratch(SCRATCH_VOLUME, self.spec.temporary_size),
            # In memory, since a cached verdict stands beside the credentials it is about.
            scratch(VERDICTS_VOLUME, "16Mi", in_memory=True),
            *self._certificate_volumes,
        ]


def _certificate(scope: Construct, spec: GatewayTLSSpec, metadata: Identity) -> Construct | None:
    asked, secret = spec.certificate, secret_name(spec.secret, metadata)
    return certificate(scope, asked, hosts=asked.hosts, secret=secret, metadata=metadata) if asked else None


def configuration(
    spec: GatewaySpec, *, anonymous_reads: bool, slow_volume: bool, metrics: bool = False
) -> dict[str, str]:
    """Return start.sh, nginx.conf and the files that it includes, by name.

    Args:
        spec: Whether there is HTTPS.
        anonymous_reads: Whether listing and downloading need no password.
        slow_volume: Whether reading a package can take as long as fetching it over the network.
        metrics: Whether requests are counted, and a port of its own is there to be scraped.
    """
    shipped = runtime_files("gateway")
    files = {
        name: text
        for name, text in shipped.items()
        if not name.startswith(PLACES) and name not in ("reads-anonymous.conf", "reads-credentials.conf")
    }
    # One name for either, so that a patch of one takes the place of the other.
    files["reads-credentials.conf"] = shipped["reads-anonymous.conf" if anonymous_reads else "reads-credentials.conf"]
    if slow_volume:
        files["packages-slow-volume.conf"] = shipped["packages-slow-volume.conf"]
    if metrics:
        files["http-metrics.conf"] = shipped["http-metrics.conf"]
    if spec.tls:
        files[tls.FILE] = shipped[tls.FILE]
    return files


def environment(spec: GatewaySpec) -> dict[str, str]:
    """Return what start.sh reads, by variable."""
    return {"CONCURRENT_UPLOADS": str(spec.concurrent_uploads), "MAX_UPLOAD": spec.max_upload}
