"""A bucket mounted by a CSI driver."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import cdk8s
from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.fields import Bytes, Form, Label, Name
from cdk8s_pypiserver.base.identity import KEPT, Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.pod.hardening import PACKAGES_VOLUME, scratch

from .cleanup import Cleanup, CleanupSpec
from .mode import Volume, VolumeSpec, name_registry

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

DEAD_MOUNT = "dead-mount"
"""The volume by which a server has its pod replaced; the kubelet's message of the eviction has this name."""
_DEAD_MOUNT_SIZE = "64Ki"
_DEAD_MOUNT_DIRECTORY = "/run/dead-mount"


def _no_bucket(value: str) -> str | None:
    if len(value) < 3:  # noqa: PLR2004
        return f"must have at least 3 characters, has {len(value)}"
    return "must not look like an address" if re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}", value) else None


def _outside(value: str) -> str | None:
    return "must not have . or .. as a part" if {".", ".."} & set(value.split("/")) else None


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BucketName = Annotated[
    str,
    Form(
        r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*",
        "must be a name of lower-case letters, digits, - and ., with a letter or digit at both ends and beside each .",
        63,
        _no_bucket,
    ),
]
"""Name of a bucket."""

Prefix = Annotated[
    str,
    Form(
        r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*",
        "must be a folder such as team/pypi: letters, digits, . _ and -, with a single / between two parts",
        500,
        _outside,
    ),
]
"""A folder in a bucket."""

MountOption = Annotated[
    str, Form(r"--?[A-Za-z0-9][!-~]*(?: [!-~]+)?", "must be one option such as --no-checksum or --list-type 2", 500)
]
"""An option of GeeseFS."""


DriverName = Annotated[
    str,
    Form(
        r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*",
        "must be a name of lower-case letters, digits, - and ., with a letter or digit at both ends",
        63,
    ),
]
"""Name of a CSI driver."""


class S3VolumeSpec(VolumeSpec):
    """A bucket mounted by the csi-s3 driver through GeeseFS; the driver's Secret holds endpoint and keys."""

    kind: Literal["s3"] = "s3"
    """Tells the storage modes apart in a YAML file."""
    bucket: BucketName
    """Name of the bucket, which must exist."""
    prefix: Prefix | None = None
    """Folder in the bucket that holds the packages; the registry's name by default. Used by static provisioning."""
    provisioning: Literal["static", "dynamic"] = "static"
    """static: a PersistentVolume of `bucket/prefix`, readable and stable. dynamic: a StorageClass, which gives each new
    claim a prefix `pvc-…` of its own."""
    size: Bytes = "100Gi"
    """Size of the claim; a bucket does not enforce it."""
    access_mode: Literal["ReadWriteMany"] = "ReadWriteMany"
    """How the volume may be mounted; what the driver offers."""
    secret: Name | None = None
    """Secret with accessKeyID, secretAccessKey, endpoint and, if the store asks for one, region; `<name>-s3` by
    default."""
    namespace: Label = "pypiserver"
    """Namespace of the Secret where the chart names none of its own: a PersistentVolume has none, so it has to be
    told."""
    driver: DriverName = "ru.yandex.s3.csi"
    """Name of the CSI driver (yandex-cloud/k8s-csi-s3, pkg/driver/driver.go)."""
    mount_memory: Annotated[int, Field(ge=100, le=1_000_000)] = 500
    """MB that GeeseFS may keep of files, on each node and outside every pod's limit; its process takes up to 1.6 times
    as much (docs/storage.md)."""
    mount_options: Sequence[MountOption] = ()
    """Further options of GeeseFS, such as `--no-checksum`; the last one counts where an option is there twice."""
    poll_seconds: Annotated[int, Field(ge=1, le=3600)] = 5
    """Seconds for which GeeseFS may show what is old (--stat-cache-ttl; a minute by itself): after that readers show
    what the writer has published, and a new writer waits for as long."""
    rescan_seconds: Annotated[int, Field(ge=1, le=86400)] = 300
    """Seconds between two listings of the whole bucket, by which what others put there is found: a request for each
    thousand files, and of each node 55 µs of a core for each file."""

    cleanup: CleanupSpec | None = CleanupSpec()
    """What ends uploads that are unfinished; None for a bucket whose lifecycle rules do."""

    several_pods_refused: ClassVar[str | None] = (
        "the mount knows no locks, so two pods could both accept the same file name"
    )
    spools_uploads: ClassVar[bool] = True
    owned_by_mount: ClassVar[bool] = True

    def conflicts(self) -> Iterator[Problem]:
        """Yield a folder that nothing would go by."""
        yield from super().conflicts()
        if self.prefix and self.provisioning == "dynamic":
            yield self.problem("prefix", "must be left out with provisioning (dynamic), where the driver chooses it")
        for number, option in enumerate(self.mount_options):
            if "stat-cache-ttl" in option:
                reason = f"must be left out: poll_seconds ({self.poll_seconds}) says it, and a writer waits by that"
                yield Problem(("mount_options", number), option, reason)

    def settings(self) -> Mapping[str, str]:
        """See StorageSpec: no hard links, no cheap rename, and times of directories that prove nothing."""
        return {
            "PUBLISH_METHOD": "direct",
            "WRITERS": "one",
            "POLL_SECONDS": str(self.poll_seconds),
            "RESCAN_SECONDS": str(self.rescan_seconds),
        }

    def prepare(self, sockets: "Sockets", *, user: int | None) -> None:
        """See StorageSpec; a pod whose mount is dead has itself replaced by outgrowing a volume."""
        super().prepare(sockets, user=user)
        name_registry(sockets)
        sockets.pod.put_volume(scratch(DEAD_MOUNT, _DEAD_MOUNT_SIZE))
        sockets.server.add_mount(DEAD_MOUNT, _DEAD_MOUNT_DIRECTORY)
        sockets.server.set("REPLACEMENT_DIRECTORY", _DEAD_MOUNT_DIRECTORY)

    def make(self, scope: Construct, id_: str, *, identity: Identity, user: int | None) -> "S3Volume":
        """See StorageSpec.

        Raises:
            ValueError: no user is named.
        """
        if user is None:
            raise ValueError("user_id (None) must be a number on S3VolumeSpec: the mount names the owner of its files")
        return S3Volume(scope, id_, spec=self, identity=identity, user=user)


