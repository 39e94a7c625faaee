"""What every storage mode has, and what the rest of a registry asks of it."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.fields import Annotations, Bytes, Form, Labels, Name
from cdk8s_pypiserver.base.identity import INSTANCE, KEPT, Identity
from cdk8s_pypiserver.base.model import Resources, Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.pod.hardening import PACKAGES_VOLUME

if TYPE_CHECKING:
    from cdk8s_pypiserver.base.manifest import Manifest
    from cdk8s_pypiserver.base.remote import RemoteSpec
    from cdk8s_pypiserver.sockets import Sockets


VolumeIdentity = Annotated[str, Form("[0-9A-Za-z-]+", "must be letters, digits and - as in .pypiserver/volume", 64)]
"""What the file `.pypiserver/volume` of a package volume says."""


class StorageSpec(Spec):
    """What the storage modes have in common."""

    size: Bytes = "20Gi"
    """Size of the volume."""
    identity: VolumeIdentity | None = None
    """What `.pypiserver/volume` on the volume says, which the server writes at its first start. A pod that finds
    something else does not start, where it would show an empty index if the volume is not mounted."""

    several_pods_refused: ClassVar[str | None] = None
    """Why there can be one pod only; None where there can be several."""
    readers_refused: ClassVar[str | None] = None
    """Why there can be no pods that only read beside one that writes; None where there can be."""
    shared_by_pods: ClassVar[bool] = True
    """Whether the package volume of all pods is the same, so that those that only read must not write there."""
    spools_uploads: ClassVar[bool] = False
    """Whether each upload stands in the server's scratch space while it is received."""
    owned_by_mount: ClassVar[bool] = False
    """Whether the mount itself says who owns the files, so that fsGroup does nothing."""
    initial_password_refused: ClassVar[str | None] = (
        "the password is kept on the package volume, which others than this one pod can read there"  # noqa: S105
    )
    """Why no password can be made at the first start; None where one can."""
    audit_refused: ClassVar[str | None] = "nothing can be appended to an object"
    """Why the audit trail cannot be kept with the packages; None where it can."""

    @property
    def room_for_uploads(self) -> int | None:
        """How many bytes all uploads that are received at once may take; None where a full volume refuses them."""
        return None

    @property
    def backup_refused(self) -> str | None:
        """Why no pod beside the registry's can make backups; None where one can."""
        return None

    @property
    def private_host(self) -> str | None:
        """A host that the pods have to reach, and that a network policy keeps them from unless it is told."""
        return None

    @property
    def claim_of_a_pod(self) -> str | None:
        """A claim that each pod has for itself, so that there can be one pod only."""
        return None

    @property
    def containers(self) -> Mapping[str, Resources]:
        """What the containers that the mode brings ask for, by field."""
        return {}

    def place(self, name: str) -> "tuple[RemoteSpec, str] | None":
        """Return the store that has the packages of a registry of this name, and the folder there; None on a volume."""
        del name
        return None

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """Return what the server has to know about the volume."""

    @abstractmethod
    def mount(self, sockets: "Sockets", *, user: int | None) -> "Storage":
        """Make what holds the packages, and have the pod use it.

        Args:
            sockets: The registry.
            user: uid and gid of the pod; None if the platform chooses.
        """

    def make(self, scope: Construct, id_: str, *, identity: Identity, user: int | None) -> "Volume":
        """Make the claim, and what it needs; nothing where a claim is there already.

        Args:
            scope: The construct that it belongs to.
            id_: Name of it in its scope.
            identity: Whose volume it is.
            user: uid and gid that the files belong to; None if the platform chooses.

        Raises:
            ValueError: the mode has none.
        """
        del scope, id_, identity, user
        raise ValueError(f"storage of kind {getattr(self, 'kind', '')} has no volume that outlives the pods")

    def prepare(self, sockets: "Sockets", *, user: int | None) -> None:
        """Tell pod and server of the volume, whatever it is.

        Args:
            sockets: The registry.
            user: uid and gid of the pod; None if the platform chooses.
        """
        if user and not self.owned_by_mount:
            # A mount that says itself who owns its files knows no chown: the kubelet would walk the whole tree for
            # nothing.
            group = {"fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}
            sockets.pod.set_default({"securityContext": group})
        for variable, value in self.settings().items():
            sockets.server.set(variable, value)
        if self.identity:
            sockets.server.set("VOLUME_IDENTITY", self.identity)


class VolumeSpec(StorageSpec):
    """What the modes have in common whose packages are on a volume."""

    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]
    """How the volume may be mounted."""
    existing_claim: Name | None = None
    """Claim that is there already, used as it is; none is made then."""
    claim_annotations: Annotations = Field(default_factory=dict)
    """Annotations of the claim besides the usual ones."""
    claim_labels: Labels = Field(default_factory=dict)
    """Labels of the claim besides the usual ones."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what says how to make a claim where none is made."""
        yield from super().conflicts()
        for field in ("claim_annotations", "claim_labels", "storage_class"):
            if self.existing_claim and getattr(self, field, None):
                yield self.problem(field, f"must be left out: existing_claim ({self.existing_claim}) stays as it is")

    def claim_name(self, identity: Identity) -> str:
        """Return the name of the claim."""
        return self.existing_claim or identity.name_of(PACKAGES_VOLUME)

    def mount(self, sockets: "Sockets", *, user: int | None) -> "Volume":
        """See StorageSpec."""
        claim = {"claimName": self.claim_name(sockets.identity)}
        if self.several_pods_refused:
            sockets.claims.add(claim["claimName"])
        sockets.pod.put_volume({"name": PACKAGES_VOLUME, "persistentVolumeClaim": claim})
        self.prepare(sockets, user=user)
        if self.spools_uploads:
            sockets.gateway.set("UPLOAD_ROOM", sockets.server.spec.temporary_size)
            sockets.gateway.add_file("packages", "slow-volume", runtime_files("gateway")["packages-slow-volume.conf"])
        return self.make(sockets, "storage", identity=sockets.identity, user=user)


def name_registry(sockets: "Sockets") -> None:
    """Tell the server whose it is, by which two registries on one place of a bucket are told apart."""
    # Of the pod, so that it follows what Kustomize changes.
    sockets.server.set_from_field("REGISTRY_NAME", f"metadata.labels['{INSTANCE}']")
    sockets.server.set_from_field("REGISTRY_NAMESPACE", "metadata.namespace")


class Storage(Protocol):
    """What holds the packages of a registry: what `registry.storage` is."""

    spec: Any
    """The spec."""


class Volume(Construct):
    """The package volume of a registry.

    Attributes:
        spec: The spec.
        claim: The PersistentVolumeClaim; None where one is there already.
    """

    def __init__(
        self, scope: Construct, id_: str, *, spec: VolumeSpec, identity: Identity, claim: Mapping[str, Any]
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
