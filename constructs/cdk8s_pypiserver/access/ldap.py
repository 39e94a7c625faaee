"""Users of a directory (LDAP, Active Directory): a container with Apache httpd, which alone speaks its protocol."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.fields import Image, Name, Peer
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.peers import PRIVATE
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem
from cdk8s_pypiserver.base.variables import variables
from cdk8s_pypiserver.pod.container import ContainerSpec
from cdk8s_pypiserver.pod.gateway import after_the_gateway
from cdk8s_pypiserver.pod.hardening import exec_probe, hardened, mount, requirements, scratch

from .directory import Attribute, DistinguishedName, Server, UserFilter, UserTemplate, groups_twice

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

CONTAINER = "ldap"
PORT = 8085
"""On loopback, as in runtime/ldap/httpd.conf."""
FILES_DIRECTORY = "/etc/pypiserver/ldap"
FILES_VOLUME = "ldap-files"
CA_DIRECTORY = "/etc/pypiserver/ldap-ca"
CA_VOLUME = "ldap-ca"
BIND_DIRECTORY = "/etc/pypiserver/ldap-bind"
BIND_VOLUME = "ldap-bind"
SCRATCH_VOLUME = "ldap-tmp"
LONGEST_ANSWER_SECONDS = 9
"""How long the server waits for one (runtime/server/access/judge.py)."""
_USUAL_PORTS = {"ldaps": 636, "starttls": 389, "none": 389}


class LDAPSpec(ContainerSpec):
    """The users of a directory and what they may do, by the groups that they are in.

    Names of the Secret of AuthSpec count first, and the directory is never asked about them: those are for robots, and
    for the day on which it is away.
    """

    image: Image = images.LDAP
    """Image; another one must hold httpd 2.4 in /usr/local/apache2, with mod_authnz_ldap, and a shell."""
    servers: Annotated[Sequence[Server], Field(min_length=1, max_length=8)]
    """Hosts, each with a port or at the usual one; the first that answers is asked."""
    security: Literal["ldaps", "starttls", "none"] = "ldaps"
    """TLS from the start, TLS by StartTLS, or none: then passwords go over the network as they are."""
    ca_config_map: Name | None = None
    """ConfigMap with the certificates that issued those of the servers, in the key `ca.crt`. Read again when it
    changes."""
    ca_secret: Name | None = None
    """A Secret in its place."""
    base: DistinguishedName
    """Where users are searched below."""
    user_attribute: Attribute = "uid"
    """What of a user is the name to log in with; `sAMAccountName` in Active Directory."""
    user_filter: UserFilter = "(objectClass=*)"
    """Filter that a user matches besides."""
    bind_dn: DistinguishedName | None = None
    """Who searches for users and looks into groups."""
    bind_secret: Name | None = None
    """Secret with the password of `bind_dn` in the key `password`; `<name>-ldap` by default. Read again when it
    changes."""
    bind_template: UserTemplate | None = None
    """Who a user is to the directory, with `$1` for the name, where nobody searches: users bind by themselves, and have
    to see themselves and, with `membership` "member", the groups."""
    readers: Sequence[DistinguishedName] = ()
    """Groups whose members may read."""
    everybody_reads: bool = False
    """Whether whoever is found and has the right password may read, in the place of `readers`."""
    publishers: Sequence[DistinguishedName] = ()
    """Groups whose members may publish and read."""
    membership: Literal["member", "memberOf", "in-chain"] = "member"
    """Whether a group names its members, or a user names the groups by the attribute memberOf, or that with groups in
    groups by the rule of Active Directory (LDAP_MATCHING_RULE_IN_CHAIN)."""
    group_attribute: Attribute = "member"
    """What of a group names its members, by their distinguished names."""
    nested_groups: Annotated[int, Field(ge=0, le=20)] = 0
    """How deep groups in groups are followed with `membership` "member", a question for each group."""
    seconds: Annotated[int, Field(ge=5, le=3600)] = 60
    """How long an answer counts, in all places together: how late a change may be noticed, and how long users who were
    there lately get in while the directory is away."""
    guesses: Annotated[int, Field(ge=1, le=100)] = 4
    """Wrong passwords of one user that a pod passes on within a quarter of an hour, fewer than the directory takes
    before it locks the user out."""
    connect_seconds: Annotated[int, Field(ge=1, le=8)] = 2
    """Seconds in which a server has to accept a connection before the next is tried."""
    answer_seconds: Annotated[int, Field(ge=1, le=8)] = 4
    """Seconds in which it has to answer."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PRIVATE
    """Peers (NetworkPolicyPeer) that a network policy lets the pods reach at the ports of the servers; every private
    address by default."""
    resources: Resources = Resources(cpu_request="20m", memory_request="32Mi", memory_limit="128Mi")
    """Requests and limits."""

    @property
    def ports(self) -> list[int]:
        """The ports at which the servers are reached."""
        return sorted({port for _, port in self._places})

    @property
    def _places(self) -> list[tuple[str, int]]:
        """Host and port of each server."""
        parts = (server.partition(":") for server in self.servers)
        return [(host, int(port) if port else _USUAL_PORTS[self.security]) for host, _, port in parts]

    def conflicts(self) -> Iterator[Problem]:
        """Yield what cannot work together, or would let in others than were meant."""
        yield from super().conflicts()
        yield from _certificates(self)
        yield from _account(self)
        for number, place in enumerate(self._places):
            first = self._places.index(place)
            if self.servers[first] != self.servers[number]:
                reason = f"is there twice: servers[{first}] ({self.servers[first]}) is the same"
                yield Problem(("servers", number), self.servers[number], reason)
        yield from groups_twice(self.readers, self.publishers, spelt=_entry)
        if self.readers and self.everybody_reads:
            yield self.problem("readers", "must be left out with everybody_reads")
        if not self.readers and not self.publishers and not self.everybody_reads:
            yield Problem(("publishers",), NO_VALUE, "must name a group, unless readers does: nobody is let in")
        if self.membership != "member":
            for field in ("group_attribute", "nested_groups"):
                if getattr(self, field) != type(self).model_fields[field].default:
                    reason = f"must be left out with membership {self.membership}: no group is looked into"
                    yield self.problem(field, reason)
        longest = self.connect_seconds * len(self.servers) + self.answer_seconds
        if longest > LONGEST_ANSWER_SECONDS:
            reason = (
                f"must be smaller: with {len(self.servers)} servers and answer_seconds ({self.answer_seconds}) an "
                f"answer takes up to {longest} s, and clients wait for {LONGEST_ANSWER_SECONDS}"
            )
            yield self.problem("connect_seconds", reason)


