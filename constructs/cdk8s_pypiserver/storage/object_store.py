"""A store that rclone knows, without a CSI driver: the packages are objects, and a pod keeps only a cache of them."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from cdk8s_pypiserver.base import images, remote
from cdk8s_pypiserver.base.caching import LEAST, CacheSize, bytes_of_files
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.fields import Image, Name, quantity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.remote import RemotePath, RemoteSpec
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.monitoring.alerts import Age, age_seconds
from cdk8s_pypiserver.pod.container import ContainerSpec
from cdk8s_pypiserver.pod.gateway import Place as GatewayPlace
from cdk8s_pypiserver.pod.gateway import after_the_gateway
from cdk8s_pypiserver.pod.hardening import (
    PACKAGES_DIRECTORY,
    PACKAGES_VOLUME,
    exec_probe,
    hardened,
    health,
    mount,
    requirements,
    scratch,
)
from cdk8s_pypiserver.pod.server import FILES_DIRECTORY as SERVER_DIRECTORY

from .mode import StorageSpec, name_registry

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

REMOTE = "store"
"""What rclone calls the store, and the name of the container that fetches packages from it."""
FETCHING_PORT = 8084
"""On loopback, as in runtime/gateway/server-store.conf."""
RCLONE = "rclone"
"""Name of the container that speaks with the store."""
RCLONE_PORT = 5572
ADDRESS = f"http://127.0.0.1:{RCLONE_PORT}"
SECRET_VOLUME = "store-secret"  # noqa: S105 - a name
SECRET_DIRECTORY = "/etc/pypiserver/store-secret"  # noqa: S105 - a path
CONFIGURATION_VOLUME = "rclone"
CONFIGURATION_DIRECTORY = "/run/rclone"
"""Where the container that fetches packages writes what the Secret has, for rclone: its image has no other program."""
CONFIGURATION = f"{CONFIGURATION_DIRECTORY}/rclone.conf"
ROOMS = ("fetching", "http", "index", "store")
"""Rooms of runtime/server that the program which fetches is made of."""
_PLACES: tuple[GatewayPlace, ...] = ("http", "packages", "server")
_MEMORY_SHARE = Decimal("0.8")
"""Of the limit: what Go's collector of garbage keeps to, as long as it can."""
_PARTS_MAX_AGE = "24h"
_PATIENCE = {
    # Nobody waits longer than a client does; what is worth another try, the server and the clients try again.
    "RCLONE_CONTIMEOUT": "5s",
    "RCLONE_TIMEOUT": "10s",
    "RCLONE_RETRIES": "1",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
    # A listing tells the times that the store gave: those of metadata would cost a request for each object.
    "RCLONE_USE_SERVER_MODTIME": "true",
    "RCLONE_FAST_LIST": "true",
    # Read-ahead of 16 MiB for each transfer is of no use on the way to a disk.
    "RCLONE_BUFFER_SIZE": "0",
}


class RcloneSpec(ContainerSpec):
    """The container that speaks with the store; on loopback, to the other containers of the pod."""

    image: Image = images.STORE
    """Image; another one must hold rclone 1.75 or later as its entry point."""
    log_level: Literal["DEBUG", "INFO", "NOTICE", "ERROR"] = "NOTICE"
    """Least severity of what is logged, in rclone's words."""
    resources: Resources = Resources(cpu_request="50m", memory_limit="1Gi")
    """Requests and limits. An upload takes 20 MiB while it is sent to a store that speaks S3: four parts of 5 MiB."""


class FetchingSpec(ContainerSpec):
    """The container that fetches packages which are not in the cache; its image is the server's."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity of what is logged."""
    resources: Resources = Resources(cpu_request="50m", memory_limit="512Mi")
    """Requests and limits."""


