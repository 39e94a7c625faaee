"""Peers of a network policy that more than one concern needs."""

from collections.abc import Mapping
from typing import Any, Final

DNS_PORT: Final = 53

# Pods, and what has no pod: a cache on the node, or name servers elsewhere.
NAME_SERVERS: Final[tuple[Mapping[str, Any], ...]] = (
    {"namespaceSelector": {}},
    {"ipBlock": {"cidr": "0.0.0.0/0"}},
    {"ipBlock": {"cidr": "::/0"}},
)
"""Whoever answers for names."""

PUBLIC: Final[tuple[Mapping[str, Any], ...]] = (
    {
        "ipBlock": {
            "cidr": "0.0.0.0/0",
            "except": [
                "0.0.0.0/8",
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "224.0.0.0/3",
            ],
        }
    },
    {"ipBlock": {"cidr": "2000::/3"}},
    # Addresses of version 4, for pods that have version 6 alone (NAT64).
    {"ipBlock": {"cidr": "64:ff9b::/96"}},
)
"""Every address but those of private networks, of links and of groups."""

PRIVATE: Final[tuple[Mapping[str, Any], ...]] = tuple(
    {"ipBlock": {"cidr": cidr}}
    for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""Every address of a private network."""
