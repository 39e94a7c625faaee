"""The spec of a registry, and what in it is right one by one and cannot work together."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from .access.attestations import AttestationsSpec
from .access.audit import AuditSpec
from .access.credentials import AuthSpec
from .access.external_auth import ExternalAuthSpec
from .access.ldap import LDAPSpec
from .access.network_policy import RegistryNetworkPolicySpec
from .access.permissions import PermissionsSpec
from .access.trusted_publishing import TrustedPublishingSpec
from .base.fields import Form, UserId, quantity
from .base.model import Spec
from .base.problems import NO_VALUE, Problem
from .exposure.gateway_tls import GatewayTLSSpec
from .exposure.ingress import RegistryIngressSpec
from .exposure.service import RegistryServiceSpec
from .monitoring.counting import MonitoringSpec
from .pod.gateway import GatewaySpec
from .pod.options import PodOptionsSpec
from .pod.rollout import RolloutSpec
from .pod.server import ServerSpec
from .pod.service_account import ServiceAccountSpec
from .scaling.availability import AvailabilitySpec
from .scaling.readers import ReadersSpec
from .scaling.scaled import MOST_PODS
from .storage.local import LocalVolumeSpec
from .storage.object_store import ObjectStoreSpec
from .storage.s3 import S3VolumeSpec
from .storage.shared import SharedVolumeSpec
from .upkeep.backup import BackupSpec
from .upkeep.copying import CopySpec
from .upkeep.retention import RetentionSpec
from .upstream.sidecar import UpstreamSpec

AnyStorageSpec = Annotated[
    LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec | ObjectStoreSpec, Field(discriminator="kind")
]
"""A storage mode, told apart by `kind`."""

LONGEST_SUFFIX = "-server-upstream-0123456789"
"""What is put behind the name of a registry, at most: a ConfigMap's, with the hash of its files."""

MEMORY_AT_REST = 96 << 20
"""Bytes that the server takes with 100,000 files and no upload (docs/performance.md: 73 MiB), and some to spare."""
MEMORY_OF_AN_UPLOAD = 3 << 20
"""Bytes that an upload takes in the server while it is received, whatever its size."""


_TAKEN = {
    "default": "must be another one: every namespace has a ServiceAccount of that name, for whoever names none",
    "kubernetes": "must be another one: the Service of that name in the namespace default is the API server's",
}
"""Names that would change an object of the cluster's own when they are applied."""


def _no_service_name(value: str) -> str | None:
    if not value[0].isascii() or not value[0].isalpha():
        return "must begin with a letter, as the name of a Service has to"
    return _TAKEN.get(value)


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
    audit: AuditSpec | None = None
    """Lines about who did what, for an auditor; None for none."""
    ldap: LDAPSpec | None = None
    """Users of a directory (LDAP, Active Directory) besides; None for none."""
    external_auth: ExternalAuthSpec | None = None
    """Users of a service that judges credentials (oauth2-proxy, Authelia, …) besides; None for none."""
    permissions: PermissionsSpec | None = None
    """Which projects are whose; None if whoever may publish may publish anything."""
    trusted_publishing: TrustedPublishingSpec | None = None
    """Jobs of CI that publish without a password; None for none."""
    attestations: AttestationsSpec | None = None
    """Whose signature the files of which projects must have; None if attestations are checked for form alone."""
    service: RegistryServiceSpec = RegistryServiceSpec()
    """The Service."""
    ingress: RegistryIngressSpec | None = None
    """The Ingress; None for a registry that is reached within the cluster or by port-forward."""
    gateway_tls: GatewayTLSSpec | None = None
    """HTTPS at the pod itself, for a registry without an Ingress; None leaves it to whatever stands in front."""
    network_policy: RegistryNetworkPolicySpec | None = None
    """Who may reach the pods, and that they reach nobody; None for no policy."""
    replicas: Annotated[int, Field(ge=0, le=MOST_PODS)] | None = None
    """Pods, where there are neither `availability` nor `readers`; one by default."""
    availability: AvailabilitySpec | None = None
    """Autoscaler, disruption budget and spread; needs a SharedVolumeSpec."""
    readers: ReadersSpec | None = None
    """Pods that only read beside one that writes; needs storage where one pod alone may write, such as an S3VolumeSpec.
    None for that one pod, which reads and writes."""
    monitoring: MonitoringSpec | None = None
    """Counters, scraping, alerts and a dashboard; None for none of them."""
    backup: BackupSpec | None = None
    """Copies of the packages elsewhere, their restore and the drill that proves them; None for none."""
    upstream: UpstreamSpec | None = None
    """Public packages of other indexes under the registry's own address; None for private ones alone."""
    retention: RetentionSpec | None = None
    """Old versions that go, by rules; None for keeping everything."""
    copying: CopySpec | None = None
    """Packages that are copied from elsewhere into the registry; None for none."""
    user_id: UserId | None = 9898
    """uid, gid and fsGroup of the pod; 9898 is pypiserver's own. None leaves the choice to the platform (OpenShift)."""
    termination_grace_seconds: Annotated[int, Field(ge=30, le=86400)] = 330
    """Seconds a stopping pod has for the uploads and downloads that it has begun."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what is right in each concern and cannot work in one registry."""
        yield from super().conflicts()
        yield from _pods(self)
        yield from _readers(self)
        yield from _scaled(self)
        yield from _uploads(self)
        yield from _volume(self)
        yield from _ports(self)
        yield from _upstream(self)
        yield from _permissions(self)
        yield from _attestations(self)
        yield from _retention(self)
        yield from _backup(self)
        yield from _copying(self)
        if self.external_auth and self.ldap:
            yield self.problem("external_auth", "must be left out with ldap: a name is judged in one place")
        if self.gateway_tls and self.ingress:
            yield self.problem(
                "gateway_tls",
                f"cannot be had with ingress (host {self.ingress.host}): a controller asks the gateway in the clear, "
                "which then answers nobody; end TLS at the Ingress (ingress.tls), or leave the Ingress out",
            )


