"""Trusted publishers: jobs that their issuer of identities (OpenID Connect) vouches for, and the tokens made for them.

A token is a name, an end and a signature by a key of the Secret: every pod that has the key knows it, none keeps it.
What it is good for is looked up when it is used, so a publisher that is taken away is refused at once.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from server.access import json_file
from server.access.followed import Followed
from server.access.token_lines import NAME, Token, checked_projects
from server.access.tokens import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from server.pod.settings import Settings

LIFETIME_SECONDS = 15 * 60
CLOCKS_APART_SECONDS = 5 * 60
"""How far the clocks of pods and issuers may be apart."""
KEY = "signing-key"
"""The key of the Secret that has the key."""
SHORTEST_KEY = 32
"""Characters of it."""
_TOKEN = re.compile(rf"pypiserver-trusted_(?P<name>{NAME})_(?P<end>[0-9]{{1,12}})_(?P<signature>[0-9a-f]{{64}})")
_log = logging.getLogger("trusted")


class PublishersError(ValueError):
    """The trusted publishers cannot be used; the text says why."""


@dataclass(frozen=True)
class Publisher:
    """A job that may publish."""

    name: str
    issuer: str
    claims: Mapping[str, str]
    """What the issuer has to say of the job."""
    projects: tuple[str, ...]

    def is_meant(self, said: Mapping[str, Any]) -> bool:
        """Whether an identity is that of the job; a claim that is no plain value is none that can be compared."""
        return all(_plain(said.get(claim)) == value for claim, value in self.claims.items())


@dataclass(frozen=True)
class Publishers:
    """What the file of trusted publishers says."""

    audience: str
    """Whom identities are for: this registry, and no other one."""
    verifier: str
    """What says whether an identity is of an issuer, for the audience and not ended: 2xx to GET with it as Bearer."""
    publishers: tuple[Publisher, ...]

    @classmethod
    def from_file(cls, path: Path) -> Publishers:
        """Read the file.

        Raises:
            PublishersError: It cannot be read, or says what cannot be.
        """
        try:
            said = json_file.read(path)
            made = tuple(_publisher(each, f"publishers[{at}]") for at, each in enumerate(said["publishers"]))
            audience, verifier = (_text(said[field], field) for field in ("audience", "verifier"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PublishersError(f"{path} cannot be used: {error!r}") from error
        # A token says of its publisher the name alone.
        if twice := [name for name, number in Counter(each.name for each in made).items() if number > 1]:
            raise PublishersError(f"{path} cannot be used: there are several publishers called {twice[0]}")
        return cls(audience, verifier, made)

    def tokens(self, settings: Settings) -> TrustedTokens:
        """What makes and knows their tokens."""
        return TrustedTokens(self, settings.credentials_directory / KEY)

    def issued_by(self, issuer: object) -> list[Publisher]:
        """Those of an issuer."""
        return [each for each in self.publishers if each.issuer == issuer]


class TrustedTokens:
    """Makes tokens for trusted publishers, and knows them."""

    def __init__(self, publishers: Publishers, key: Path, clock: Callable[[], float] = time.time) -> None:
        """Sign with the key in the file `key`; `clock` says the time, in seconds."""
        self._by_name = {each.name: each for each in publishers.publishers}
        self._key = Followed(key, _key)
        self._path = key
        self._clock = clock

    def make(self, publisher: Publisher) -> tuple[str, float]:
        """A token for a publisher, and from when on it is refused.

        Raises:
            PublishersError: There is no key.
        """
        key = self._key.now()
        if not key:
            raise PublishersError(f"{self._path} has no key of {SHORTEST_KEY} characters or more")
        end = int(self._clock()) + LIFETIME_SECONDS
        return f"pypiserver-trusted_{publisher.name}_{end}_{_signature(key, publisher.name, str(end))}", end

    def find(self, password: bytes) -> Found | None:
        """The token that a password is, None if it is none."""
        found = _TOKEN.fullmatch(password.decode("ascii", "replace"))
        key = self._key.now()
        if not found or not key:
            return None
        right = hmac.compare_digest(found["signature"], _signature(key, found["name"], found["end"]))
        publisher = self._by_name.get(found["name"])
        if not right or not publisher:
            return None
        end = datetime.fromtimestamp(int(found["end"]), timezone.utc)
        left = end.timestamp() - self._clock()
        token = Token(name=publisher.name, sha256="", rights=("publish",), projects=publisher.projects, expires=end)
        # None of them lives longer, whatever its end says: a clock may have been wrong when it was made.
        if not 0 < left <= LIFETIME_SECONDS + CLOCKS_APART_SECONDS:
            _log.warning("the token of the publisher %s is refused: its end %s is %d s away", publisher.name, end, left)
            return Found(token, "expired", 0.0)
        return Found(token, None, left)


def _publisher(said: Mapping[str, Any], place: str) -> Publisher:
    """Read a publisher; of a text in the place of a list each letter would be a project."""
    name, issuer = (_text(said[field], f"{place}.{field}") for field in ("name", "issuer"))
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{place}.name is {name!r}; it must be lower-case letters, digits, - and ., 63 at most")
    # What is null would be a claim that an identity has not.
    claims = {claim: _text(value, f"{place}.claims.{claim}") for claim, value in said["claims"].items()}
    projects = said["projects"]
    if not claims or not projects or not isinstance(projects, list):
        raise ValueError(f"{place} has no claims or no list of projects")
    # They are in a header of a verdict too.
    patterns = checked_projects([_text(each, f"{place}.projects") for each in projects])
    return Publisher(name, issuer, claims, patterns)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{place} is {value!r}; it must be a text")
    return value


def _plain(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def _key(text: str) -> bytes:
    stripped = text.strip()
    return stripped.encode() if len(stripped) >= SHORTEST_KEY else b""


def _signature(key: bytes, name: str, end: str) -> str:
    return hmac.digest(key, f"pypiserver-trusted\0{name}\0{end}".encode(), "sha256").hex()