def _entry(name: str) -> str:
    """Return the name of an entry as directories compare most of them (RFC 4518)."""
    return re.sub(r"\s*([,=+])\s*", r"\1", name).casefold()


def _certificates(spec: LDAPSpec) -> Iterator[Problem]:
    if spec.ca_config_map and spec.ca_secret:
        yield spec.problem("ca_secret", f"must be left out with ca_config_map ({spec.ca_config_map})")
    given = spec.ca_config_map or spec.ca_secret
    if spec.security == "none" and given:
        field = "ca_config_map" if spec.ca_config_map else "ca_secret"
        yield spec.problem(field, "must be left out with security none: no certificate is looked at")
    if spec.security != "none" and not given:
        reason = f"must be given, or ca_secret, with security {spec.security}: no other certificate is trusted"
        yield Problem(("ca_config_map",), NO_VALUE, reason)


def _account(spec: LDAPSpec) -> Iterator[Problem]:
    if spec.bind_dn and spec.bind_template:
        yield spec.problem("bind_template", f"must be left out with bind_dn ({spec.bind_dn})")
    elif not spec.bind_dn and not spec.bind_template:
        yield Problem(("bind_dn",), NO_VALUE, "must be given, or bind_template")
    if spec.bind_secret and not spec.bind_dn:
        yield spec.problem("bind_secret", "must be left out without bind_dn: nobody binds with it")


