"""The file that says which indexes are asked, and what of them is served."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from server.index.patterns import Patterns, Rules

if TYPE_CHECKING:
    from pathlib import Path

PORTS = {"http": 80, "https": 443}


class ConfigurationError(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class IndexConfiguration:
    """One index."""

    name: str
    """What it is called in metrics and logs, and the name of the folders with its credentials and its certificates."""
    url: str
    """The address below which the projects are, with a slash at its end."""
    file_hosts: tuple[str, ...] = ()
    """Hosts, each perhaps with a port, that its files may be fetched from besides its own."""
    credentials: bool = False
    """Whether there are a user's name and a password for it."""
    ca: bool = False
    """Whether there are certificates of authorities to be trusted instead of the usual ones."""
    plain_http: bool = False
    """Whether it may be asked without TLS."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return origin(self.url)

    @property
    def origins(self) -> frozenset[tuple[str, str, int]]:
        """Scheme, host and port of everything that may be fetched from."""
        schemes = ("https", "http") if self.plain_http else ("https",)
        others = (origin(f"{scheme}://{host}") for scheme in schemes for host in self.file_hosts)
        return frozenset((self.origin, *others))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the file says."""

    indexes: tuple[IndexConfiguration, ...]
    """Asked in this order: the first that has a project is the one that it comes from."""
    private_names: Patterns = field(default_factory=Patterns)
    """Names that are never asked for."""
    merge: frozenset[str] = frozenset()
    """Normalised names of which the registry's own files and the public ones are listed together."""
    shadowing: bool = False
    """Whether a new name may be published that a public project has."""
    minimum_age_days: float = 0.0
    """How old a file has to be."""
    no_minimum_age: Patterns = field(default_factory=Patterns)
    """Names whose files may be younger."""
    allow: Rules = field(default_factory=Rules)
    """What alone is served, if there is any rule."""
    deny: Rules = field(default_factory=Rules)
    """What is not served."""
    page_seconds: float = 600.0
    """How long a page is good without asking again."""
    cache_bytes: int = 10 * 2**30
    """How much the files may take."""
    proxy: str | None = None
    """The forward proxy that leads to the indexes."""

    @classmethod
    def from_file(cls, path: Path) -> Configuration:
        """Read the file.

        Raises:
            ConfigurationError: It cannot be read, or says what cannot be.
        """
        try:
            read: dict[str, Any] = json.loads(path.read_text("utf-8"))
            indexes = tuple(_index(each) for each in read.pop("indexes"))
            configuration = cls(
                indexes=indexes,
                private_names=Patterns(read.pop("private_names", ())),
                no_minimum_age=Patterns(read.pop("no_minimum_age", ())),
                allow=Rules(read.pop("allow", ())),
                deny=Rules(read.pop("deny", ())),
                merge=frozenset(Patterns.normalised(name) for name in read.pop("merge", ())),
                shadowing=read.pop("shadowing", "refused") == "allowed",
                **read,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{path} cannot be used: {error!r}") from error
        if not indexes:
            raise ConfigurationError(f"{path} names no index")
        return configuration


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address.

    Raises:
        ValueError: It is not one of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is no address of HTTP")
    if not url.isascii() or not url.isprintable() or " " in url:
        # One that has to be quoted once more would be another one.
        raise ValueError(f"{url!r} is not quoted")
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def _index(read: dict[str, Any]) -> IndexConfiguration:
    fields = {**read, "file_hosts": tuple(read.get("file_hosts", ())), "url": f"{read['url'].rstrip('/')}/"}
    index = IndexConfiguration(**fields)
    if index.origin[0] != "https" and not index.plain_http:
        raise ValueError(f"{index.url} is without TLS")
    return index
