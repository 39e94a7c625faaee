"""Places on a network: a host and a port."""

import ipaddress
import re
from typing import NamedTuple

PARTS = re.compile(r"(?:(?P<scheme>https?)://)?(?P<host>\[[^\]]*\]|[^:/]*)(?::(?P<port>[0-9]+))?(?P<path>/.*)?")
"""The parts of an address."""
_USUAL_PORTS = {"http": 80, "https": 443}
_OF_A_CLUSTER = (".svc", ".cluster.local")


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    @property
    def is_private(self) -> bool:
        """Whether nobody could mean a public address: one of a private network, or a name that only a cluster knows."""
        try:
            return not ipaddress.ip_address(self.host.strip("[]")).is_global
        except ValueError:
            return "." not in self.host or self.host.endswith(_OF_A_CLUSTER)


def place(address: str, scheme: str = "https") -> Place:
    """Return where an address leads: a URL, or `host` or `host:port` that is reached by this scheme."""
    parts = PARTS.fullmatch(address)
    if parts is None:
        raise ValueError(f"{address} is no address")
    return Place(parts["host"], int(parts["port"] or _USUAL_PORTS[parts["scheme"] or scheme]))
