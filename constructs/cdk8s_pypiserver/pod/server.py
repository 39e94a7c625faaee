"""The server: this project's program on pypiserver and gunicorn, reached by the gateway alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Annotated, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files, runtime_folders
from cdk8s_pypiserver.base.fields import Argument, Bytes, Image
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.variables import variables

from .container import ContainerSpec, ProbeSpec, check_variable
from .gateway import Gateway, in_use
from .hardening import (
    PACKAGES_DIRECTORY,
    PACKAGES_VOLUME,
    RUN_DIRECTORY,
    RUN_VOLUME,
    before_stop,
    exec_probe,
    hardened,
    health,
    mount,
    requirements,
    scratch,
)
from .template import Pod

CONTAINER = "pypiserver"
FILES_DIRECTORY = "/etc/pypiserver/server"
SCRATCH_VOLUME = "server-tmp"
PORT = 8081
"""Where the server listens on loopback (runtime/server/pod/gunicorn.conf.py)."""
VERDICTS_PORT = 8082
"""Where it listens for questions about credentials (runtime/server/pod/settings.py)."""
ROOMS = tuple(room for room in runtime_folders("server") if room not in {"attesting", "store", "upstream"})
"""The rooms of runtime/server that every registry has; the others are a third of all, and come with what needs them."""
HEALTH = health(PORT)
"""Asks from inside the container, where the port is: a gateway in between, overloaded or broken, would have the server
killed."""


class ServerSpec(ContainerSpec):
    """The container that stores packages and makes the index pages."""

    image: Image = images.SERVER
    """Image; another one must hold pypiserver 2.4, gunicorn, passlib and wget."""
    threads: Annotated[int, Field(ge=6, le=256)] = 64
    """Requests that are worked on at once, beside uploads (GatewaySpec.concurrent_uploads), each of which has a thread
    of its own; four are kept for health and passwords while the volume hangs."""
    allow_removal: bool = False
    """Whether publishers may remove packages (`:action=remove_pkg`)."""
    removed_names: Literal["taken", "free"] = "taken"
    """What becomes of the name of a removed file: it stays taken, so that only the same bytes can come back, or other
    ones can be published under it too, which breaks every lock file that names the old ones."""
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """Seconds within which the package volume must answer for the pod to be ready."""
    may_repeat = frozenset({"arguments"})

    arguments: Sequence[Argument] = ()
    """Further arguments of gunicorn, which runs the server."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity of what is logged."""
    temporary_size: Bytes = "20Gi"
    """Scratch space in /tmp: on S3VolumeSpec each upload stands there once while it is received; elsewhere it goes onto
    the volume as it comes. A bound, not a reservation."""
    resources: Resources = Resources(memory_limit="1Gi")
    """Requests and limits."""
    startup: ProbeSpec = ProbeSpec()
    """When a start counts as failed: by default after five minutes, in which a large volume is listed."""