def _pods(spec: PyPIServerSpec) -> Iterator[Problem]:
    mode, one_pod = spec.storage.kind, spec.storage.several_pods_refused
    instead = "shared storage" if spec.storage.readers_refused else "readers, or shared storage"
    if spec.replicas is not None and spec.availability:
        yield spec.problem("replicas", "must be left out with availability, whose autoscaler counts the pods")
    elif one_pod and (spec.replicas or 0) > 1:
        yield spec.problem("replicas", f"must be 0 or 1 on storage of kind {mode}: {one_pod}; use {instead}")
    for field in ("max_surge", "max_unavailable"):
        if one_pod and not spec.readers and getattr(spec.rollout, field) is not None:
            reason = f"cannot be had on storage of kind {mode}, where the old pod ends first: {one_pod}"
            yield spec.problem(f"rollout.{field}", reason)
    if spec.availability and one_pod:
        reason = f"cannot be had on storage of kind {mode}: {one_pod}; use {instead}"
        yield spec.problem("availability", reason)


def _readers(spec: PyPIServerSpec) -> Iterator[Problem]:
    if spec.readers is None:
        return
    if refused := spec.storage.readers_refused:
        yield spec.problem("readers", f"cannot be had on storage of kind {spec.storage.kind}: {refused}")
    elif spec.availability:
        yield spec.problem("readers", "must be left out with availability, whose pods all publish")
    if spec.replicas is not None:
        yield spec.problem("replicas", "must be left out with readers, whose autoscaler counts them; one pod writes")
    if spec.pod.dns_policy == "Default":
        yield spec.problem("pod.dns_policy", "must be ClusterFirst with readers: they look the writer's Service up")
    caches = {
        "storage.existing_claim": spec.storage.claim_of_a_pod,
        "upstream.cache.existing_claim": spec.upstream and spec.upstream.cache.existing_claim,
    }
    for field, claim in caches.items():
        if claim:
            reason = "cannot be had with readers, which are several pods: each has a cache of its own"
            yield spec.problem(field, reason)


