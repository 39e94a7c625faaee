"""Where the packages are kept: a volume for one pod, a volume for many, or a bucket mounted by a CSI driver."""

from typing import Annotated, Literal

from cdk8s_plus_27 import k8s
from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Label, Name, QuantityStr, Spec
from cdk8s_pypiserver.base.values import amount

SUFFIX = "packages"
PACKAGES_DIRECTORY = "/data/packages"

S3_DRIVER = "ru.yandex.s3.csi"
"""Name of the csi-s3 driver (yandex-cloud/k8s-csi-s3, pkg/driver/driver.go)."""

S3_STALENESS_SECONDS = 5
"""How long GeeseFS may show an old listing (--stat-cache-ttl); its own default is a minute."""

BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Prefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]


class LocalVolumeSpec(Spec):
    """A volume that one node mounts (ReadWriteOnce): exactly one pod, replaced rather than rolled."""

    kind: Literal["local"] = "local"
    """Tells the storage modes apart in a YAML file."""
    size: QuantityStr = "20Gi"
    """Size of the volume."""
    storage_class: Name | None = None
    """Storage class; the cluster's default if none is named."""


class SharedVolumeSpec(Spec):
    """A file system that every node mounts (ReadWriteMany: NFS, CephFS, Longhorn); it must know hard links."""

    kind: Literal["shared"] = "shared"
    """Tells the storage modes apart in a YAML file."""
    size: QuantityStr = "20Gi"
    """Size of the volume."""
    storage_class: Name | None = None
    """Storage class; the cluster's default if none is named."""
    rescan_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds between full listings; a new file in a directory is noticed within a second of its being visible."""


class S3VolumeSpec(Spec):
    """A bucket mounted by the csi-s3 driver through GeeseFS; the driver's Secret holds endpoint and keys."""

    kind: Literal["s3"] = "s3"
    """Tells the storage modes apart in a YAML file."""
    bucket: BucketName
    """Name of the bucket, which must exist."""
    prefix: Prefix = "pypi"
    """Folder in the bucket that holds the packages; used by static provisioning."""
    provisioning: Literal["static", "dynamic"] = "static"
    """static: a PersistentVolume of `bucket/prefix`, readable and stable. dynamic: a StorageClass, which gives each new
    claim a prefix `pvc-…` of its own."""
    size: QuantityStr = "100Gi"
    """Size of the claim; a bucket does not enforce it."""
    secret: Name | None = None
    """Secret with accessKeyID, secretAccessKey, endpoint and, if the store asks for one, region; `<name>-s3` by
    default."""
    namespace: Label = "pypiserver"
    """Namespace of the registry and of the Secret: a PersistentVolume has none of its own, so it has to be told."""
    mount_memory: Annotated[int, Field(ge=100)] = 500
    """MB of memory that GeeseFS may use on the node, outside every pod's limit."""


StorageSpec = Annotated[LocalVolumeSpec | SharedVolumeSpec | S3VolumeSpec, Field(discriminator="kind")]


class LocalVolume(k8s.KubePersistentVolumeClaim):
    """A claim for a volume of one node."""

    def __init__(self, scope: Construct, id_: str, *, spec: LocalVolumeSpec, metadata: Identity) -> None:
        """Make the claim."""
        claim = _claim("ReadWriteOnce", spec.size, storage_class=spec.storage_class)
        super().__init__(scope, id_, metadata=metadata.of(SUFFIX), spec=claim)
        self.environment: dict[str, str] = {}


class SharedVolume(k8s.KubePersistentVolumeClaim):
    """A claim for a file system of all nodes."""

    def __init__(self, scope: Construct, id_: str, *, spec: SharedVolumeSpec, metadata: Identity) -> None:
        """Make the claim."""
        claim = _claim("ReadWriteMany", spec.size, storage_class=spec.storage_class)
        super().__init__(scope, id_, metadata=metadata.of(SUFFIX), spec=claim)
        self.environment = {"WRITERS": "many", "RESCAN_SECONDS": str(spec.rescan_seconds)}


class S3Volume(k8s.KubePersistentVolumeClaim):
    """A claim for a bucket, and the PersistentVolume or StorageClass behind it.

    Attributes:
        volume: The PersistentVolume (static provisioning) or None.
        storage_class: The StorageClass (dynamic provisioning) or None.
    """

    def __init__(self, scope: Construct, id_: str, *, spec: S3VolumeSpec, metadata: Identity, user: int) -> None:
        """Make the objects; `user` is the uid and gid that owns every file of the mount."""
        name, static = metadata.name_of(SUFFIX), spec.provisioning == "static"
        claim = _claim(
            "ReadWriteMany", spec.size, storage_class="" if static else name, volume=name if static else None
        )
        super().__init__(scope, id_, metadata=metadata.of(SUFFIX), spec=claim)
        # The options and why: the mount ignores fsGroup, so the owner is an option; list-type 1 suits stores that are
        # not AWS (GeeseFS README); a short stat cache bounds how old a listing can be.
        options = (
            f"--memory-limit {spec.mount_memory} --stat-cache-ttl {S3_STALENESS_SECONDS}s --list-type 1 "
            f"--uid {user} --gid {user} --dir-mode 0755 --file-mode 0644"
        )
        secret_name = spec.secret or metadata.name_of("s3")
        secret = k8s.SecretReference(name=secret_name, namespace=spec.namespace)
        self.volume: k8s.KubePersistentVolume | None = None
        self.storage_class: k8s.KubeStorageClass | None = None
        if static:
            self.volume = k8s.KubePersistentVolume(
                self,
                "volume",
                metadata=metadata.of(SUFFIX),
                spec=k8s.PersistentVolumeSpec(
                    storage_class_name="",
                    capacity={"storage": amount(spec.size)},
                    access_modes=["ReadWriteMany"],
                    persistent_volume_reclaim_policy="Retain",
                    claim_ref=k8s.ObjectReference(
                        api_version="v1",
                        kind="PersistentVolumeClaim",
                        namespace=spec.namespace,
                        name=name,
                    ),
                    csi=k8s.CsiPersistentVolumeSource(
                        driver=S3_DRIVER,
                        volume_handle=f"{spec.bucket}/{spec.prefix}",
                        node_stage_secret_ref=secret,
                        node_publish_secret_ref=secret,
                        volume_attributes={"mounter": "geesefs", "capacity": spec.size, "options": options},
                    ),
                ),
            )
        else:
            secrets = {
                f"csi.storage.k8s.io/{step}-secret-{part}": value
                for step in ("provisioner", "controller-publish", "node-stage", "node-publish")
                for part, value in (("name", secret_name), ("namespace", spec.namespace))
            }
            self.storage_class = k8s.KubeStorageClass(
                self,
                "storage-class",
                metadata=metadata.of(SUFFIX),
                provisioner=S3_DRIVER,
                reclaim_policy="Retain",
                parameters={"mounter": "geesefs", "bucket": spec.bucket, "options": options, **secrets},
            )
        # Such a mount has neither hard links nor a cheap rename, and its directory times prove nothing.
        self.environment = {"PUBLISH_METHOD": "direct", "RESCAN_SECONDS": str(S3_STALENESS_SECONDS)}


def _claim(
    access_mode: str, size: str, *, storage_class: str | None, volume: str | None = None
) -> k8s.PersistentVolumeClaimSpec:
    return k8s.PersistentVolumeClaimSpec(
        access_modes=[access_mode],
        storage_class_name=storage_class,
        volume_name=volume,
        resources=k8s.ResourceRequirements(requests={"storage": amount(size)}),
    )