class Server(Construct):
    """The server's files, a ConfigMap for each room of its program, and its container: what `registry.server` is.

    Attributes:
        spec: The spec.
        files: The ConfigMaps by room.
        grace_seconds: Seconds that a stopping pod has for what it has begun.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id_: str,
        *,
        spec: ServerSpec,
        identity: Identity,
        pod: Pod,
        gateway: Gateway,
        grace_seconds: int,
    ) -> None:
        """Make the ConfigMaps, and add the container and its volumes to the pod.

        Args:
            scope: The registry.
            id_: Name of this construct in it.
            spec: The spec.
            identity: Whose server it is.
            pod: What the container joins.
            gateway: The container in front, which says how many uploads come at once.
            grace_seconds: The pod's termination grace period.
        """
        super().__init__(scope, id_)
        self.spec = spec
        self.grace_seconds = grace_seconds
        self._environment: dict[str, str | Manifest] = {
            # gunicorn keeps a control socket under it, and the root is read-only.
            "HOME": "/tmp",  # noqa: S108 - of the container
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._mounts: list[Manifest] = []
        self._identity = identity
        self._pod = pod
        self.files: dict[str, ConfigFiles] = {}
        gateway.set("ALLOW_REMOVAL", "yes" if spec.allow_removal else "no")
        self.set("ALLOW_REMOVAL", "yes" if spec.allow_removal else "no")
        self.set("REMOVED_NAMES", spec.removed_names)
        self.set("CONCURRENT_UPLOADS", str(gateway.spec.concurrent_uploads))
        self.set("LOG_LEVEL", spec.log_level)
        self.set("PACKAGES_DIRECTORY", PACKAGES_DIRECTORY)
        self.set("PAGES_DIRECTORY", f"{RUN_DIRECTORY}/pages")
        self.set("READY_TIMEOUT_SECONDS", str(spec.ready_timeout_seconds))
        self.set("THREADS", str(spec.threads))
        self.add_mount(PACKAGES_VOLUME, PACKAGES_DIRECTORY)
        self.add_mount(RUN_VOLUME, RUN_DIRECTORY)
        self.add_mount(SCRATCH_VOLUME, "/tmp")  # noqa: S108 - of the container
        pod.add_late_container(CONTAINER, self.container)
        pod.keep_port(PORT, container=CONTAINER)
        pod.keep_port(VERDICTS_PORT, container=CONTAINER)
        # 100,000 index pages of 10 kB fit in.
        pod.put_volume(scratch(RUN_VOLUME, "1Gi"))
        pod.put_volume(scratch(SCRATCH_VOLUME, spec.temporary_size))
        for room in ROOMS:
            self.add_room(room)

    def add_room(self, room: str) -> None:
        """Ship a room of the program, which is mounted in the container and can be in others of the pod."""
        # The room that has gunicorn's configuration is what `ApiObject.of` finds.
        id_, volume = "Default" if room == "pod" else room, f"server-{room}"
        made = ConfigFiles(self, id_, identity=self._identity, suffix=volume, files=runtime_files(f"server/{room}"))
        self.files[room] = made
        self.add_mount(volume, f"{FILES_DIRECTORY}/{room}", read_only=True)
        self._pod.add_late_volume(volume, lambda: made.volume(volume))

    def set(self, variable: str, value: str) -> None:
        """Set a variable of the environment that runtime/server/pod/settings.py reads; others are ServerSpec.env.

        A value that the server cannot work with is refused at synth.

        Raises:
            ValueError: it reads no such variable.
        """
        check_variable(variable, value, read=_variables_read(), others="ServerSpec.env")
        self._environment[variable] = value

    def set_from_field(self, variable: str, path: str) -> None:
        """Set a variable of the environment to a field of the pod, such as metadata.namespace."""
        self._environment[variable] = {"fieldRef": {"fieldPath": path}}

    def add_mount(self, volume: str, path: str, *, read_only: bool = False) -> None:
        """Mount a volume of the pod in the container."""
        self._mounts.append(mount(volume, path, read_only=read_only))

    def problems(self) -> Iterator[str]:
        """Yield why the server would not start with the variables that are set by now."""
        environment = {name: value for name, value in self._environment.items() if isinstance(value, str)}
        while complaint := _complaint(environment):
            yield f"server.set: {complaint}"
            # What else is wrong is told without it.
            if environment.pop(complaint.partition(" ")[0], None) is None:
                return

    def container(self) -> Manifest:
        """Return the container as it is now."""
        container = {
            "name": CONTAINER,
            "image": self.spec.image,
            "command": ["gunicorn", "--config", f"{FILES_DIRECTORY}/pod/gunicorn.conf.py"],
            "args": list(self.spec.arguments) or None,
            "env": variables(self._environment),
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            # A start may list a large volume.
            "startupProbe": self.spec.startup.applied(exec_probe(*HEALTH, period=2, timeout=5, failures=150)),
            "livenessProbe": exec_probe(*HEALTH, period=10, timeout=5, failures=6),
            "lifecycle": self._stop_after_the_gateway(),
            "volumeMounts": self._mounts,
        }
        return self.spec.applied(container)

    def _stop_after_the_gateway(self) -> Manifest:
        """Requests that the gateway has accepted still need the server: it goes last."""
        # In whatever state but TIME_WAIT (6): a gateway that was killed leaves its file behind, but no connection.
        connected = in_use("0[^6]")
        return before_stop(
            # The next pod may have the volume from now on.
            f": > {RUN_DIRECTORY}/stopping",
            f"i=0; while [ -e {RUN_DIRECTORY}/gateway.pid ] && {connected} && [ $i -lt {self.grace_seconds - 10} ]",
            "do sleep 1; i=$((i+1)); done",
        )


def _complaint(environment: Mapping[str, str]) -> str | None:
    """Return what the server would say of its environment before it ends, None if it would start."""
    settings = _settings()
    try:
        settings.Settings.from_environment(environment)
    except settings.SettingError as error:
        return str(error)
    return None


@cache
def _settings() -> ModuleType:
    # What runs in the pod is no part of this package for a type checker, which knows it as `server`.
    return import_module("cdk8s_pypiserver.runtime.server.pod.settings")


@cache
def _variables_read() -> frozenset[str]:
    return frozenset(re.findall(r'"([A-Z_]+)"', runtime_files("server/pod")["settings.py"]))
