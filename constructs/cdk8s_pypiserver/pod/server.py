"""The server: pypiserver behind gunicorn with this project's entry, reached by the gateway alone."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from cdk8s_plus_27 import k8s
from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.access.credentials import credentials_mount
from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import QuantityStr, Resources, Spec
from cdk8s_pypiserver.storage.volumes import PACKAGES_DIRECTORY
from cdk8s_pypiserver.storage.volumes import SUFFIX as PACKAGES_VOLUME

from .gateway import PORT as GATEWAY_PORT
from .hardening import (
    RUN_DIRECTORY,
    RUN_VOLUME,
    hardened,
    http_probe,
    requirements,
    scratch,
    variables,
    wait_before_stop,
)
from .tls import PORT as HTTPS_PORT

CONTAINER = "pypiserver"
FILES_DIRECTORY = "/etc/pypiserver/server"
FILES_VOLUME = "server-files"
SCRATCH_VOLUME = "server-tmp"
# In whatever state but TIME_WAIT (6): a gateway that was killed leaves its file behind, but no connection.
_GATEWAY_HAS_CONNECTIONS = (
    f"grep -Eqs ':({GATEWAY_PORT:04X}|{HTTPS_PORT:04X}) [0-9A-F]+:[0-9A-F]+ 0[^6]' /proc/net/tcp /proc/net/tcp6"
)


class ServerSpec(Spec):
    """The container that stores packages and makes the index pages."""

    image: str = images.SERVER
    """Image; another one must hold pypiserver 2.4, gunicorn and passlib."""
    threads: Annotated[int, Field(ge=6, le=256)] = 64
    """Requests that are worked on at once, beside uploads (GatewaySpec.concurrent_uploads), each of which has a thread
    of its own; four are kept for health and passwords while the volume hangs."""
    allow_removal: bool = False
    """Whether publishers may remove packages (`:action=remove_pkg`). A removed name can be published anew with other
    bytes, which breaks every lock file that names the old ones."""
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 3
    """Seconds within which the package volume must answer for the pod to be ready."""
    temporary_size: QuantityStr = "20Gi"
    """Scratch space in /tmp: on S3VolumeSpec each upload stands there once while it is received; elsewhere it goes onto
    the volume as it comes. A bound, not a reservation."""
    resources: Resources = Resources(memory_limit="1Gi")
    """Requests and limits."""


class Server(ConfigFiles):
    """The server's files and container.

    Attributes:
        files: ConfigMap of the Python files that the container runs.
    """

    def __init__(self, scope: Construct, id_: str, *, spec: ServerSpec, metadata: Identity) -> None:
        """Make the ConfigMap."""
        super().__init__(scope, id_, metadata=metadata, suffix="server", files=_files())
        self.spec = spec

    def container(
        self, *, environment: Mapping[str, str], arguments: Sequence[str], concurrent_uploads: int, grace_seconds: int
    ) -> k8s.Container:
        """Return the container.

        Args:
            environment: Settings of the other concerns (storage, credentials).
            arguments: Further arguments of gunicorn.
            concurrent_uploads: How many uploads the gateway lets through at once.
            grace_seconds: The pod's termination grace period.
        """
        settings = {
            "ALLOW_REMOVAL": "yes" if self.spec.allow_removal else "no",
            "CONCURRENT_UPLOADS": str(concurrent_uploads),
            "HOME": "/tmp",  # noqa: S108 - gunicorn keeps a control socket under it, and the root is read-only
            "PACKAGES_DIRECTORY": PACKAGES_DIRECTORY,
            "PAGES_DIRECTORY": f"{RUN_DIRECTORY}/pages",
            "PYTHONDONTWRITEBYTECODE": "1",
            "READY_TIMEOUT_SECONDS": str(self.spec.ready_timeout_seconds),
            "THREADS": str(self.spec.threads),
        }
        return k8s.Container(
            name=CONTAINER,
            image=self.spec.image,
            command=["gunicorn", "--config", f"{FILES_DIRECTORY}/pod/gunicorn.conf.py"],
            args=list(arguments) or None,
            env=variables({**settings, **environment}),
            security_context=hardened(),
            resources=requirements(self.spec.resources),
            # Through the gateway, since this container listens on loopback only; a start may list a large volume.
            startup_probe=http_probe("/health", GATEWAY_PORT, period=2, timeout=5, failures=150),
            liveness_probe=http_probe("/health", GATEWAY_PORT, period=10, timeout=5, failures=6),
            # Requests that the gateway has accepted still need the server: it goes last.
            lifecycle=wait_before_stop(
                f"i=0; while [ -e {RUN_DIRECTORY}/gateway.pid ] && {_GATEWAY_HAS_CONNECTIONS}"
                f" && [ $i -lt {grace_seconds - 10} ]",
                "do sleep 1; i=$((i+1)); done",
            ),
            volume_mounts=[
                k8s.VolumeMount(name=PACKAGES_VOLUME, mount_path=PACKAGES_DIRECTORY),
                k8s.VolumeMount(name=RUN_VOLUME, mount_path=RUN_DIRECTORY),
                k8s.VolumeMount(name=SCRATCH_VOLUME, mount_path="/tmp"),  # noqa: S108
                k8s.VolumeMount(name=FILES_VOLUME, mount_path=FILES_DIRECTORY, read_only=True),
                credentials_mount(),
            ],
        )

    def volumes(self) -> list[k8s.Volume]:
        """Return the volumes that only this container mounts."""
        items = [k8s.KeyToPath(key=key, path=key.replace(".", "/", 1)) for key in _files()]
        files = k8s.ConfigMapVolumeSource(name=self._object_name, items=items)
        return [k8s.Volume(name=FILES_VOLUME, config_map=files), scratch(SCRATCH_VOLUME, self.spec.temporary_size)]


def _files() -> Mapping[str, str]:
    rooms = ("access", "http", "index", "pod", "publish", "volume")
    return {f"{room}.{name}": text for room in rooms for name, text in runtime_files(f"server/{room}").items()}