class LDAP(Construct):
    """The container that asks the directory, and what the server has to know of it.

    Attributes:
        files: ConfigMap of its configuration.
        bind_secret: Name of the Secret with the password of the account that searches.
    """

    def __init__(
        self, sockets: "Sockets", id_: str, *, spec: LDAPSpec, groups: Mapping[str, str] | None = None
    ) -> None:
        """Join the registry; `groups` has the distinguished names of the groups of the permissions, by their names."""
        super().__init__(sockets, id_)
        self.spec = spec
        self._groups = groups or {}
        self.bind_secret = spec.bind_secret or sockets.identity.name_of("ldap")
        self._sockets = sockets
        self.files = ConfigFiles(self, "Default", identity=sockets.identity, suffix="ldap", files=runtime_files("ldap"))
        self._mounts = [
            mount(FILES_VOLUME, FILES_DIRECTORY, read_only=True),
            mount(SCRATCH_VOLUME, "/tmp"),  # noqa: S108 - of the container
        ]
        sockets.pod.add_late_container(CONTAINER, self.container)
        sockets.pod.add_late_volume(FILES_VOLUME, lambda: self.files.volume(FILES_VOLUME))
        sockets.pod.put_volume(scratch(SCRATCH_VOLUME, "16Mi"))
        # Optional: robots get in without the directory, and the log of the container says what is missing.
        if spec.ca_config_map:
            self._mount(CA_VOLUME, CA_DIRECTORY, {"configMap": {"name": spec.ca_config_map, "optional": True}})
        elif spec.ca_secret:
            self._mount(CA_VOLUME, CA_DIRECTORY, {"secret": {"secretName": spec.ca_secret, "optional": True}})
        if spec.bind_dn:
            self._mount(BIND_VOLUME, BIND_DIRECTORY, {"secret": {"secretName": self.bind_secret, "optional": True}})
        sockets.server.set("DIRECTORY_PORT", str(PORT))
        sockets.server.set("DIRECTORY_SECONDS", str(spec.seconds))
        sockets.server.set("DIRECTORY_GUESSES", str(spec.guesses))
        sockets.network.allow_to(spec.peers, ports=spec.ports)
        sockets.network.allow_names()
        sockets.pod.keep_port(PORT, container=CONTAINER)

    def container(self) -> Manifest:
        """Return the container."""
        container = {
            "name": CONTAINER,
            "image": self.spec.image,
            "command": ["/bin/sh", f"{FILES_DIRECTORY}/start.sh"],
            "env": variables(_environment(self.spec, self._groups)),
            "securityContext": hardened(),
            "resources": requirements(self.spec.resources),
            # It listens on loopback, and the image need not have a client. The pod is ready without it.
            "livenessProbe": exec_probe(
                "grep", "-q", f":{PORT:04X} 00000000:0000 0A", "/proc/net/tcp", period=10, timeout=5, failures=3
            ),
            "lifecycle": after_the_gateway(self._sockets.server.grace_seconds),
            "volumeMounts": self._mounts,
        }
        return self.spec.applied(container)

    def _mount(self, volume: str, directory: str, source: Manifest) -> None:
        """Mount a whole directory, as a subPath never sees a change."""
        self._sockets.pod.put_volume({"name": volume, **source})
        self._mounts.append(mount(volume, directory, read_only=True))


def _environment(spec: LDAPSpec, groups: Mapping[str, str]) -> dict[str, str | Manifest]:
    """Return what start.sh reads, by variable; the API server drops empty values."""
    values = {
        "LDAP_SERVERS": " ".join(spec.servers),
        "LDAP_SECURITY": spec.security,
        "LDAP_BASE": spec.base,
        "LDAP_USER_ATTRIBUTE": spec.user_attribute,
        "LDAP_USER_FILTER": spec.user_filter,
        "LDAP_BIND_DN": spec.bind_dn or "",
        "LDAP_BIND_TEMPLATE": spec.bind_template or "",
        "LDAP_READERS": "*" if spec.everybody_reads else "\n".join(spec.readers),
        "LDAP_PUBLISHERS": "\n".join(spec.publishers),
        "LDAP_GROUPS": "\n".join(f"{name} {group}" for name, group in groups.items()),
        "LDAP_MEMBERSHIP": spec.membership,
        "LDAP_GROUP_ATTRIBUTE": spec.group_attribute,
        "LDAP_NESTED_GROUPS": str(spec.nested_groups),
        "LDAP_CONNECT_SECONDS": str(spec.connect_seconds),
        "LDAP_ANSWER_SECONDS": str(spec.answer_seconds),
    }
    return {name: value for name, value in values.items() if value}
