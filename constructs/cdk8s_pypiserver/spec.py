"""The spec of a registry, and what in it is right one by one and cannot work together."""

from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from .access.credentials import AuthSpec
from .base.model import Label, Spec, quantity
from .exposure.addresses import IngressSpec, ServiceSpec
from .monitoring.counting import MonitoringSpec
from .pod.gateway import METRICS_PORT, GatewaySpec
from .pod.server import ServerSpec
from .scaling.availability import AvailabilitySpec
from .storage.volumes import LocalVolumeSpec, S3VolumeSpec, SharedVolumeSpec, StorageSpec

_ONE_WRITER = {
    LocalVolumeSpec: "the volume is one node's (ReadWriteOnce), and a second pod would wait for it for ever",
    S3VolumeSpec: "the mount knows no locks, so two pods could both accept the same file name",
}


class PyPIServerSpec(Spec):
    """A registry, a field for each concern."""

    name: Label = "pypiserver"
    """Name of the objects; those of the second kind are called `<name>-<suffix>`."""
    storage: StorageSpec = LocalVolumeSpec()
    """Where the packages are kept."""
    server: ServerSpec = ServerSpec()
    """The container that stores packages and makes the index."""
    gateway: GatewaySpec = GatewaySpec()
    """The container that clients talk to."""
    auth: AuthSpec = AuthSpec()
    """Who may read and publish."""
    service: ServiceSpec = ServiceSpec()
    """The Service."""
    ingress: IngressSpec | None = None
    """The Ingress; None for a registry that is reached within the cluster or by port-forward."""
    replicas: Annotated[int, Field(ge=0)] = 1
    """Pods, where there is no `availability`."""
    availability: AvailabilitySpec | None = None
    """Autoscaler, disruption budget and spread; needs a SharedVolumeSpec."""
    monitoring: MonitoringSpec | None = None
    """Counters, scraping, alerts and a dashboard; None for none of them."""
    user_id: Annotated[int, Field(ge=1)] | None = 9898
    """uid, gid and fsGroup of the pod; 9898 is pypiserver's own. None leaves the choice to the platform (OpenShift)."""
    termination_grace_seconds: Annotated[int, Field(ge=30)] = 330
    """Seconds a stopping pod has for the uploads and downloads that it has begun."""

    @model_validator(mode="after")
    def _works(self) -> Self:
        refuse_what_cannot_work(self)
        return self


def refuse_what_cannot_work(spec: PyPIServerSpec) -> None:
    """Raise for the first combination that cannot work.

    Raises:
        ValueError: names the fields, their values and the reason.
    """
    _second_writer(spec)
    _autoscaler_without_requests(spec)
    _scratch_below_the_uploads(spec)
    _password_where_others_read(spec)
    _mount_without_owner(spec)
    _port_taken_twice(spec)
    _tls_ends_twice(spec)


def _second_writer(spec: PyPIServerSpec) -> None:
    if isinstance(spec.storage, SharedVolumeSpec):
        return
    kind, reason = type(spec.storage).__name__, _ONE_WRITER[type(spec.storage)]
    if spec.replicas > 1:
        raise ValueError(f"replicas ({spec.replicas}) must be 0 or 1 on {kind}: {reason}; use SharedVolumeSpec")
    if spec.availability:
        raise ValueError(
            f"availability (min_replicas={spec.availability.min_replicas}) cannot be had on {kind}: {reason}; "
            "use SharedVolumeSpec"
        )


def _autoscaler_without_requests(spec: PyPIServerSpec) -> None:
    if not spec.availability:
        return
    for container, resources in (("server", spec.server.resources), ("gateway", spec.gateway.resources)):
        if resources.cpu_request is None:
            raise ValueError(
                f"{container}.resources.cpu_request (None) must be set with availability: "
                "the autoscaler measures CPU use against the request"
            )


def _scratch_below_the_uploads(spec: PyPIServerSpec) -> None:
    upload, uploads, size = (
        quantity(spec.gateway.max_upload),
        spec.gateway.concurrent_uploads,
        spec.server.temporary_size,
    )
    # A bucket gets a file when it is whole; another volume takes it as it comes.
    if isinstance(spec.storage, S3VolumeSpec) and quantity(size) < uploads * upload:
        raise ValueError(
            f"server.temporary_size ({size}) must hold gateway.concurrent_uploads ({uploads}) x "
            f"gateway.max_upload ({spec.gateway.max_upload}) on S3VolumeSpec: the pod is evicted when /tmp outgrows it"
        )
    if quantity(spec.storage.size) < upload:
        raise ValueError(
            f"gateway.max_upload ({spec.gateway.max_upload}) must not be above storage.size ({spec.storage.size}): "
            "such an upload could never be stored"
        )


def _password_where_others_read(spec: PyPIServerSpec) -> None:
    if spec.auth.initial_password and not isinstance(spec.storage, LocalVolumeSpec):
        raise ValueError(
            f"auth.initial_password (True) needs LocalVolumeSpec (got {type(spec.storage).__name__}): "
            "the password is kept on the package volume, which others than this one pod can read there"
        )


def _mount_without_owner(spec: PyPIServerSpec) -> None:
    if isinstance(spec.storage, S3VolumeSpec) and spec.user_id is None:
        raise ValueError("user_id (None) must be a number on S3VolumeSpec: the mount names the owner of its files")


def _port_taken_twice(spec: PyPIServerSpec) -> None:
    service = spec.service
    if spec.monitoring and service.port == METRICS_PORT:
        raise ValueError(f"service.port ({service.port}) must be another one with monitoring: it is scraped there")
    if not spec.gateway.tls:
        return
    if service.https_port == service.port:
        raise ValueError(f"service.https_port ({service.https_port}) must not be service.port: that one stays as it is")
    if spec.monitoring and service.https_port == METRICS_PORT:
        raise ValueError(
            f"service.https_port ({service.https_port}) must be another one with monitoring: it is scraped there"
        )


def _tls_ends_twice(spec: PyPIServerSpec) -> None:
    if spec.gateway.tls and spec.ingress:
        raise ValueError(
            f"gateway.tls cannot be had with ingress (host={spec.ingress.host}): a controller asks the gateway in the "
            "clear, which then answers nobody; end TLS at the Ingress (ingress.tls), or leave the Ingress out"
        )
