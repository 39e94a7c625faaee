"""A volume that one node mounts."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from constructs import Construct

from cdk8s_pypiserver.base.fields import Name
from cdk8s_pypiserver.base.identity import Identity

from .mode import Volume, VolumeSpec


class LocalVolumeSpec(VolumeSpec):
    """A volume that one node mounts (ReadWriteOnce): exactly one pod, replaced rather than rolled."""

    kind: Literal["local"] = "local"
    """Tells the storage modes apart in a YAML file."""
    storage_class: Name | None = None
    """Storage class; the cluster's default if none is named."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod"] = "ReadWriteOnce"
    """ReadWriteOncePod has Kubernetes itself keep a second pod out (CSI volumes, Kubernetes 1.27 and later)."""

    several_pods_refused: ClassVar[str | None] = (
        "the volume is one node's (ReadWriteOnce), and a second pod would wait for it for ever"
    )
    readers_refused: ClassVar[str | None] = (
        "the volume is one node's (ReadWriteOnce), and readers are on several; use shared storage"
    )
    initial_password_refused: ClassVar[str | None] = None
    audit_refused: ClassVar[str | None] = None

    @property
    def backup_refused(self) -> str | None:
        """See StorageSpec."""
        if self.access_mode == "ReadWriteOnce":
            return None
        return "the volume is for one pod (ReadWriteOncePod); with ReadWriteOnce another on the same node has it too"

    def settings(self) -> Mapping[str, str]:
        """See StorageSpec."""
        return {"PUBLISH_METHOD": "link", "WRITERS": "one"}

    def make(self, scope: Construct, id_: str, *, identity: Identity, user: int | None) -> "LocalVolume":
        """See StorageSpec."""
        del user  # fsGroup has the kubelet give the volume to the pod's group
        return LocalVolume(scope, id_, spec=self, identity=identity)


class LocalVolume(Volume):
    """A claim for a volume of one node."""

    def __init__(self, scope: Construct, id_: str, *, spec: LocalVolumeSpec, identity: Identity) -> None:
        """Make the claim."""
        super().__init__(scope, id_, spec=spec, identity=identity, claim={"storageClassName": spec.storage_class})