def _scaled(spec: PyPIServerSpec) -> Iterator[Problem]:
    scaled = {"availability": spec.availability, "readers": spec.readers}
    by_percent = [field for field, of in scaled.items() if of and of.cpu_percent]
    if not by_percent:
        return
    concerns = {
        "server": spec.server,
        "gateway": spec.gateway,
        "monitoring": spec.monitoring,
        "upstream": spec.upstream,
        "ldap": spec.ldap,
        "attestations": spec.attestations,
    }
    resources = {field: concern.resources for field, concern in concerns.items() if concern}
    resources |= {f"storage.{field}": of for field, of in spec.storage.containers.items()}
    for field, of in resources.items():
        # A limit alone is the request too.
        if not (of.cpu_request or of.cpu_limit):
            yield spec.problem(
                f"{field}.resources.cpu_request",
                f"must be set with {by_percent[0]}.cpu_percent: the autoscaler measures against all containers' "
                "requests",
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
    room = spec.storage.room_for_uploads
    if room is not None and room < uploads * quantity(largest):
        yield spec.problem(
            "storage.size",
            f"must be larger for gateway.concurrent_uploads ({uploads}) x gateway.max_upload ({largest}): uploads "
            f"stand there while they are received, and have {max(0, room) >> 20}Mi of it",
        )
    limit, needed = spec.server.resources.memory_limit, MEMORY_AT_REST + uploads * MEMORY_OF_AN_UPLOAD
    if limit and quantity(limit) < needed:
        yield spec.problem(
            "server.resources.memory_limit",
            f"must be at least {needed >> 20}Mi for gateway.concurrent_uploads ({uploads}): {MEMORY_AT_REST >> 20}Mi "
            f"for the index and {MEMORY_OF_AN_UPLOAD >> 20}Mi for each",
        )


def _volume(spec: PyPIServerSpec) -> Iterator[Problem]:
    mode = spec.storage.kind
    if spec.auth.initial_password and (refused := spec.storage.initial_password_refused):
        yield spec.problem("auth.initial_password", f"cannot be had on storage of kind {mode}: {refused}")
    if spec.audit and spec.audit.on_volume and (refused := spec.storage.audit_refused):
        yield spec.problem("audit.on_volume", f"cannot be had on storage of kind {mode}: {refused}")
    if spec.network_policy and (host := spec.storage.private_host):
        reason = f"must be given with network_policy: by default {host} is not let through, which is no public address"
        yield Problem(("storage", "remote", "peers"), NO_VALUE, reason)
    if spec.storage.owned_by_mount and spec.user_id is None:
        reason = f"must be a number on storage of kind {mode}: the mount names the owner of its files"
        yield spec.problem("user_id", reason)


def _upstream(spec: PyPIServerSpec) -> Iterator[Problem]:
    upstream = spec.upstream
    if upstream is None:
        return
    if upstream.cache.existing_claim and not spec.storage.several_pods_refused:
        yield spec.problem(
            "upstream.cache.existing_claim",
            f"cannot be had on storage of kind {spec.storage.kind}, where several pods run at once, at least while one "
            "takes over from another: each has a cache of its own",
        )
    if spec.network_policy is None or "peers" in upstream.model_fields_set:
        return
    if upstream.proxy:
        reason = f"must be given with proxy ({upstream.proxy}) and network_policy: the proxy's own address is meant"
        yield Problem(("upstream", "peers"), NO_VALUE, reason)
    elif private := next((each.host for each in upstream.places if each.is_private), None):
        reason = (
            f"must be given with network_policy: by default {private} is not let through, which is no public address"
        )
        yield Problem(("upstream", "peers"), NO_VALUE, reason)


def _permissions(spec: PyPIServerSpec) -> Iterator[Problem]:
    for number, group in enumerate(spec.permissions.groups if spec.permissions else ()):
        path, called = ("permissions", "groups", number, "directory"), group.directory
        if called and not (spec.ldap or spec.external_auth):
            yield Problem(path, called, "must be left out without ldap or external_auth: nobody knows its members")
        elif called and spec.ldap and "=" not in called:
            yield Problem(path, called, "must be a distinguished name such as cn=core,ou=groups,dc=example,dc=org")
    for number, rule in enumerate(spec.permissions.rules if spec.permissions else ()):
        if rule.read and spec.auth.anonymous_reads:
            reason = "cannot be had with auth.anonymous_reads: whoever logs in as nobody may read every project then"
            yield Problem(("permissions", "rules", number, "read"), list(rule.read), reason)
        if rule.remove and not spec.server.allow_removal:
            reason = "needs server.allow_removal (False): the server removes nothing then"
            yield Problem(("permissions", "rules", number, "remove"), list(rule.remove), reason)


def _attestations(spec: PyPIServerSpec) -> Iterator[Problem]:
    attestations = spec.attestations
    if attestations is None or spec.network_policy is None or "peers" in attestations.model_fields_set:
        return
    for host in (each.host for each in attestations.places if each.is_private):
        reason = f"must be given with network_policy: by default {host} is not let through, which is no public address"
        yield Problem(("attestations", "peers"), NO_VALUE, reason)


def _retention(spec: PyPIServerSpec) -> Iterator[Problem]:
    retention = spec.retention
    if retention is None:
        return
    if retention.action == "remove" and not retention.dry_run and not spec.server.allow_removal:
        yield spec.problem(
            "retention.action",
            "needs server.allow_removal (False): the server removes nothing then; set that, or have versions yanked",
        )
    for field in ("tls_name", "ca_config_map"):
        if getattr(retention, field) and not spec.gateway_tls:
            yield spec.problem(f"retention.{field}", "must be left out without gateway_tls: the way there has no TLS")


def _backup(spec: PyPIServerSpec) -> Iterator[Problem]:
    backup = spec.backup
    if backup is None:
        return
    if refused := spec.storage.backup_refused:
        reason = f"cannot be had on storage of kind {spec.storage.kind}: {refused}"
        yield Problem(("backup",), NO_VALUE, reason)
    if backup.claim and backup.claim == (getattr(spec.storage, "existing_claim", None) or f"{spec.name}-packages"):
        yield spec.problem("backup.claim", "must be another than the package volume's: a copy there is lost with it")
    if spec.network_policy and backup.remote and (host := backup.remote.private_host):
        reason = f"must be given with network_policy: by default {host} is not let through, which is no public address"
        yield Problem(("backup", "remote", "peers"), NO_VALUE, reason)
    if backup.remote and (found := spec.storage.place(spec.name)):
        store, folder = found
        is_same = (store.type, dict(store.options)) == (backup.remote.type, dict(backup.remote.options))
        if is_same and f"{backup.remote.path}/".startswith(f"{store.path}/{folder}/"):
            reason = f"must not be within the registry's own place ({store.path}/{folder}), which would list the copies"
            yield spec.problem("backup.remote.path", reason)
    drill = backup.drill
    if drill is None:
        return
    if drill.tls_name and (drill.url or not spec.gateway_tls):
        reason = (
            f"must be left out {'with url' if drill.url else 'without gateway_tls'}: the way there has its own name"
        )
        yield spec.problem("backup.drill.tls_name", reason)
    if drill.scratch_storage_class and spec.storage.owned_by_mount:
        reason = (
            f"cannot be had on storage of kind {spec.storage.kind}: for a volume of the drill's own the kubelet would "
            "go through all files of the mount, which knows no owners"
        )
        yield spec.problem("backup.drill.scratch_storage_class", reason)


def _copying(spec: PyPIServerSpec) -> Iterator[Problem]:
    copying = spec.copying
    if copying is None:
        return
    if spec.gateway_tls and not copying.target:
        reason = (
            "must be given with gateway_tls, which answers to the names of its certificate alone; with ca_config_map "
            "where Python does not know who issued it"
        )
        yield Problem(("copying", "target"), NO_VALUE, reason)
    if spec.network_policy and copying.bucket and (host := copying.bucket.private_host):
        reason = f"must be given with network_policy: by default {host} is not let through, which is no public address"
        yield Problem(("copying", "bucket", "peers"), NO_VALUE, reason)
    if spec.network_policy and "peers" not in copying.model_fields_set:
        for host in dict.fromkeys(each.host for each in copying.places if each.is_private):
            reason = (
                f"must be given with network_policy: by default {host} is not let through, which is no public address"
            )
            yield Problem(("copying", "peers"), NO_VALUE, reason)


def _ports(spec: PyPIServerSpec) -> Iterator[Problem]:
    if spec.gateway_tls and spec.service.node_port:
        reason = "must be left out with gateway_tls, where it leads to what answers the probes alone"
        yield spec.problem("service.node_port", f"{reason}; gateway_tls.node_port is for clients")
    if spec.gateway_tls and spec.gateway_tls.node_port and spec.service.type == "ClusterIP":
        reason = "needs the type NodePort or LoadBalancer (service.type is ClusterIP)"
        yield spec.problem("gateway_tls.node_port", reason)
    taken: dict[object, str] = {}
    for field in ("service.port", *(["gateway_tls.port"] if spec.gateway_tls else [])):
        found = spec.problem(field, "")
        if found.value in taken:
            yield spec.problem(field, f"must be another one: {taken[found.value]} has it")
        taken.setdefault(found.value, field)
