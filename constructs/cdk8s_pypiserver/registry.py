"""A whole registry: the class that people instantiate and subclass."""

from collections.abc import Mapping

import cdk8s
from cdk8s_plus_27 import k8s
from constructs import Construct

from .access.credentials import credentials_volume
from .access.credentials import environment as credentials_environment
from .base.identity import Identity
from .base.values import number
from .exposure.addresses import Ingress, Service, certificate_name
from .monitoring.counting import Monitoring
from .pod.gateway import CONTAINER as DEFAULT_CONTAINER
from .pod.gateway import Gateway
from .pod.hardening import RUN_VOLUME, scratch
from .pod.server import Server
from .scaling.availability import Availability, node_spread, zone_spread
from .spec import PyPIServerSpec
from .storage.volumes import (
    SUFFIX as PACKAGES,
)
from .storage.volumes import (
    LocalVolume,
    LocalVolumeSpec,
    S3Volume,
    S3VolumeSpec,
    SharedVolume,
    SharedVolumeSpec,
)


class PyPIServer(Construct):
    """A private PyPI: one Deployment of gateway and server, its volume, Service and what else the spec asks for.

    Subclass it to change what it makes: each method below may be overridden, and calls `super()` for the rest.

    Attributes:
        spec: The spec.
        metadata: Makes names, labels and annotations.
        server: The server's files and container.
        gateway: The gateway's files and container.
        monitoring: The counting container and the objects around it, or None.
        storage: The volume: a LocalVolume, SharedVolume or S3Volume.
        service_account: The ServiceAccount; no token is ever mounted.
        deployment: The Deployment.
        service: The Service.
        ingress: The Ingress or None.
        availability: Autoscaler and disruption budget, or None.
    """

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec | None = None) -> None:
        """Make all objects.

        Args:
            scope: A chart, or a construct in one.
            id_: Name of this construct in its scope; it does not reach the objects.
            spec: What to make; the defaults give one pod with a 20 GiB volume of the default storage class.
        """
        super().__init__(scope, id_)
        self.spec = spec = spec or PyPIServerSpec()
        self.metadata = metadata = Identity(name=spec.name, annotations=self.annotations(), labels=self.labels())
        self.server = Server(self, "server", spec=spec.server, metadata=metadata)
        self.gateway = Gateway(
            self,
            "gateway",
            spec=spec.gateway,
            anonymous_reads=spec.auth.anonymous_reads,
            slow_volume=isinstance(spec.storage, S3VolumeSpec),
            metrics=spec.monitoring is not None,
            metadata=metadata,
        )
        certificate = certificate_name(spec.ingress, metadata) or (metadata.name if self.gateway.certificate else None)
        self.monitoring = (
            Monitoring(self, "monitoring", spec=spec.monitoring, certificate=certificate, metadata=metadata)
            if spec.monitoring
            else None
        )
        self.storage = self._make_storage()
        self.service_account = k8s.KubeServiceAccount(
            self, "service-account", metadata=metadata.of(), automount_service_account_token=False
        )
        self.deployment = self._make_deployment()
        self.service = Service(self, "service", spec=spec.service, gateway=self.gateway, metadata=metadata)
        self.ingress = Ingress(self, "ingress", spec=spec.ingress, metadata=metadata) if spec.ingress else None
        self.availability = (
            Availability(self, "availability", spec=spec.availability, metadata=metadata) if spec.availability else None
        )

    def annotations(self) -> dict[str, str]:
        """Return annotations for every object and for the pods."""
        return {}

    def labels(self) -> dict[str, str]:
        """Return labels for every object and for the pods, besides the standard ones."""
        return {}

    def server_arguments(self) -> list[str]:
        """Return further arguments of gunicorn, which runs the server."""
        return []

    def server_environment(self) -> dict[str, str]:
        """Return the settings of the server that the concerns contribute."""
        return {**self.storage.environment, **credentials_environment(self.spec.auth, self.metadata)}

    def containers(self) -> list[k8s.Container]:
        """Return the containers of the pod."""
        return [
            self.gateway.container(),
            self.server.container(
                environment=self.server_environment(),
                arguments=self.server_arguments(),
                concurrent_uploads=self.spec.gateway.concurrent_uploads,
                grace_seconds=self.spec.termination_grace_seconds,
            ),
            *([self.monitoring.container()] if self.monitoring else []),
        ]

    def volumes(self) -> list[k8s.Volume]:
        """Return the volumes of the pod."""
        claim = k8s.PersistentVolumeClaimVolumeSource(claim_name=self.metadata.name_of(PACKAGES))
        return [
            k8s.Volume(name=PACKAGES, persistent_volume_claim=claim),
            # 100,000 index pages of 10 kB fit in.
            scratch(RUN_VOLUME, "1Gi"),
            credentials_volume(self.spec.auth, self.metadata),
            *self.gateway.volumes(),
            *self.server.volumes(),
            *(self.monitoring.volumes() if self.monitoring else []),
        ]

    def pod_annotations(self) -> Mapping[str, str]:
        """Return annotations of the pods alone."""
        return {
            "kubectl.kubernetes.io/default-container": DEFAULT_CONTAINER,
            **self.gateway.checksums,
            **self.server.checksums,
            **(self.monitoring.pod_annotations() if self.monitoring else {}),
        }

    def pod_spec(self) -> k8s.PodSpec:
        """Return the spec of the pods."""
        user = self.spec.user_id
        owns_volume = not isinstance(self.spec.storage, S3VolumeSpec)
        return k8s.PodSpec(
            service_account_name=self.metadata.name,
            automount_service_account_token=False,
            enable_service_links=False,
            security_context=k8s.PodSecurityContext(
                run_as_non_root=True,
                run_as_user=user,
                run_as_group=user,
                # A bucket's mount knows no chown: kubelet would walk the whole tree for nothing.
                fs_group=user if owns_volume else None,
                fs_group_change_policy="OnRootMismatch" if owns_volume and user else None,
                seccomp_profile=k8s.SeccompProfile(type="RuntimeDefault"),
            ),
            termination_grace_period_seconds=self.spec.termination_grace_seconds,
            topology_spread_constraints=node_spread(self.metadata) if self.spec.availability else None,
            affinity=zone_spread(self.metadata) if self.spec.availability else None,
            containers=self.containers(),
            volumes=self.volumes(),
        )

    def _make_storage(self) -> LocalVolume | SharedVolume | S3Volume:
        storage = self.spec.storage
        if isinstance(storage, LocalVolumeSpec):
            return LocalVolume(self, "storage", spec=storage, metadata=self.metadata)
        if isinstance(storage, SharedVolumeSpec):
            return SharedVolume(self, "storage", spec=storage, metadata=self.metadata)
        user = self.spec.user_id
        if user is None:  # refused by the spec
            raise AssertionError
        return S3Volume(self, "storage", spec=storage, metadata=self.metadata, user=user)

    def _make_deployment(self) -> k8s.KubeDeployment:
        rolling = isinstance(self.spec.storage, SharedVolumeSpec)
        return k8s.KubeDeployment(
            self,
            "deployment",
            metadata=self.metadata.of(),
            spec=k8s.DeploymentSpec(
                replicas=None if self.spec.availability else self.spec.replicas,
                strategy=_rolling() if rolling else k8s.DeploymentStrategy(type="Recreate"),
                selector=k8s.LabelSelector(match_labels=self.metadata.selector),
                template=k8s.PodTemplateSpec(
                    metadata=self.metadata.of_pod(self.pod_annotations()), spec=self.pod_spec()
                ),
            ),
        )


def _rolling() -> k8s.DeploymentStrategy:
    return k8s.DeploymentStrategy(
        type="RollingUpdate",
        rolling_update=k8s.RollingUpdateDeployment(max_unavailable=number(0), max_surge=number(1)),
    )


class PyPIServerChart(cdk8s.Chart):
    """A chart that holds one registry.

    Attributes:
        registry: The registry.
    """

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec | None = None) -> None:
        """Make the chart; its id names its folder in dist/."""
        super().__init__(scope, id_)
        self.registry = PyPIServer(self, "registry", spec)
