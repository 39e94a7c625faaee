"""A file system that every node mounts."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.fields import Name
from cdk8s_pypiserver.base.identity import Identity

from .mode import Volume, VolumeSpec


class SharedVolumeSpec(VolumeSpec):
    """A file system that every node mounts (ReadWriteMany: NFS, CephFS, Longhorn); it must know hard links."""

    kind: Literal["shared"] = "shared"
    """Tells the storage modes apart in a YAML file."""
    storage_class: Name | None = None
    """Storage class; the cluster's default if none is named."""
    access_mode: Literal["ReadWriteMany"] = "ReadWriteMany"
    """How the volume may be mounted: the pods are on several nodes."""
    rescan_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds between full listings; a new file in a directory is noticed within a second of its being visible."""

    readers_refused: ClassVar[str | None] = "every pod may publish there; use availability"
    audit_refused: ClassVar[str | None] = None

    def settings(self) -> Mapping[str, str]:
        """See StorageSpec."""
        return {"PUBLISH_METHOD": "link", "WRITERS": "many", "RESCAN_SECONDS": str(self.rescan_seconds)}

    def make(self, scope: Construct, id_: str, *, identity: Identity, user: int | None) -> "SharedVolume":
        """See StorageSpec."""
        del user  # fsGroup has the kubelet give the volume to the pod's group
        return SharedVolume(scope, id_, spec=self, identity=identity)


class SharedVolume(Volume):
    """A claim for a file system of all nodes."""

    def __init__(self, scope: Construct, id_: str, *, spec: SharedVolumeSpec, identity: Identity) -> None:
        """Make the claim."""
        super().__init__(scope, id_, spec=spec, identity=identity, claim={"storageClassName": spec.storage_class})
