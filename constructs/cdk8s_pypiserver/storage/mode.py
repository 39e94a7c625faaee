"""What every storage mode has, and what the rest of a registry asks of it."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.fields import Annotations, Bytes, Labels, Name
from cdk8s_pypiserver.base.identity import KEPT, Identity
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject, Manifest
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.pod.hardening import PACKAGES_VOLUME

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class StorageSpec(Spec):
    """What the storage modes have in common."""

    size: Bytes = "20Gi"
    """Size of the volume."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]
    """How the volume may be mounted."""
    existing_claim: Name | None = None
    """Claim that is there already, used as it is; none is made then."""
    claim_annotations: Annotations = Field(default_factory=dict)
    """Annotations of the claim besides the usual ones."""
    claim_labels: Labels = Field(default_factory=dict)
    """Labels of the claim besides the usual ones."""

    several_pods_refused: ClassVar[str | None] = None
    """Why there can be one pod only; None where there can be several."""
    spools_uploads: ClassVar[bool] = False
    """Whether each upload stands in the server's scratch space while it is received."""
    owned_by_mount: ClassVar[bool] = False
    """Whether the mount itself says who owns the files, so that fsGroup does nothing."""
    private_to_the_pod: ClassVar[bool] = False
    """Whether nobody but the registry's own pod reads the volume in normal operation."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what says how to make a claim where none is made."""
        yield from super().conflicts()
        for field in ("claim_annotations", "claim_labels", "storage_class"):
            if self.existing_claim and getattr(self, field, None):
                yield self.problem(field, f"must be left out: existing_claim ({self.existing_claim}) stays as it is")

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """Return what the server has to know about the volume."""

    @abstractmethod
    def make(self, scope: Construct, id_: str, *, identity: Identity, user: int | None) -> "Volume":
        """Make the claim, and what it needs; nothing where a claim is there already.

        Args:
            scope: The construct that it belongs to.
            id_: Name of it in its scope.
            identity: Whose volume it is.
            user: uid and gid that the files belong to; None if the platform chooses.
        """

    def claim_name(self, identity: Identity) -> str:
        """Return the name of the claim."""
        return self.existing_claim or identity.name_of(PACKAGES_VOLUME)


class Volume(Construct):
    """The package volume of a registry: what `registry.storage` is.

    Attributes:
        spec: The spec.
        claim: The PersistentVolumeClaim; None where one is there already.
    """

    def __init__(
        self, scope: Construct, id_: str, *, spec: StorageSpec, identity: Identity, claim: Mapping[str, Any]
    ) -> None:
        """Make the claim.

        Args:
            scope: The construct that it belongs to.
            id_: Name of it in its scope.
            spec: The spec.
            identity: Whose volume it is.
            claim: What the spec of the claim has besides access mode and size.
        """
        super().__init__(scope, id_)
        self.spec = spec
        content: Manifest = {
            "accessModes": [spec.access_mode],
            "resources": {"requests": {"storage": spec.size}},
            **claim,
        }
        self.claim: KubernetesObject | None = None
        if spec.existing_claim is None:
            self.claim = KubernetesObject(
                self,
                "Default",
                kind="PersistentVolumeClaim",
                identity=identity,
                suffix=PACKAGES_VOLUME,
                labels=spec.claim_labels,
                annotations={**KEPT, **spec.claim_annotations},
                content=lambda: {"spec": content},
            )


def mounted(sockets: "Sockets", spec: StorageSpec, *, user: int | None) -> Volume:
    """Make the volume of a registry and mount it in the pod.

    Args:
        sockets: The registry.
        spec: The storage mode.
        user: uid and gid of the pod; None if the platform chooses.
    """
    claim = {"claimName": spec.claim_name(sockets.identity)}
    sockets.pod.add_volume({"name": PACKAGES_VOLUME, "persistentVolumeClaim": claim})
    if user and not spec.owned_by_mount:
        # A mount that says itself who owns its files knows no chown: the kubelet would walk the whole tree for nothing.
        group = {"fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
        sockets.pod.set_default({"securityContext": group})
    for variable, value in spec.settings().items():
        sockets.server.set(variable, value)
    if spec.spools_uploads:
        sockets.gateway.add_file("packages", "slow-volume", runtime_files("gateway")["packages-slow-volume.conf"])
    return spec.make(sockets, "storage", identity=sockets.identity, user=user)