class ObjectStoreSpec(StorageSpec):
    """A store that rclone knows: S3 of any make, Google Cloud Storage, Azure Blob, SFTP, WebDAV and others.

    The packages are its objects `<remote.path>/<folder>/<file name>`, and all else that the registry has to keep is
    beside them below `.pypiserver/`. Pods keep a cache of bounded size and nothing of their own. Needs Kubernetes 1.29,
    for a container that starts before the others and ends after them.
    """

    kind: Literal["object-store"] = "object-store"
    """Tells the storage modes apart in a YAML file."""
    remote: RemoteSpec
    """The store, and the place in it."""
    folder: RemotePath | None = None
    """Folder below `remote.path`; the registry's name by default. Each registry needs one of its own."""
    size: CacheSize = "50Gi"
    """Size of the volume for packages that were asked for lately, and for uploads while they are received. Nine tenths
    of it are used, less 512 MiB; what has not been used for longest goes first. A bound on the node's disk, not a
    reservation, where no claim is named."""
    existing_claim: Name | None = None
    """Claim that is there already, for a cache that outlives the pod. It should be a disk: nginx reads from it. Without
    one the cache is on the node's disk, empty when a new pod starts."""
    rescan_seconds: Annotated[int, Field(ge=60, le=86400)] = 3600
    """Seconds between two listings of the whole store, by which objects that others put there are found."""
    poll_seconds: Annotated[int, Field(ge=1, le=60)] = 2
    """Seconds after which a pod notices what another one has published, at most."""
    parts_max_age: Age | None = _PARTS_MAX_AGE
    """How old an upload in parts that nobody has finished must be until the writer removes its parts, in the registry's
    folder: longer than the longest upload by another hand takes. None for a bucket whose lifecycle rules do it. For
    stores of type s3; others need nobody for it."""
    rclone: RcloneSpec = RcloneSpec()
    """The container that speaks with the store."""
    fetching: FetchingSpec = FetchingSpec()
    """The container that fetches packages."""

    several_pods_refused: ClassVar[str | None] = (
        "stores know no locks that all of them have, so two pods could both accept the same file name"
    )
    shared_by_pods: ClassVar[bool] = False
    initial_password_refused: ClassVar[str | None] = (
        "the password would be kept in the store, which others than this one pod can read"  # noqa: S105
    )

    @property
    def room_for_uploads(self) -> int:
        """See StorageSpec: the least that packages have is not taken from them."""
        return bytes_of_files(self.size) - LEAST

    @property
    def private_host(self) -> str | None:
        """See StorageSpec."""
        return self.remote.private_host

    @property
    def claim_of_a_pod(self) -> str | None:
        """See StorageSpec."""
        return self.existing_claim

    @property
    def containers(self) -> Mapping[str, Resources]:
        """See StorageSpec."""
        return {"rclone": self.rclone.resources, "fetching": self.fetching.resources}

    def conflicts(self) -> Iterator[Problem]:
        """Yield limits at which the pod would be evicted before the cache is full, and what no store would go by."""
        yield from super().conflicts()
        if self.parts_max_age not in {None, _PARTS_MAX_AGE} and not self._has_parts:
            reason = f"must be left out with remote.type ({self.remote.type}): it is for stores of type s3"
            yield self.problem("parts_max_age", reason)
        limit = self.fetching.resources.ephemeral_storage_limit
        if limit and not self.existing_claim and quantity(limit) < quantity(self.size):
            reason = f"must not be below size ({self.size}): the pod is evicted before the cache is full"
            yield self.problem("fetching.resources.ephemeral_storage_limit", reason)

    def place(self, name: str) -> tuple[RemoteSpec, str]:
        """See StorageSpec."""
        return self.remote, self.folder or name

    def settings(self) -> Mapping[str, str]:
        """See StorageSpec."""
        parts = self.parts_max_age if self._has_parts else None
        return {
            "PUBLISH_METHOD": "store",
            "WRITERS": "one",
            "RESCAN_SECONDS": str(self.rescan_seconds),
            **({"STORE_PARTS_SECONDS": str(age_seconds(parts))} if parts else {}),
            "STORE_POLL_SECONDS": str(self.poll_seconds),
            "STORE_URL": ADDRESS,
        }

    @property
    def _has_parts(self) -> bool:
        return self.remote.type == "s3"

    def mount(self, sockets: "Sockets", *, user: int | None) -> "ObjectStore":
        """See StorageSpec."""
        self.prepare(sockets, user=user)
        return ObjectStore(sockets, self)


