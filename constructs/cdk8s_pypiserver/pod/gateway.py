"""The gateway: nginx, the only port that others reach; it asks for passwords, bounds bodies and serves files."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Literal, NamedTuple

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Address, Bytes, Image, PathPrefix, UploadSize, check_port, quantity
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.variables import variables

from .container import ContainerSpec, ProbeSpec, check_variable
from .hardening import (
    PACKAGES_DIRECTORY,
    PACKAGES_VOLUME,
    RUN_DIRECTORY,
    RUN_VOLUME,
    before_stop,
    hardened,
    http_probe,
    mount,
    requirements,
    scratch,
)
from .template import Pod

CONTAINER = "gateway"
PORT = 8080
PORT_NAME = "http"
HTTPS_PORT = 8443
HTTPS_PORT_NAME = "https"
FILES_DIRECTORY = "/etc/pypiserver/gateway"
FILES_VOLUME = "gateway-files"
SCRATCH_VOLUME = "gateway-tmp"
VERDICTS_VOLUME = "verdicts"
VERDICTS_MEMORY = 96 << 20
"""Bytes that all cached verdicts take together, at most (runtime/gateway/nginx.conf)."""
LEAST_MEMORY = VERDICTS_MEMORY + (32 << 20)
"""Bytes that the container needs: nginx took 22 MiB with 200 clients and 20 uploads (docs/storage.md)."""
DRAIN_SECONDS = 5
"""How long a stopping pod goes on accepting: until every node's proxy has learnt that it is leaving."""

Place = Literal["http", "server", "reads", "packages", "project", "publish", "metrics"]
"""Where files of nginx's configuration are included."""
PLACES: Mapping[Place, str] = {
    "http": "in the block `http`, among all settings: maps, zones, servers of their own",
    "server": "in the block `server` that clients reach: locations, what is so for every request",
    "reads": "in each location where something is read",
    "packages": "in the location where a package is read",
    "project": "in the location where the page of a project is read",
    "publish": "in the location where something is published, by whoever has been found to be a publisher",
    "metrics": "in the block `server` that Prometheus asks, where there is monitoring",
}
"""Which part of the configuration each of them is."""
_OF_A_CONCERN = re.compile(rf"(?:{'|'.join(PLACES)})-.*\.conf")
_CONCERN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
"""What may be in a key of a ConfigMap."""


class GatewaySpec(ContainerSpec):
    """The container in front of the server."""

    image: Image = images.GATEWAY
    """Image; another one must hold nginx 1.22 or later with the auth_request module."""
    max_upload: UploadSize = "1Gi"
    """Largest upload; a larger one gets 413."""
    concurrent_uploads: Annotated[int, Field(ge=1, le=256)] = 20
    """Uploads that are received at once, each by a thread of the server; one more gets 503 and is asked to come
    again."""
    path_prefix: PathPrefix = "/"
    """Path below which clients find the registry, such as /pypi, for a host that others share; an Ingress leads there.
    What is in front of the gateway may leave the prefix in an address or take it off."""
    temporary_size: Bytes = "4Gi"
    """Scratch space in /tmp: answers of the server that clients are slow to read. Uploads go through without standing
    there. A bound, not a reservation."""
    trusted_proxies: Sequence[Address] = ()
    """Addresses or networks (CIDR) of the proxies in front, whose X-Forwarded-For names the client; without any, the
    client is whoever connects."""
    log_level: Literal["info", "notice", "warn", "error", "crit"] = "error"
    """Least severity of what nginx itself logs; not the log of requests. No debug, which would log passwords."""
    resources: Resources = Resources(cpu_request="50m", memory_request="32Mi")
    """Requests and limits."""
    readiness: ProbeSpec = ProbeSpec()
    """When the pod gets requests."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield a limit at which the container is killed though nothing is wrong."""
        yield from super().conflicts()
        limit = self.resources.memory_limit
        if limit and quantity(limit) < LEAST_MEMORY:
            yield self.problem(
                "resources.memory_limit",
                f"must be at least {LEAST_MEMORY >> 20}Mi: {VERDICTS_MEMORY >> 20}Mi for cached verdicts, which stand "
                "in memory, and the rest for nginx",
            )


class Port(NamedTuple):
    """A port of the gateway."""

    number: int
    service_port: int | None
    """The port of the Service that leads here; None if none does."""
    node_port: int | None = None
    """The port on every node that leads there; None if the cluster is to choose, where there are any."""


