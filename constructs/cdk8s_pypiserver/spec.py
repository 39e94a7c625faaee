"""The spec of a registry, and what in it is right one by one and cannot work together."""

from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from .access.credentials import AuthSpec
from .access.network_policy import NetworkPolicySpec
from .base.model import Label, Spec, quantity
from .exposure.gateway_tls import GatewayTLSSpec
from .exposure.ingress import RegistryIngressSpec
from .exposure.service import RegistryServiceSpec
from .monitoring.counting import MonitoringSpec
from .monitoring.scraping import METRICS_PORT
from .pod.gateway import GatewaySpec
from .pod.server import ServerSpec
from .scaling.availability import AvailabilitySpec
from .storage.local import LocalVolumeSpec
from .storage.s3 import S3VolumeSpec
from .storage.shared import SharedVolumeSpec

AnyStorageSpec = Annotated[LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec, Field(discriminator="kind")]
"""A storage mode, told apart by `kind`."""


class PyPIServerSpec(Spec):
    """A registry, a field for each concern."""

    name: Label = "pypiserver"
    """Name of the objects; those of the second kind are called `<name>-<suffix>`."""
    storage: AnyStorageSpec = LocalVolumeSpec()
    """Where the packages are kept."""
    server: ServerSpec = ServerSpec()
    """The container that stores packages and makes the index."""
    gateway: GatewaySpec = GatewaySpec()
    """The container that clients talk to."""
    auth: AuthSpec = AuthSpec()
    """Who may read and publish."""
    service: RegistryServiceSpec = RegistryServiceSpec()
    """The Service."""
    ingress: RegistryIngressSpec | None = None
    """The Ingress; None for a registry that is reached within the cluster or by port-forward."""
    gateway_tls: GatewayTLSSpec | None = None
    """HTTPS at the pod itself, for a registry without an Ingress; None leaves it to whatever stands in front."""
    network_policy: NetworkPolicySpec | None = None
    """Who may reach the pods, and that they reach nobody; None for no policy."""
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
    _second_pod(spec)
    _scratch_below_the_uploads(spec)
    _password_where_others_read(spec)
    _mount_without_owner(spec)
    _port_taken_twice(spec)
    _tls_ends_twice(spec)


def _second_pod(spec: PyPIServerSpec) -> None:
    kind, reason = type(spec.storage).__name__, spec.storage.several_pods_refused
    if reason and spec.replicas > 1:
        raise ValueError(f"replicas ({spec.replicas}) must be 0 or 1 on {kind}: {reason}; use SharedVolumeSpec")
    if reason and spec.availability:
        raise ValueError(
            f"availability (min_replicas={spec.availability.min_replicas}) cannot be had on {kind}: {reason}; "
            "use SharedVolumeSpec"
        )


def _scratch_below_the_uploads(spec: PyPIServerSpec) -> None:
    upload, uploads, size = (
        quantity(spec.gateway.max_upload),
        spec.gateway.concurrent_uploads,
        spec.server.temporary_size,
    )
    if spec.storage.spools_uploads and quantity(size) < uploads * upload:
        raise ValueError(
            f"server.temporary_size ({size}) must hold gateway.concurrent_uploads ({uploads}) x gateway.max_upload "
            f"({spec.gateway.max_upload}) on {type(spec.storage).__name__}: the pod is evicted when /tmp outgrows it"
        )
    if quantity(spec.storage.size) < upload:
        raise ValueError(
            f"gateway.max_upload ({spec.gateway.max_upload}) must not be above storage.size ({spec.storage.size}): "
            "such an upload could never be stored"
        )


def _password_where_others_read(spec: PyPIServerSpec) -> None:
    if spec.auth.initial_password and not spec.storage.private_to_the_pod:
        raise ValueError(
            f"auth.initial_password (True) needs LocalVolumeSpec (got {type(spec.storage).__name__}): "
            "the password is kept on the package volume, which others than this one pod can read there"
        )


def _mount_without_owner(spec: PyPIServerSpec) -> None:
    if spec.storage.owned_by_mount and spec.user_id is None:
        raise ValueError(
            f"user_id (None) must be a number on {type(spec.storage).__name__}: the mount names the owner of its files"
        )


def _port_taken_twice(spec: PyPIServerSpec) -> None:
    ports = {"service.port": spec.service.port}
    if spec.gateway_tls:
        ports["gateway_tls.port"] = spec.gateway_tls.port
    if spec.monitoring:
        ports["the port that is scraped"] = METRICS_PORT
    fields = list(ports)
    for number, field in enumerate(fields):
        for other in fields[:number]:
            if ports[field] == ports[other]:
                raise ValueError(f"{other} ({ports[other]}) must be another one: {field} has it")


def _tls_ends_twice(spec: PyPIServerSpec) -> None:
    if spec.gateway_tls and spec.ingress:
        raise ValueError(
            f"gateway_tls cannot be had with ingress (host={spec.ingress.host}): a controller asks the gateway in the "
            "clear, which then answers nobody; end TLS at the Ingress (ingress.tls), or leave the Ingress out"
        )
