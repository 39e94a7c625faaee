"""Users of a service that judges credentials for others, as auth_request of nginx asks: oauth2-proxy or Authelia."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cdk8s_pypiserver.base.addresses import ServiceUrl
from cdk8s_pypiserver.base.fields import Form, Name, Peer, Port
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.peers import PRIVATE
from cdk8s_pypiserver.base.places import place
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem

from .directory import groups_twice

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

CA_DIRECTORY = "/etc/pypiserver/external-auth-ca"
CA_VOLUME = "external-auth-ca"

Header = Annotated[str, Form(r"[A-Za-z][A-Za-z0-9-]*", "must be the name of a header such as X-Auth-Request-User", 64)]
"""The name of a header."""

ExternalGroup = Annotated[
    str,
    Form(r"[^\s,*](?:[^\x00-\x1f\x7f,]*[^\s,])?", "must be a group as the header has it, without commas", 256),
]
"""The name of a group, in the words of the service."""


class ExternalAuthSpec(Spec):
    """A service that says whether credentials are right, who their user is and of which groups.

    Names of the Secret of AuthSpec count first, and the service is never asked about them: those are for robots, and
    for the day on which it is away.
    """

    url: ServiceUrl
    """What is asked with the Authorization header of the user, such as `http://oauth2-proxy.auth:4180/oauth2/auth`: 2xx
    with the two headers for a right password, 401, 403 or a redirect for a wrong one. Passwords go there as they are,
    unless it is https."""
    ca_config_map: Name | None = None
    """ConfigMap with the certificates that issued the service's, in the key `ca.crt`, for https. Read again when it
    changes."""
    user_header: Header = "X-Auth-Request-User"
    """The header of its answer with the name of the user, which must be the one that was typed; `Remote-User` of
    Authelia. An answer without it lets nobody in."""
    groups_header: Header = "X-Auth-Request-Groups"
    """The header of its answer with the groups, with commas between them; `Remote-Groups` of Authelia."""
    original_url: ServiceUrl | None = None
    """Address of the registry, told as `X-Original-URL` to services that have rules by it, such as Authelia; None tells
    none."""
    readers: Sequence[ExternalGroup] = ()
    """Groups whose members may read."""
    everybody_reads: bool = False
    """Whether everybody whose password is right may read, in the place of `readers`."""
    publishers: Sequence[ExternalGroup] = ()
    """Groups whose members may publish and read."""
    seconds: Annotated[int, Field(ge=5, le=3600)] = 60
    """How long an answer counts, in all places together: how late a change may be noticed, and how long users who were
    there lately get in while the service is away."""
    guesses: Annotated[int, Field(ge=1, le=100)] = 4
    """Wrong passwords of one user that a pod passes on within a quarter of an hour."""
    ports: Sequence[Port] = ()
    """Ports of the service's pods, which a network policy opens; that of `url` by default."""
    peers: Annotated[Sequence[Peer], Field(min_length=1)] = PRIVATE
    """Peers (NetworkPolicyPeer) that a network policy lets the pods reach at these ports; every private address by
    default."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what cannot work together, or would let in others than were meant."""
        yield from super().conflicts()
        if self.url.startswith("https://") and not self.ca_config_map:
            yield Problem(("ca_config_map",), NO_VALUE, "must be given with https: no other certificate is trusted")
        if self.ca_config_map and not self.url.startswith("https://"):
            yield self.problem("ca_config_map", f"must be left out with url {self.url}: no certificate is looked at")
        yield from groups_twice(self.readers, self.publishers)
        if self.readers and self.everybody_reads:
            yield self.problem("readers", "must be left out with everybody_reads")
        if not self.readers and not self.publishers and not self.everybody_reads:
            yield Problem(("publishers",), NO_VALUE, "must name a group, unless readers does: nobody is let in")
        if self.user_header.lower() == self.groups_header.lower():
            yield self.problem("groups_header", "must be another header than user_header")


class ExternalAuth:
    """What the server has to know of the service: what `registry.external_auth` is.

    Attributes:
        spec: The spec.
    """

    def __init__(self, sockets: "Sockets", spec: ExternalAuthSpec) -> None:
        """Join the registry."""
        self.spec = spec
        values = {
            "EXTERNAL_AUTH_URL": spec.url,
            "EXTERNAL_AUTH_USER_HEADER": spec.user_header,
            "EXTERNAL_AUTH_GROUPS_HEADER": spec.groups_header,
            "EXTERNAL_AUTH_ORIGINAL_URL": spec.original_url or "",
            "EXTERNAL_AUTH_READERS": "*" if spec.everybody_reads else "\n".join(spec.readers),
            "EXTERNAL_AUTH_PUBLISHERS": "\n".join(spec.publishers),
            "EXTERNAL_AUTH_CERTIFICATES": f"{CA_DIRECTORY}/ca.crt" if spec.ca_config_map else "",
            "DIRECTORY_SECONDS": str(spec.seconds),
            "DIRECTORY_GUESSES": str(spec.guesses),
        }
        for name, value in values.items():
            if value:
                sockets.server.set(name, value)
        if spec.ca_config_map:
            # Optional: robots get in without the service, and the log of the server says what is missing.
            source = {"configMap": {"name": spec.ca_config_map, "optional": True}}
            sockets.pod.put_volume({"name": CA_VOLUME, **source})
            sockets.server.add_mount(CA_VOLUME, CA_DIRECTORY, read_only=True)
        sockets.network.allow_to(spec.peers, ports=[*spec.ports] or [place(spec.url).port])
        sockets.network.allow_names()
