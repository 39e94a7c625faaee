"""Who may reach the pods and whom they may reach: collected from every concern, and made rules by NetworkPolicy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cdk8s_pypiserver.base.fields import check_peer, check_port
from cdk8s_pypiserver.base.peers import DNS_PORT, NAME_SERVERS

Peer = Mapping[str, Any]
"""A NetworkPolicyPeer: `podSelector`, `namespaceSelector`, `ipBlock`."""


Protocol = Literal["TCP", "UDP", "SCTP"]


@dataclass(frozen=True)
class Way:
    """Peers, and the ports on which they may be reached or may reach the pods."""

    peers: Sequence[Peer]
    """Whoever is meant; none at all means nobody."""
    ports: Sequence[int | str]
    """Numbers, or names of ports of the pods; at least one."""
    protocol: Protocol = "TCP"
    """TCP, UDP or SCTP."""

    def __post_init__(self) -> None:
        """Refuse what would open another way than is meant.

        Raises:
            ValueError: names the peer, the port or the protocol, and the reason.
        """
        for peer in self.peers:
            check_peer(peer)
        for port in self.ports:
            check_port(port)
        if not self.ports:
            raise ValueError("ports ([]) must not be empty, which would mean every port")
        if self.protocol not in get_args(Protocol):
            raise ValueError(f"protocol {self.protocol!r} must be one of {', '.join(get_args(Protocol))}")


NAMES = [Way(NAME_SERVERS, [DNS_PORT], "UDP"), Way(NAME_SERVERS, [DNS_PORT], "TCP")]
"""The ways to whoever answers for names."""


class Network:
    """The ways that concerns need: what `registry.network` is. Without a network policy they change nothing."""

    def __init__(self) -> None:
        """Begin with no way at all."""
        self.incoming: list[Way] = []
        self.outgoing: list[Way] = []
        self.isolated: dict[str, list[Way]] = {}
        self._followers: list[Callable[[str], object]] = []

    def allow_from(self, peers: Sequence[Peer], *, ports: Sequence[int | str]) -> None:
        """Let these peers reach these ports of the pods.

        Raises:
            ValueError: there can be no such peer or port.
        """
        self.incoming.append(Way(peers, ports))

    def allow_to(self, peers: Sequence[Peer], *, ports: Sequence[int | str], protocol: Protocol = "TCP") -> None:
        """Let the pods reach these peers on these ports.

        Raises:
            ValueError: there can be no such peer or port.
        """
        self.outgoing.append(Way(peers, ports, protocol))

    def isolate(self, component: str, ways: Sequence[Way]) -> None:
        """Let pods that bear this label `app.kubernetes.io/component`, those of a Job, reach these and nobody else.

        Nobody reaches them. Said again of the same pods, it takes the place of what was said before.
        """
        self.isolated[component] = [*ways]
        for follow in self._followers:
            follow(component)

    def follow(self, make: Callable[[str], object]) -> None:
        """Have this called with every component that is isolated, those to come included."""
        self._followers.append(make)
        for component in self.isolated:
            make(component)

    def allow_names(self) -> None:
        """Let the pods look names up; said twice it is one way."""
        self.outgoing += [way for way in NAMES if way not in self.outgoing]

    def admit(self, other: "Network") -> None:
        """Let in whom another registry lets in, and isolate pods of Jobs as it does if nothing is said of them here."""
        self.incoming += [way for way in other.incoming if way not in self.incoming]
        for component, ways in other.isolated.items():
            if component not in self.isolated:
                self.isolate(component, ways)

    def reaching(self, other: "Network") -> "Network":
        """Return these ways together with the ways out that another registry needs."""
        more = [way for way in other.outgoing if way not in NAMES or way not in self.outgoing]
        made = Network()
        made.admit(self)
        made.outgoing = [*self.outgoing, *more]
        return made