class S3Volume(Volume):
    """A claim for a bucket, and the PersistentVolume or StorageClass behind it.

    Attributes:
        volume: The PersistentVolume (static provisioning) or None.
        cleanup: The CronJob that ends unfinished uploads, or None.
        storage_class: The StorageClass (dynamic provisioning) or None.
    """

    def __init__(self, scope: Construct, id_: str, *, spec: S3VolumeSpec, identity: Identity, user: int) -> None:
        """Make the objects; `user` is the uid and gid that owns every file of the mount."""
        namespace = cdk8s.Chart.of(scope).namespace
        # Of the whole cluster: the same registry in two namespaces must not share it.
        cluster_name = (
            identity.name_of(PACKAGES_VOLUME)
            if namespace is None
            else f"{namespace}-{identity.name_of(PACKAGES_VOLUME)}"
        )
        static = spec.provisioning == "static"
        # By a class of its own, which need not exist, no other claim gets the volume; so the volume needs no claimRef,
        # whose namespace no Kustomize transformer would change.
        claim = {"storageClassName": cluster_name, "volumeName": cluster_name if static else None}
        super().__init__(scope, id_, spec=spec, identity=identity, claim=claim)
        self.volume: KubernetesObject | None = None
        self.storage_class: KubernetesObject | None = None
        self.cleanup: Cleanup | None = None
        if self.claim is None:
            return
        secret = {"name": spec.secret or identity.name_of("s3"), "namespace": namespace or spec.namespace}
        folder = spec.prefix or identity.name
        content = (
            _volume(spec, f"{spec.bucket}/{folder}", cluster_name, secret, _options(spec, user))
            if static
            else _storage_class(spec, secret, _options(spec, user))
        )
        made = KubernetesObject(
            self,
            "volume" if static else "storage-class",
            api_version="v1" if static else "storage.k8s.io/v1",
            kind="PersistentVolume" if static else "StorageClass",
            identity=identity,
            cluster_name=cluster_name,
            annotations=KEPT,
            content=lambda: content,
        )
        self.volume, self.storage_class = (made, None) if static else (None, made)
        if spec.cleanup:
            self.cleanup = Cleanup(
                self,
                "cleanup",
                spec=spec.cleanup,
                identity=identity,
                user=user,
                bucket=spec.bucket,
                folder=folder if static else None,
                secret=secret["name"],
            )


def _options(spec: S3VolumeSpec, user: int) -> str:
    # The options and why: the mount ignores fsGroup, so the owner is an option; list-type 1 suits stores that are not
    # AWS (GeeseFS README); a short stat cache bounds how old a listing can be.
    usual = (
        f"--memory-limit {spec.mount_memory} --stat-cache-ttl {spec.poll_seconds}s --list-type 1 "
        f"--uid {user} --gid {user} --dir-mode 0755 --file-mode 0644"
    )
    return " ".join([usual, *spec.mount_options])


def _volume(spec: S3VolumeSpec, handle: str, class_name: str, secret: Mapping[str, str], options: str) -> Manifest:
    return {
        "spec": {
            "storageClassName": class_name,
            "capacity": {"storage": spec.size},
            "accessModes": [spec.access_mode],
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {
                "driver": spec.driver,
                "volumeHandle": handle,
                "nodeStageSecretRef": secret,
                "nodePublishSecretRef": secret,
                "volumeAttributes": {"mounter": "geesefs", "capacity": spec.size, "options": options},
            },
        }
    }


def _storage_class(spec: S3VolumeSpec, secret: Mapping[str, str], options: str) -> Manifest:
    secrets = {
        f"csi.storage.k8s.io/{step}-secret-{part}": secret[part]
        for step in ("provisioner", "controller-publish", "node-stage", "node-publish")
        for part in ("name", "namespace")
    }
    return {
        "provisioner": spec.driver,
        "reclaimPolicy": "Retain",
        "parameters": {"mounter": "geesefs", "bucket": spec.bucket, "options": options, **secrets},
    }