class ObjectStore:
    """What the pod of a registry has for its store: two containers, a cache, and what the others have to know.

    Attributes:
        spec: The spec.
        path: The place of the packages, as rclone writes it.
    """

    def __init__(self, sockets: "Sockets", spec: ObjectStoreSpec) -> None:
        """Join the registry."""
        self.spec = spec
        self._sockets = sockets
        found, folder = spec.place(sockets.identity.name)
        self.path = found.fs(REMOTE, folder)
        sockets.server.add_room("store")
        sockets.server.set("STORE_PATH", self.path)
        name_registry(sockets)
        cache = (
            {"name": PACKAGES_VOLUME, "persistentVolumeClaim": {"claimName": spec.existing_claim}}
            if spec.existing_claim
            else scratch(PACKAGES_VOLUME, spec.size)
        )
        sockets.pod.put_volume(cache)
        for volume in remote.volumes({REMOTE: spec.remote}):
            sockets.pod.put_volume(volume)
        if spec.remote.secrets:
            sockets.pod.put_volume(spec.remote.secret_volume(SECRET_VOLUME, sockets.identity))
            sockets.pod.put_volume(scratch(CONFIGURATION_VOLUME, "1Mi", in_memory=True))
        # Not read-only: there Linux would not note when a file was last read, by which the cache knows what may go.
        sockets.gateway.add_mount(PACKAGES_VOLUME, PACKAGES_DIRECTORY)
        shipped = runtime_files("gateway")
        sockets.gateway.set("UPLOAD_ROOM", str(spec.room_for_uploads))
        for place in _PLACES:
            sockets.gateway.add_file(place, REMOTE, shipped[f"{place}-{REMOTE}.conf"])
        sockets.pod.put_init_container(self._rclone())
        sockets.pod.add_late_container(REMOTE, self._fetching)
        sockets.network.allow_to(spec.remote.peers, ports=spec.remote.used_ports)
        sockets.network.allow_names()
        sockets.pod.keep_port(FETCHING_PORT, container=REMOTE)
        sockets.pod.keep_port(RCLONE_PORT, container=RCLONE)

    def _rclone(self) -> Manifest:
        """Return the container that speaks with the store: it starts before the others and ends after them."""
        spec, remotes = self.spec.rclone, {REMOTE: self.spec.remote}
        limit = spec.resources.memory_limit
        own = {
            **_PATIENCE,
            **({"GOMEMLIMIT": str(int(quantity(limit) * _MEMORY_SHARE))} if limit else {}),
            "RCLONE_LOG_LEVEL": spec.log_level,
        }
        environment = [
            *(each for each in self._known(remotes) if each["name"] not in own),
            *variables(own),
        ]
        # rclone itself asks, since images need not hold anything else.
        asked = ("rclone", "rc", f"--url={ADDRESS}/", "rc/noop")
        container = {
            "name": RCLONE,
            "image": spec.image,
            "args": ["rcd", f"--rc-addr=127.0.0.1:{RCLONE_PORT}", "--rc-no-auth", "--rc-serve"],
            "env": sorted(environment, key=lambda each: str(each["name"])),
            "restartPolicy": "Always",
            "securityContext": hardened(),
            "resources": requirements(spec.resources),
            "startupProbe": exec_probe(*asked, period=1, timeout=10, failures=60),
            "livenessProbe": exec_probe(*asked, period=30, timeout=10, failures=3),
            "volumeMounts": [
                mount(PACKAGES_VOLUME, PACKAGES_DIRECTORY, read_only=True),
                *remote.mounts(remotes),
                # Not read-only: of some types rclone itself keeps what the store gives it anew.
                *self._with_secret(mount(CONFIGURATION_VOLUME, CONFIGURATION_DIRECTORY)),
            ],
        }
        return spec.applied(container)

    def _known(self, remotes: Mapping[str, RemoteSpec]) -> list[Manifest]:
        """Return what rclone knows from its environment, but for the Secret: that may change."""
        file = CONFIGURATION if self.spec.remote.secrets else None
        return remote.environment(remotes, self._sockets.identity, file=file)

    def _with_secret(self, *mounts: Manifest) -> tuple[Manifest, ...]:
        return mounts if self.spec.remote.secrets else ()

    def _fetching(self) -> Manifest:
        """Return the container that fetches packages."""
        spec, server = self.spec.fetching, self._sockets.server
        environment = {
            "CACHE_BYTES": str(bytes_of_files(self.spec.size)),
            "LOG_LEVEL": spec.log_level,
            "PACKAGES_DIRECTORY": PACKAGES_DIRECTORY,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": SERVER_DIRECTORY.rpartition("/")[0],
            "STORE_PATH": self.path,
            "STORE_URL": ADDRESS,
        }
        if self.spec.remote.secrets:
            environment.update(
                RCLONE_FILE=CONFIGURATION, SECRET_DIRECTORY=SECRET_DIRECTORY, STORE_TYPE=self.spec.remote.type
            )
        container = {
            "name": REMOTE,
            "image": server.spec.image,
            "command": ["python", "-m", "server.store.main"],
            "env": variables(environment),
            "securityContext": hardened(),
            "resources": requirements(spec.resources),
            # It listens on loopback only. The pod is ready without it: what is kept needs nobody else.
            "livenessProbe": exec_probe(*health(FETCHING_PORT), period=30, timeout=10, failures=3),
            "lifecycle": after_the_gateway(server.grace_seconds),
            "volumeMounts": [
                mount(PACKAGES_VOLUME, PACKAGES_DIRECTORY),
                *(mount(f"server-{room}", f"{SERVER_DIRECTORY}/{room}", read_only=True) for room in ROOMS),
                *self._with_secret(
                    mount(SECRET_VOLUME, SECRET_DIRECTORY, read_only=True),
                    mount(CONFIGURATION_VOLUME, CONFIGURATION_DIRECTORY),
                ),
            ],
        }
        return spec.applied(container)
