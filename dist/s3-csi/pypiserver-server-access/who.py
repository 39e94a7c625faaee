"""Who asks: what a verdict says of credentials that are right, and how the gateway passes it on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Right = Literal["read", "publish", "yank", "remove"]
"""What may be done with a project."""
RIGHTS: tuple[Right, ...] = get_args(Right)
Kind = Literal["user", "token", "anonymous"]
Source = Literal["publishers", "readers", "directory", "tokens", "trusted", "anonymous"]
"""Who says so: a file of the Secret, the directory of users, or the registry for a token of its own or one that it has
made for a trusted publisher; nobody of whoever gives no credentials."""
HEADER = "X-Who"
"""The header of a verdict, and of a request that the gateway passes on; a client's own never gets there."""


@dataclass(frozen=True)
class Scope:
    """What a token is good for, whatever its rules allow."""

    projects: tuple[str, ...]
    """Names and patterns of projects (server.index.patterns)."""
    rights: frozenset[Right]


@dataclass(frozen=True)
class Who:
    """A user or a token whose credentials were right, or whoever gave none."""

    name: str
    source: Source
    kind: Kind = "user"
    groups: frozenset[str] = frozenset()
    """The groups of the permissions that the directory says this user is in, without those that name their users."""
    scope: Scope | None = None
    """Of a token what it is good for; None for no bounds of its own."""

    def __str__(self) -> str:
        """The name, as messages have it."""
        return f"token {self.name}" if self.kind == "token" else self.name or "nobody"

    @property
    def written(self) -> str:
        """The value of the header: JSON in ASCII."""
        return json.dumps(asdict(self), separators=(",", ":"), default=sorted)

    @classmethod
    def read(cls, text: str) -> Who:
        """What a header says.

        Raises:
            ValueError: It is not what a verdict has written.
        """
        try:
            said: Mapping[str, Any] = json.loads(text)
            scope = said["scope"]
            return cls(**{**said, "groups": frozenset(said["groups"]), "scope": scope and _scope(scope)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{HEADER} is {text!r}") from error


ANONYMOUS = Who("", "anonymous", "anonymous")
"""Whoever gives no credentials, where rules name them."""


def _scope(said: Mapping[str, list[str]]) -> Scope:
    return Scope(tuple(said["projects"]), frozenset(said["rights"]))  # type: ignore[arg-type]
