"""A whole registry: the class that people instantiate and subclass."""

from typing import TYPE_CHECKING

import cdk8s
from constructs import Construct
from typing_extensions import Self

from .access.credentials import Credentials
from .access.network_policy import NetworkPolicy
from .base.identity import Identity
from .base.objects import KubernetesObject, Manifest
from .exposure.gateway_tls import GatewayTLS
from .exposure.ingress import Ingress
from .exposure.service import Service
from .monitoring.counting import Monitoring
from .pod.service_account import service_account
from .scaling.availability import Availability
from .sockets import Sockets
from .spec import PyPIServerSpec
from .storage.local import LocalVolumeSpec
from .storage.mode import mounted
from .storage.s3 import S3VolumeSpec
from .storage.shared import SharedVolumeSpec

if TYPE_CHECKING:
    import cdk8s_plus_27 as kplus


class PyPIServer(Sockets):
    """A private PyPI: one Deployment of gateway and server, its volume, Service and what else the spec asks for.

    Everything stays open until synth, for a subclass as from outside: see the sockets (`pod`, `gateway`, `server`,
    `network`, `monitoring`, `refuse`, `add_label`, `add_annotation`).

    Attributes:
        spec: The spec.
        storage: The volume.
        credentials: Where users and passwords come from.
        service_account: The ServiceAccount, whose token is never mounted; None where one is there already.
        deployment: The Deployment.
        service: The Service.
        ingress: The Ingress or None.
        gateway_tls: HTTPS at the pod or None.
        availability: Autoscaler and disruption budget, or None.
        network_policy: The NetworkPolicy or None.
        metrics: The counting container and the objects around it, or None.
    """

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec | None = None) -> None:
        """Make all objects.

        Args:
            scope: A chart, or a construct in one.
            id_: Name of this construct in its scope; it does not reach the objects.
            spec: What to make; the defaults give one pod with a 20 GiB volume of the default storage class.
        """
        spec = spec or PyPIServerSpec()
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
            content=lambda: {"spec": self._deployment()},
        )
        self.pod.set_default({"securityContext": {"runAsUser": spec.user_id, "runAsGroup": spec.user_id}})
        self.storage = mounted(self, spec.storage, user=spec.user_id)
        # The concerns; each joins by the sockets alone.
        self.credentials = Credentials(self, spec.auth)
        self.service = Service(self, "service", spec=spec.service)
        self.gateway_tls = GatewayTLS(self, "gateway-tls", spec=spec.gateway_tls) if spec.gateway_tls else None
        self.ingress = Ingress(self, "ingress", spec=spec.ingress) if spec.ingress else None
        self.availability = Availability(self, "availability", spec=spec.availability) if spec.availability else None
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

    @property
    def index_url(self) -> str:
        """What pip takes as --index-url and uv as --default-index: at the Ingress, else within the cluster."""
        ingress, tls = self.spec.ingress, self.spec.gateway_tls
        if ingress:
            return f"{'https' if ingress.tls else 'http'}://{ingress.host}/simple/"
        namespace = cdk8s.Chart.of(self).namespace
        host = f"{self.identity.name}.{namespace}.svc" if namespace else self.identity.name
        scheme, usual, port = ("https", 443, tls.port) if tls else ("http", 80, self.spec.service.port)
        return f"{scheme}://{host}{'' if port == usual else f':{port}'}/simple/"

    @property
    def pods(self) -> "kplus.IPodSelector":
        """The pods, as the classes of cdk8s-plus select them: `kplus.NetworkPolicy(chart, "mine", selector=…)`."""
        # Loading cdk8s-plus takes longer than a whole synth: whoever asks for this has loaded it.
        from .pod.selector import PodSelector  # noqa: PLC0415

        found = self.node.try_find_child("pods")
        return found if isinstance(found, PodSelector) else PodSelector(self, "pods", identity=self.identity)

    def _deployment(self) -> Manifest:
        rolling = self.spec.storage.several_pods_refused is None
        return {
            "replicas": None if self.spec.availability else 1 if self.spec.replicas is None else self.spec.replicas,
            **self.spec.rollout.fields(rolling=rolling),
            "selector": {"matchLabels": self.identity.selector},
            "template": self.pod.template(),
        }


class PyPIServerChart(cdk8s.Chart):
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


class VolumeChart(cdk8s.Chart):
    """A chart that holds the package volume of a registry alone: it outlives the registry, which names it as existing.

    Attributes:
        volume: The volume.
    """

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec, *, namespace: str | None = None) -> None:
        """Make the volume of the registry that `spec` describes; arguments as for PyPIServerChart."""
        super().__init__(scope, id_, namespace=namespace)
        self.volume = spec.storage.make(self, "storage", identity=Identity(spec.name), user=spec.user_id)
