"""Public packages through the registry: a container that is the only one to speak with the outside."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.addresses import ProxyUrl
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Peer, quantity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.patterns import NamePattern, PatternIndex, ProjectName, Requirement, names_of, normalised
from cdk8s_pypiserver.base.peers import PUBLIC
from cdk8s_pypiserver.base.places import Place, place
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.pod.container import ContainerSpec
from cdk8s_pypiserver.pod.gateway import Place as GatewayPlace
from cdk8s_pypiserver.pod.gateway import after_the_gateway
from cdk8s_pypiserver.pod.hardening import exec_probe, hardened, health, mount, requirements
from cdk8s_pypiserver.pod.server import FILES_DIRECTORY as SERVER_DIRECTORY

from . import cache, watching
from .cache import UpstreamCacheSpec
from .indexes import UpstreamIndexSpec

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

CONTAINER = "upstream"
PORT = 8083
"""On loopback, as in runtime/gateway/server-upstream.conf."""
FILE = "upstream.json"
FILES_DIRECTORY = "/etc/pypiserver/upstream"
FILES_VOLUME = "upstream-files"
CREDENTIALS_DIRECTORY = "/etc/pypiserver/upstream-credentials"
CA_DIRECTORY = "/etc/pypiserver/upstream-ca"
CONFIGURATION = "UPSTREAM_CONFIGURATION"
"""Variable that names the file of the configuration; a server without it has no upstream."""
ROOMS = ("fetching", "http", "index", "upstream")
"""Rooms of runtime/server that the program is made of."""
_PLACES: tuple[GatewayPlace, ...] = ("http", "server", "project", "metrics")


class UpstreamSpec(ContainerSpec):
    """Public packages under the registry's own address, of indexes that are named here; the image is the server's.

    A name that has a file here is private, and so is what `private_names` matches: it is never asked for elsewhere.
    Patterns and names may be in any spelling.
    """

    indexes: Annotated[Sequence[UpstreamIndexSpec], Field(min_length=1)]
    """The indexes; a project is that of the first which has it."""
    private_names: Sequence[NamePattern] = ()
    """Names that are private also while nothing is published under them."""
    merge: Sequence[ProjectName] = ()
    """Projects of which both are shown, our files and those of upstream; ours count where one of each has the same
    name."""
    shadowing: Literal["refused", "allowed"] = "refused"
    """Whether a new project may be published here whose name an index has, and which neither `private_names` nor
    `merge` has: from then on it is private, and what others installed before is gone for them."""
    minimum_age_days: Annotated[int, Field(ge=0, le=3650)] = 0
    """Days since its upload before a file is shown; one of which the index tells no time is not shown then."""
    no_minimum_age: Sequence[NamePattern] = ()
    """Names for which `minimum_age_days` does not count."""
    allow: Sequence[Requirement] = ()
    """What of upstream is shown; everything if nothing is said."""
    deny: Sequence[Requirement] = ()
    """What of upstream is not shown, whatever `allow` has."""
    page_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    """Seconds before an index is asked whether a page is still good."""
    cache: UpstreamCacheSpec = UpstreamCacheSpec()
    """Where files are kept."""
    proxy: ProxyUrl | None = None
    """Forward proxy by which the indexes are reached, by CONNECT for those with TLS."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PUBLIC
    """Peers (NetworkPolicyPeer) that a network policy lets the pods reach, at the ports of the indexes, of their file
    hosts, or of the proxy; every public address by default."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity of what is logged."""
    resources: Resources = Resources(cpu_request="50m", memory_limit="1Gi")
    """Requests and limits."""

    @property
    def places(self) -> list[Place]:
        """Where the pods connect to."""
        if self.proxy:
            return [place(self.proxy)]
        return list(dict.fromkeys(each for index in self.indexes for each in index.places))

    def conflicts(self) -> Iterator[Problem]:
        """Yield indexes that could not be told apart, and patterns that are in each other's way."""
        yield from super().conflicts()
        yield from _twins(self)
        yield from _without_effect(self)
        limit = self.resources.ephemeral_storage_limit
        if limit and not self.cache.existing_claim and quantity(limit) < quantity(self.cache.size):
            reason = f"must not be below cache.size ({self.cache.size}): the pod is evicted before the cache is full"
            yield self.problem("resources.ephemeral_storage_limit", reason)

    def configuration(self) -> Mapping[str, Any]:
        """Return what the program reads."""
        return {
            "indexes": [
                {
                    "name": index.called,
                    "url": index.address,
                    "file_hosts": list(index.file_hosts),
                    "credentials": index.credentials_secret is not None,
                    "ca": bool(index.ca_config_map or index.ca_secret),
                    "plain_http": index.plain_http,
                }
                for index in self.indexes
            ],
            **{
                field: list(dict.fromkeys(map(normalised, getattr(self, field))))
                for field in ("private_names", "merge", "no_minimum_age", "allow", "deny")
            },
            "shadowing": self.shadowing,
            "minimum_age_days": self.minimum_age_days,
            "page_seconds": self.page_seconds,
            "cache_bytes": self.cache.bytes_of_files,
            "proxy": self.proxy,
        }


