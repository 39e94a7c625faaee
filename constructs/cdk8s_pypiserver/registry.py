"""A whole registry: the class that people instantiate and subclass."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cdk8s
from constructs import Construct
from typing_extensions import Self

from .access.attestations import Attestations
from .access.audit import Audit
from .access.credentials import Credentials
from .access.external_auth import ExternalAuth
from .access.ldap import LDAP
from .access.network_policy import NetworkPolicy
from .access.permissions import Permissions
from .access.trusted_publishing import TrustedPublishing
from .base.identity import READER, Identity
from .base.manifest import Manifest
from .base.objects import KnownChart, KubernetesObject
from .exposure.gateway_tls import GatewayTLS
from .exposure.ingress import Ingress
from .exposure.service import Service
from .monitoring.counting import Monitoring
from .pod.service_account import service_account
from .scaling.availability import Availability
from .scaling.readers import Readers
from .sockets import Sockets
from .spec import PyPIServerSpec
from .storage.local import LocalVolumeSpec
from .storage.object_store import ObjectStoreSpec
from .storage.s3 import S3VolumeSpec
from .storage.shared import SharedVolumeSpec
from .upkeep.backup import Backup
from .upkeep.copying import CopyJob
from .upkeep.retention import Retention
from .upstream.sidecar import Upstream

if TYPE_CHECKING:
    import cdk8s_plus_27 as kplus


class PyPIServer(Sockets):
    """A private PyPI: a Deployment of gateway and server, its volume, Service and what else the spec asks for.

    Everything stays open until synth, for a subclass as from outside: see the sockets (`pod`, `gateway`, `server`,
    `network`, `monitoring`, `refuse`, `add_label`, `add_annotation`).

    Attributes:
        spec: The spec.
        storage: What holds the packages: a volume, or an object store.
        credentials: Where users and passwords come from.
        audit: The audit trail or None.
        ldap: The container that asks a directory about other users, or None.
        external_auth: What the server knows of a service that judges credentials, or None.
        permissions: The rules of who may do what with which projects, or None.
        trusted_publishing: The jobs that exchange their identity for a token, or None.
        attestations: The container that verifies attestations, and its rules, or None.
        service_account: The ServiceAccount, whose token is never mounted; None where one is there already.
        deployment: The Deployment of the pods that clients reach.
        writer: The StatefulSet of the pod that writes, where the others only read; else None.
        service: The Service.
        ingress: The Ingress or None.
        gateway_tls: HTTPS at the pod or None.
        availability: Autoscaler and disruption budget, or None.
        readers: The same of pods that only read, with the writer and its Service, or None.
        backup: The CronJobs of backup, restore and drill, or None.
        upstream: The container that fetches public packages, and its configuration, or None.
        copying: The CronJob that copies packages from elsewhere, and its program, or None.
        retention: The CronJob that takes old versions away, and its rules, or None.
        network_policy: The NetworkPolicy or None.
        metrics: The counting container and the objects around it, or None.
    """

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec | None = None) -> None:
        """Make all objects.

        Args:
            scope: A chart, or a construct in one.
            id_: Name of this construct in its scope; it does not reach the objects.
            spec: What to make; the defaults give one pod with a 20 GiB volume of the default storage class.

        Raises:
            TypeError: the spec is something else.
        """
        spec = PyPIServerSpec() if spec is None else spec
        if not isinstance(spec, PyPIServerSpec):
            raise TypeError(f"spec ({spec!r}) must be a PyPIServerSpec; PyPIServerSpec.model_validate makes one")
        super().__init__(
            scope,
            id_,
            name=spec.name,
            gateway=spec.gateway,
            server=spec.server,
            grace_seconds=spec.termination_grace_seconds,
        )
        self.spec = spec
        self.service_account = service_account(self, spec.service_account)
        self.deployment = KubernetesObject(
            self,
            "Default",
            api_version="apps/v1",
            kind="Deployment",
            identity=self.identity,
            annotations=self.marks,
            content=lambda: {"spec": self._deployment()},
        )
        self.pod.set_default({"securityContext": {"runAsUser": spec.user_id, "runAsGroup": spec.user_id}})
        self.storage = spec.storage.mount(self, user=spec.user_id)
        # The concerns; each joins by the sockets alone.
        self.credentials = Credentials(self, spec.auth)
        self.audit = Audit(self, spec.audit) if spec.audit else None
        groups = spec.permissions.directory_groups if spec.permissions else None
        self.ldap = LDAP(self, "ldap", spec=spec.ldap, groups=groups) if spec.ldap else None
        self.external_auth = ExternalAuth(self, spec.external_auth) if spec.external_auth else None
        self.permissions = Permissions(self, "permissions", spec=spec.permissions) if spec.permissions else None
        self.trusted_publishing = (
            TrustedPublishing(self, "trusted-publishing", spec=spec.trusted_publishing)
            if spec.trusted_publishing
            else None
        )
        self.attestations = Attestations(self, "attestations", spec=spec.attestations) if spec.attestations else None
        self.service = Service(self, "service", spec=spec.service)
        self.gateway_tls = GatewayTLS(self, "gateway-tls", spec=spec.gateway_tls) if spec.gateway_tls else None
        self.ingress = Ingress(self, "ingress", spec=spec.ingress) if spec.ingress else None
        self.availability = Availability(self, "availability", spec=spec.availability) if spec.availability else None
        self.readers = (
            Readers(self, "readers", spec=spec.readers, rollout=spec.rollout, storage=spec.storage)
            if spec.readers
            else None
        )
        self.writer = self.readers.writer if self.readers else None
        self.upstream = Upstream(self, "upstream", spec=spec.upstream) if spec.upstream else None
        self.retention = (
            Retention(self, "retention", spec=spec.retention, port=spec.service.port, tls=spec.gateway_tls)
            if spec.retention
            else None
        )
        self.backup = (
            Backup(
                self,
                "backup",
                spec=spec.backup,
                storage=spec.storage,
                port=spec.service.port,
                tls=spec.gateway_tls,
            )
            if spec.backup
            else None
        )
        self.copying = CopyJob(self, "copying", spec=spec.copying, port=spec.service.port) if spec.copying else None
        self.network_policy = (
            NetworkPolicy(self, "network-policy", spec=spec.network_policy) if spec.network_policy else None
        )
        self.metrics = Monitoring(self, "monitoring", spec=spec.monitoring) if spec.monitoring else None
        # Last, so that it is the user's container that is refused if it has the name of one of these.
        spec.pod.apply(self.pod)

    @classmethod
    def from_local_volume(
        cls, scope: Construct, id_: str, volume: LocalVolumeSpec | None = None, spec: PyPIServerSpec | None = None
    ) -> Self:
        """Make a registry on a volume of one node, whatever storage `spec` names."""
        return cls(scope, id_, (spec or PyPIServerSpec()).replace(storage=volume or LocalVolumeSpec()))

    @classmethod
    def from_shared_volume(
        cls, scope: Construct, id_: str, volume: SharedVolumeSpec | None = None, spec: PyPIServerSpec | None = None
    ) -> Self:
        """Make a registry on a file system of all nodes, whatever storage `spec` names."""
        return cls(scope, id_, (spec or PyPIServerSpec()).replace(storage=volume or SharedVolumeSpec()))

    @classmethod
    def from_bucket(cls, scope: Construct, id_: str, volume: S3VolumeSpec, spec: PyPIServerSpec | None = None) -> Self:
        """Make a registry on a bucket mounted by a CSI driver, whatever storage `spec` names."""
        return cls(scope, id_, (spec or PyPIServerSpec()).replace(storage=volume))

    @classmethod
    def from_object_store(
        cls, scope: Construct, id_: str, store: ObjectStoreSpec, spec: PyPIServerSpec | None = None
    ) -> Self:
        """Make a registry on an object store that needs no driver, whatever storage `spec` names."""
        return cls(scope, id_, (spec or PyPIServerSpec()).replace(storage=store))

    @property
    def index_url(self) -> str:
        """What pip takes as --index-url and uv as --default-index: at the Ingress, else within the cluster."""
        ingress, tls = self.spec.ingress, self.spec.gateway_tls
        path = f"{self.spec.gateway.path_prefix.rstrip('/')}/simple/"
        if ingress:
            return f"{'https' if ingress.tls else 'http'}://{ingress.host}{path}"
        namespace = cdk8s.Chart.of(self).namespace
        host = f"{self.identity.name}.{namespace}.svc" if namespace else self.identity.name
        scheme, usual, port = ("https", 443, tls.port) if tls else ("http", 80, self.spec.service.port)
        return f"{scheme}://{host}{'' if port == usual else f':{port}'}{path}"

    @property
    def pods(self) -> "kplus.IPodSelector":
        """All pods, as policies of cdk8s-plus select them: `kplus.NetworkPolicy(chart, "mine", selector=…)`."""
        return self._selector("pods", self.identity.selector)

    @property
    def served_pods(self) -> "kplus.IPodSelector":
        """The pods that clients reach, all but a writer beside readers: `kplus.Service(chart, "mine", selector=…)`."""
        return self._selector("served-pods", self.identity.served)

    def _selector(self, id_: str, labels: Mapping[str, str]) -> "kplus.IPodSelector":
        # Loading cdk8s-plus takes longer than a whole synth: whoever asks for this has loaded it.
        from .pod.selector import PodSelector  # noqa: PLC0415

        found = self.node.try_find_child(id_)
        return found if isinstance(found, PodSelector) else PodSelector(self, id_, labels=labels)

    def _deployment(self) -> Manifest:
        rolling = self.readers is not None or self.spec.storage.several_pods_refused is None
        scaled = self.availability or self.readers
        return {
            "replicas": None if scaled else 1 if self.spec.replicas is None else self.spec.replicas,
            **self.spec.rollout.fields(rolling=rolling),
            "selector": {"matchLabels": self.identity.served},
            "template": self.readers.template(READER) if self.readers else self.pod.template(),
        }


class PyPIServerChart(KnownChart):
    """A chart that holds one registry.

    Attributes:
        registry: The registry.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        spec: PyPIServerSpec | None = None,
        *,
        registry_class: type[PyPIServer] = PyPIServer,
        namespace: str | None = None,
    ) -> None:
        """Make the chart; its id names its folder in dist/.

        Args:
            scope: The app.
            id_: Name of the chart.
            spec: What to make.
            registry_class: PyPIServer or a subclass.
            namespace: Namespace of all objects; None leaves it to Kustomize or to kubectl.
        """
        super().__init__(scope, id_, namespace=namespace)
        self.registry = registry_class(self, "registry", spec)


class VolumeChart(KnownChart):
    """A chart that holds the package volume of a registry alone: it outlives the registry, which names it as existing.

    Attributes:
        volume: The volume.
    """

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec, *, namespace: str | None = None) -> None:
        """Make the volume of the registry that `spec` describes; arguments as for PyPIServerChart.

        Raises:
            ValueError: its packages are on no volume.
        """
        super().__init__(scope, id_, namespace=namespace)
        self.volume = spec.storage.make(self, "storage", identity=Identity(spec.name), user=spec.user_id)
