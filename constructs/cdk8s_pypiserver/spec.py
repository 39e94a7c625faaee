"""The spec of a registry, and what in it is right one by one and cannot work together."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from .access.credentials import AuthSpec
from .access.network_policy import NetworkPolicySpec
from .base.fields import Form, UserId, quantity
from .base.model import Spec
from .base.problems import Problem
from .exposure.gateway_tls import GatewayTLSSpec
from .exposure.ingress import RegistryIngressSpec
from .exposure.service import RegistryServiceSpec
from .monitoring.counting import MonitoringSpec
from .pod.gateway import GatewaySpec
from .pod.options import PodOptionsSpec
from .pod.rollout import RolloutSpec
from .pod.server import ServerSpec
from .pod.service_account import ServiceAccountSpec
from .scaling.availability import MOST_PODS, AvailabilitySpec
from .storage.local import LocalVolumeSpec
from .storage.s3 import S3VolumeSpec
from .storage.shared import SharedVolumeSpec

AnyStorageSpec = Annotated[LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec, Field(discriminator="kind")]
"""A storage mode, told apart by `kind`."""

LONGEST_SUFFIX = "-server-publish-0123456789"
"""What is put behind the name of a registry, at most: a ConfigMap's, with the hash of its files."""

MEMORY_AT_REST = 96 << 20
"""Bytes that the server takes with 100,000 files and no upload (docs/performance.md: 73 MiB), and some to spare."""
MEMORY_OF_AN_UPLOAD = 3 << 20
"""Bytes that an upload takes in the server while it is received, whatever its size."""


def _no_service_name(value: str) -> str | None:
    if not value[0].isascii() or not value[0].isalpha():
        return "must begin with a letter, as the name of a Service has to"
    return None


RegistryName = Annotated[
    str,
    Form(
        r"[a-z](?:[-a-z0-9]*[a-z0-9])?",
        "must be a name of lower-case letters, digits and -, with a letter first and a letter or digit last",
        63 - len(LONGEST_SUFFIX),  # so that every name that is made of it can be a label
        _no_service_name,
    ),
]
"""Name of a registry: an RFC 1035 label that leaves room for suffixes."""


class PyPIServerSpec(Spec):
    """A registry, a field for each concern."""

    name: RegistryName = "pypiserver"
    """Name of the objects; those of the second kind are called `<name>-<suffix>`."""
    storage: AnyStorageSpec = LocalVolumeSpec()
    """Where the packages are kept."""
    server: ServerSpec = ServerSpec()
    """The container that stores packages and makes the index."""
    gateway: GatewaySpec = GatewaySpec()
    """The container that clients talk to."""
    pod: PodOptionsSpec = PodOptionsSpec()
    """Where the pods run, and what of the users' own runs in them."""
    rollout: RolloutSpec = RolloutSpec()
    """How a new version replaces the old one."""
    service_account: ServiceAccountSpec = ServiceAccountSpec()
    """Who the pods are to the cluster and the cloud."""
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
    replicas: Annotated[int, Field(ge=0, le=MOST_PODS)] | None = None
    """Pods, where there is no `availability`; one by default."""
    availability: AvailabilitySpec | None = None
    """Autoscaler, disruption budget and spread; needs a SharedVolumeSpec."""
    monitoring: MonitoringSpec | None = None
    """Counters, scraping, alerts and a dashboard; None for none of them."""
    user_id: UserId | None = 9898
    """uid, gid and fsGroup of the pod; 9898 is pypiserver's own. None leaves the choice to the platform (OpenShift)."""
    termination_grace_seconds: Annotated[int, Field(ge=30, le=86400)] = 330
    """Seconds a stopping pod has for the uploads and downloads that it has begun."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what is right in each concern and cannot work in one registry."""
        yield from super().conflicts()
        yield from _pods(self)
        yield from _uploads(self)
        yield from _volume(self)
        yield from _ports(self)
        if self.gateway_tls and self.ingress:
            yield self.problem(
                "gateway_tls",
                f"cannot be had with ingress (host {self.ingress.host}): a controller asks the gateway in the clear, "
                "which then answers nobody; end TLS at the Ingress (ingress.tls), or leave the Ingress out",
            )


