"""The pods of backup, restore and drill: beside the registry's where it has a volume; rclone in the server's image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from constructs import Construct

from cdk8s_pypiserver.base.config_files import ConfigFiles
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.pod.hardening import (
    PACKAGES_DIRECTORY,
    PACKAGES_VOLUME,
    hardened,
    mount,
    requirements,
    scratch,
)
from cdk8s_pypiserver.pod.server import FILES_DIRECTORY as SERVER_DIRECTORY
from cdk8s_pypiserver.pod.server import ROOMS

from .cron_job import CronJob

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

CONTAINER = "upkeep"
DIRECTORY = SERVER_DIRECTORY.rpartition("/")[0]
FILES_VOLUME = "backup-files"
STORE_ROOM = "store"
"""The room of runtime/server that knows of stores, which a registry has whose packages are in one."""
PROGRAMS = "/programs"
PROGRAMS_VOLUME = "programs"
STATUS_DIRECTORY = "/var/lib/pypiserver/backup"
STATUS_PATH = ".pypiserver/backup"
"""Where the server reads what became of a run, on the package volume."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one kind of run needs."""

    kind: str
    """backup, restore or drill: argument of the program, suffix of the object, component of its pods."""
    schedule: str
    """When it runs."""
    time_zone: str | None = None
    """Time zone of the schedule."""
    resources: Resources
    """Requests and limits."""
    deadline_seconds: int
    """Seconds after which it is ended."""
    attempts: int = 1
    """How often it is tried."""
    suspended: bool = False
    """Whether it runs only when somebody makes a Job of it."""
    writes: bool = False
    """Whether it writes packages."""
    owns_volumes: bool = False
    """Whether a volume is its own, which the kubelet has to give to its group."""
    image: str
    """The image that has rclone."""
    on_volume: bool
    """Whether the packages are on a volume, next to which it runs; else they are in a store."""
    environment: Callable[[], Sequence[Manifest]]
    """Variables of the environment."""
    volumes: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """Volumes besides the registry's."""
    mounts: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """Their mounts."""


def rclone(image: str, image_pull_policy: str | None) -> Manifest:
    """Return the container that brings rclone, which is one file, into the volume `programs`.

    Args:
        image: The image that has it.
        image_pull_policy: When that is pulled.
    """
    small = Resources(cpu_request="10m", memory_request="16Mi", memory_limit="256Mi")
    return {
        "name": "rclone",
        "image": image,
        "imagePullPolicy": image_pull_policy,
        "command": ["cp", "/usr/local/bin/rclone", f"{PROGRAMS}/rclone"],
        "securityContext": hardened(),
        "resources": requirements(small),
        "volumeMounts": [mount(PROGRAMS_VOLUME, PROGRAMS)],
    }


class RunPod:
    """The pods of a run: on the registry's node where its packages are on a volume, else anywhere."""

    def __init__(self, sockets: "Sockets", files: ConfigFiles, run: Run) -> None:
        """Make them of the registry, the program and the run."""
        self._sockets = sockets
        self._files = files
        self._run = run

    def cron_job(self, scope: Construct, id_: str) -> CronJob:
        """Return the CronJob, called `id_` in this construct."""
        run = self._run
        return CronJob(
            scope,
            id_,
            sockets=self._sockets,
            component=run.kind,
            schedule=run.schedule,
            time_zone=run.time_zone,
            longest_seconds=run.deadline_seconds,
            attempts=run.attempts,
            suspended=run.suspended,
            container=self._container,
            volumes=self._volumes,
            fields=self._fields,
        )

    @property
    def _rooms(self) -> tuple[str, ...]:
        return ROOMS if self._run.on_volume else (*ROOMS, STORE_ROOM)

    def _volumes(self) -> list[Manifest]:
        registry = self._sockets.pod.template()["spec"]
        packages = [each for each in registry["volumes"] if each["name"] == PACKAGES_VOLUME]
        return [
            *(packages if self._run.on_volume else ()),
            *(self._sockets.server.files[room].volume(f"server-{room}") for room in self._rooms),
            self._files.volume(FILES_VOLUME),
            scratch(PROGRAMS_VOLUME, "256Mi"),
            # What goes into a store stands here before.
            scratch("upkeep-tmp", "1Gi" if self._run.on_volume else self._sockets.server.spec.temporary_size),
            *(dict(each) for each in self._run.volumes),
        ]

    def _fields(self) -> Manifest:
        registry = self._sockets.pod.template()["spec"]
        beside = {
            "labelSelector": {"matchLabels": self._sockets.identity.selector},
            "topologyKey": "kubernetes.io/hostname",
        }
        affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}}
        fields = {
            **({"affinity": affinity} if self._run.on_volume else {}),
            "initContainers": [rclone(self._run.image, self._sockets.server.spec.image_pull_policy)],
            # The cloud may know the pod by it.
            "serviceAccountName": registry["serviceAccountName"],
        }
        # The registry's pod, which is on this node, has given the package volume to the group.
        is_given = self._run.on_volume and not self._run.owns_volumes
        return fields if is_given else {**fields, "securityContext": registry["securityContext"]}

    def _container(self) -> Manifest:
        server = self._sockets.server.spec
        own = {
            "BACKUP_PROGRAM": f"{PROGRAMS}/rclone",
            "HOME": "/tmp",  # noqa: S108 - of the container
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": DIRECTORY,
        }
        mounts: list[Manifest] = []
        if self._run.on_volume:
            own |= {"BACKUP_STATUS": STATUS_DIRECTORY, "PACKAGES_DIRECTORY": PACKAGES_DIRECTORY}
            mounts = [
                mount(PACKAGES_VOLUME, PACKAGES_DIRECTORY, read_only=not self._run.writes),
                {**mount(PACKAGES_VOLUME, STATUS_DIRECTORY), "subPath": STATUS_PATH},
            ]
        environment = [*variables(own), *self._run.environment()]
        return {
            "name": CONTAINER,
            "image": server.image,
            "imagePullPolicy": server.image_pull_policy,
            "command": ["python", "-m", "backup.main", self._run.kind],
            "env": sorted(environment, key=lambda each: str(each["name"])),
            "securityContext": hardened(),
            "resources": requirements(self._run.resources),
            "volumeMounts": [
                *mounts,
                *(mount(f"server-{room}", f"{SERVER_DIRECTORY}/{room}", read_only=True) for room in self._rooms),
                mount(FILES_VOLUME, f"{DIRECTORY}/backup", read_only=True),
                mount(PROGRAMS_VOLUME, PROGRAMS, read_only=True),
                mount("upkeep-tmp", "/tmp"),  # noqa: S108 - of the container
                *self._run.mounts,
            ],
        }