def _twins(spec: UpstreamSpec) -> Iterator[Problem]:
    taken: dict[str, int] = {}
    addresses: dict[str, int] = {}
    for number, index in enumerate(spec.indexes):
        if index.called in taken:
            reason = f"must be another one than that of indexes[{taken[index.called]}] ({index.called})"
            yield Problem(("indexes", number, "name"), index.name, reason)
        if index.address in addresses:
            reason = f"is there twice: indexes[{addresses[index.address]}] has it"
            yield Problem(("indexes", number, "url"), index.url, reason)
        taken.setdefault(index.called, number)
        addresses.setdefault(index.address, number)


def _without_effect(spec: UpstreamSpec) -> Iterator[Problem]:
    private = PatternIndex((normalised(pattern), normalised(pattern)) for pattern in spec.private_names)
    denied = PatternIndex((names_of(normalised(each))[0], normalised(each)) for each in spec.deny)
    for number, name in enumerate(spec.merge):
        if found := private.covering(normalised(name)):
            reason = f"cannot be had with private_names ({found[0]}): what is private is never asked for elsewhere"
            yield Problem(("merge", number), name, reason)
    for number, requirement in enumerate(spec.allow):
        allowed, versions = names_of(normalised(requirement))
        if rule := next((each for each in denied.covering(allowed) if names_of(each)[1] in ("", versions)), None):
            yield Problem(("allow", number), requirement, f"cannot be had with deny ({rule}), which counts more")
        if found := private.covering(allowed):
            reason = f"cannot be had with private_names ({found[0]}): what is private is never asked for elsewhere"
            yield Problem(("allow", number), requirement, reason)
    if spec.no_minimum_age and not spec.minimum_age_days:
        yield spec.problem("no_minimum_age", "must be left out without minimum_age_days: no file is too young then")


class Upstream(Construct):
    """The container that asks the indexes, its configuration, and what gateway and server have to know of it.

    Attributes:
        files: ConfigMap of the configuration.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: UpstreamSpec) -> None:
        """Join the registry."""
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        configuration = json.dumps(spec.configuration(), indent=2) + "\n"
        self.files = ConfigFiles(
            self, "Default", identity=sockets.identity, suffix="upstream", files={FILE: configuration}
        )
        self._mounts = [
            mount(cache.VOLUME, cache.DIRECTORY),
            mount(FILES_VOLUME, FILES_DIRECTORY, read_only=True),
            *(mount(f"server-{room}", f"{SERVER_DIRECTORY}/{room}", read_only=True) for room in ROOMS),
        ]
        sockets.pod.add_late_container(CONTAINER, self.container)
        sockets.pod.add_late_volume(FILES_VOLUME, lambda: self.files.volume(FILES_VOLUME))
        sockets.pod.put_volume(spec.cache.volume())
        for index in spec.indexes:
            self._add_secrets(index)
        sockets.server.add_room("upstream")
        sockets.server.set(CONFIGURATION, f"{FILES_DIRECTORY}/{FILE}")
        sockets.server.add_mount(FILES_VOLUME, FILES_DIRECTORY, read_only=True)
        # Not read-only: there Linux would not note when a file was last read, by which the cache knows what may go.
        sockets.gateway.add_mount(cache.VOLUME, cache.DIRECTORY)
        shipped = runtime_files("gateway")
        for included in _PLACES:
            sockets.gateway.add_file(included, "upstream", shipped[f"{included}-upstream.conf"])
        ports = sorted({each.port for each in spec.places})
        sockets.network.allow_to(spec.peers, ports=ports)
        sockets.network.allow_names()
        watching.watch(sockets.monitoring)
        sockets.pod.keep_port(PORT, container=CONTAINER)

    def container(self) -> Manifest:
        """Return the container."""
        environment = {
            CONFIGURATION: f"{FILES_DIRECTORY}/{FILE}",
            "LOG_LEVEL": self.spec.log_level,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": SERVER_DIRECTORY.rpartition("/")[0],
            "UPSTREAM_CACHE": cache.DIRECTORY,
        }
        server = self._sockets.server
        container = {
            "name": CONTAINER,
            "image": server.spec.image,
            "command": ["python", "-m", "server.upstream.main"],
            "env": variables(environment),
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            # It listens on loopback only. The pod is ready without it: private packages need nobody else.
            "livenessProbe": exec_probe(*health(PORT), period=30, timeout=10, failures=3),
            "lifecycle": after_the_gateway(server.grace_seconds),
            "volumeMounts": self._mounts,
        }
        return self.spec.applied(container)

    def _add_secrets(self, index: UpstreamIndexSpec) -> None:
        """Mount credentials and certificates of an index: whole directories, as a subPath never sees a change."""
        sources: dict[str, Manifest] = {}
        if index.credentials_secret:
            # Optional: the registry goes on without the index, and its log says what is missing.
            sources[CREDENTIALS_DIRECTORY] = {"secret": {"secretName": index.credentials_secret, "optional": True}}
        if index.ca_config_map:
            sources[CA_DIRECTORY] = {"configMap": {"name": index.ca_config_map, "optional": True}}
        elif index.ca_secret:
            sources[CA_DIRECTORY] = {"secret": {"secretName": index.ca_secret, "optional": True}}
        for directory, source in sources.items():
            volume = f"{directory.rpartition('/')[2]}-{index.called}"
            self._sockets.pod.put_volume({"name": volume, **source})
            self._mounts.append(mount(volume, f"{directory}/{index.called}", read_only=True))