class Gateway(ConfigFiles):
    """The gateway's files, a ConfigMap, and its container: what `registry.gateway` is.

    Attributes:
        spec: The spec.
        ports: The ports by name.
    """

    def __init__(self, scope: Construct, id_: str, *, spec: GatewaySpec, identity: Identity, pod: Pod) -> None:
        """Make the ConfigMap, and add the container and its volumes to the pod."""
        super().__init__(scope, id_, identity=identity, suffix="gateway", files=basic_files())
        self.spec = spec
        self.ports: dict[str, Port] = {}
        self._environment = environment(spec)
        self._mounts: dict[str, Manifest] = {}
        self.add_mount(PACKAGES_VOLUME, PACKAGES_DIRECTORY, read_only=True)
        self.add_mount(RUN_VOLUME, RUN_DIRECTORY)
        self.add_mount(SCRATCH_VOLUME, "/tmp")  # noqa: S108 - of the container
        self.add_mount(VERDICTS_VOLUME, "/var/cache/auth")
        self.add_mount(FILES_VOLUME, FILES_DIRECTORY, read_only=True)
        pod.add_late_container(CONTAINER, self.container)
        pod.add_late_volume(FILES_VOLUME, lambda: self.volume(FILES_VOLUME))
        pod.put_volume(scratch(SCRATCH_VOLUME, spec.temporary_size))
        # In memory, since a cached verdict stands beside the credentials it is about. More than VERDICTS_MEMORY.
        pod.put_volume(scratch(VERDICTS_VOLUME, "128Mi", in_memory=True))

    def add_file(self, place: Place, concern: str, text: str) -> None:
        """Add a file of nginx's configuration, included at this place; one of the same place and concern is replaced.

        Args:
            place: Where it is included, one of PLACES.
            concern: Whose file it is, for its name `<place>-<concern>.conf`.
            text: What is in it.

        Raises:
            ValueError: nginx includes nothing at this place, or no file can be called so.
        """
        if place not in PLACES:
            raise ValueError(f"place {place!r} must be one of {', '.join(PLACES)}")
        if not _CONCERN.fullmatch(concern):
            raise ValueError(f"concern {concern!r} must be letters, digits, -, _ and .: a file is named after it")
        self.files[f"{place}-{concern}.conf"] = text

    def add_port(
        self, name: str, number: int, *, service_port: int | None = None, node_port: int | None = None
    ) -> None:
        """Add a port that nginx listens at, and the ports of the Service and of every node that lead there, if any do.

        Raises:
            ValueError: the name or a number is taken, or Kubernetes would refuse it.
        """
        check_port(name)
        for each in (number, service_port, node_port):
            if each is not None:
                check_port(each)
        if name in self.ports or number in {port.number for port in self.ports.values()}:
            raise ValueError(f"port {name} ({number}) is there already: {self.ports}")
        if service_port is not None and service_port in {port.service_port for port in self.ports.values()}:
            raise ValueError(f"port {name}: service_port ({service_port}) is there already: {self.ports}")
        self.ports[name] = Port(number, service_port, node_port)

    def add_mount(self, volume: str, path: str, *, read_only: bool = False) -> None:
        """Mount a volume of the pod in the container, at a path where none is, or in the place of the one there."""
        self._mounts[path] = mount(volume, path, read_only=read_only)

    def set(self, variable: str, value: str) -> None:
        """Set a variable of the environment that runtime/gateway/start.sh reads; others are GatewaySpec.env.

        Raises:
            ValueError: it reads no such variable.
        """
        check_variable(variable, value, read=_variables_read(), others="GatewaySpec.env")
        self._environment[variable] = value

    def container(self) -> Manifest:
        """Return the container as it is now."""
        container = {
            "name": CONTAINER,
            "image": self.spec.image,
            "command": ["/bin/sh", f"{FILES_DIRECTORY}/start.sh"],
            "env": variables(self._environment),
            "ports": [{"name": name, "containerPort": port.number} for name, port in self.ports.items()],
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            # Only the port: start.sh replaces workers that wait for a volume, and a restart would help no more.
            "livenessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 10},
            "readinessProbe": self.spec.readiness.applied(http_probe("/ready", PORT, period=3, timeout=5, failures=2)),
            # The image's stop signal is SIGQUIT, on which nginx finishes what it has begun.
            "lifecycle": before_stop(f"sleep {DRAIN_SECONDS}"),
            "volumeMounts": list(self._mounts.values()),
        }
        return self.spec.applied(container)


def in_use(states: str) -> str:
    """Return a condition of a shell: one of the ports that clients may come by is in one of these states of Linux.

    Those are all such ports, listened at or not: concerns add ports independently of each other.
    """
    ports = f"{PORT:04X}|{HTTPS_PORT:04X}"
    return f"grep -Eqs ':({ports}) [0-9A-F]+:[0-9A-F]+ ({states})' /proc/net/tcp /proc/net/tcp6"


def after_the_gateway(grace_seconds: int) -> Manifest:
    """Return the lifecycle of a container through which downloads come: it ends when the gateway has none any more.

    Args:
        grace_seconds: The pod's termination grace period.
    """
    waiting = f"while {in_use('01|0A')} && [ $i -lt {grace_seconds - 10} ]"
    return before_stop("i=0", waiting, "do sleep 1; i=$((i+1)); done")


def basic_files() -> dict[str, str]:
    """Return the files that every gateway has, by name: without those that a concern adds."""
    return {name: text for name, text in runtime_files("gateway").items() if not _OF_A_CONCERN.fullmatch(name)}


@cache
def _variables_read() -> frozenset[str]:
    return frozenset(re.findall(r"\$\{([A-Z_]+)-", runtime_files("gateway")["start.sh"]))


def environment(spec: GatewaySpec) -> dict[str, str]:
    """Return what start.sh reads, by variable."""
    return {
        "CONCURRENT_UPLOADS": str(spec.concurrent_uploads),
        "LOG_LEVEL": spec.log_level,
        "MAX_UPLOAD": spec.max_upload,
        "PATH_PREFIX": spec.path_prefix,
        # The API server drops an empty value, and kubectl apply would find a difference every time.
        **({"TRUSTED_PROXIES": " ".join(spec.trusted_proxies)} if spec.trusted_proxies else {}),
    }