def _pods(spec: PyPIServerSpec) -> Iterator[Problem]:
    mode, one_pod = spec.storage.kind, spec.storage.several_pods_refused
    if spec.replicas is not None and spec.availability:
        yield spec.problem("replicas", "must be left out with availability, whose autoscaler counts the pods")
    elif one_pod and (spec.replicas or 0) > 1:
        yield spec.problem("replicas", f"must be 0 or 1 on storage of kind {mode}: {one_pod}; use shared storage")
    for field in ("max_surge", "max_unavailable"):
        if one_pod and getattr(spec.rollout, field) is not None:
            reason = f"cannot be had on storage of kind {mode}, where the old pod ends first: {one_pod}"
            yield spec.problem(f"rollout.{field}", reason)
    if not spec.availability:
        return
    if one_pod:
        reason = f"cannot be had on storage of kind {mode}: {one_pod}; use shared storage"
        yield spec.problem("availability", reason)
    if not spec.availability.cpu_percent:
        return
    concerns = {"server": spec.server, "gateway": spec.gateway, "monitoring": spec.monitoring}
    for field, concern in concerns.items():
        # A limit alone is the request too.
        if concern and not (concern.resources.cpu_request or concern.resources.cpu_limit):
            yield spec.problem(
                f"{field}.resources.cpu_request",
                "must be set with availability.cpu_percent: the autoscaler measures against all containers' requests",
            )


def _uploads(spec: PyPIServerSpec) -> Iterator[Problem]:
    largest, uploads = spec.gateway.max_upload, spec.gateway.concurrent_uploads
    if spec.storage.spools_uploads and quantity(spec.server.temporary_size) < uploads * quantity(largest):
        yield spec.problem(
            "server.temporary_size",
            f"must hold gateway.concurrent_uploads ({uploads}) x gateway.max_upload ({largest}) on storage of kind "
            f"{spec.storage.kind}: the pod is evicted when /tmp outgrows it",
        )
    if quantity(spec.storage.size) < quantity(largest):
        reason = f"must not be above storage.size ({spec.storage.size}): such an upload could never be stored"
        yield spec.problem("gateway.max_upload", reason)
    limit, needed = spec.server.resources.memory_limit, MEMORY_AT_REST + uploads * MEMORY_OF_AN_UPLOAD
    if limit and quantity(limit) < needed:
        yield spec.problem(
            "server.resources.memory_limit",
            f"must be at least {needed >> 20}Mi for gateway.concurrent_uploads ({uploads}): {MEMORY_AT_REST >> 20}Mi "
            f"for the index and {MEMORY_OF_AN_UPLOAD >> 20}Mi for each",
        )


def _volume(spec: PyPIServerSpec) -> Iterator[Problem]:
    mode = spec.storage.kind
    if spec.auth.initial_password and not spec.storage.private_to_the_pod:
        yield spec.problem(
            "auth.initial_password",
            f"cannot be had on storage of kind {mode}: the password is kept on the package volume, which others than "
            "this one pod can read there",
        )
    if spec.storage.owned_by_mount and spec.user_id is None:
        reason = f"must be a number on storage of kind {mode}: the mount names the owner of its files"
        yield spec.problem("user_id", reason)


def _ports(spec: PyPIServerSpec) -> Iterator[Problem]:
    taken: dict[object, str] = {}
    for field in ("service.port", *(["gateway_tls.port"] if spec.gateway_tls else [])):
        found = spec.problem(field, "")
        if found.value in taken:
            yield spec.problem(field, f"must be another one: {taken[found.value]} has it")
        taken.setdefault(found.value, field)
