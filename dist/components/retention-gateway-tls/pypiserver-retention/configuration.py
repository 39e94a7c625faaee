"""What is to be done: where the registry is, and the rules; read from the environment and from files."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.index.patterns import Patterns, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConfigurationError(ValueError):
    """What the Job was given cannot work; the text names the place, the value and the reason."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The environment; every attribute is the variable of the same name in capitals."""

    registry_host: str = "pypiserver"
    """Host of the registry's Service."""
    rules_file: Path = Path("/etc/pypiserver/retention-rules/rules.json")
    """The rules."""
    locks_directory: Path = Path("/etc/pypiserver/retention-locks")
    """A folder for each ConfigMap of lock files."""
    credentials_directory: Path = Path("/etc/pypiserver/retention-credentials")
    """Where the Secret's files `username` and `password` are mounted."""
    credentials_secret: str = "pypiserver-retention"  # noqa: S105 - a name
    """The name of that Secret, for the text that says it is missing."""
    certificates: Path = Path("/etc/pypiserver/retention-ca/ca.crt")
    """The certificates by which the registry is known; those of the image if the file is not there."""
    termination_log: Path = Path("/dev/termination-log")
    """Where the kubelet reads how a container ended (its default terminationMessagePath)."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; what is not set has the default."""
        read = os.environ if environment is None else environment
        values = {each.name: read.get(each.name.upper()) for each in fields(cls)}
        given = {name: value for name, value in values.items() if value is not None}
        paths = {each.name for each in fields(cls) if each.type == "Path"}
        return cls(**{name: Path(value) if name in paths else value for name, value in given.items()})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What of some projects is kept; a version that nothing keeps may go."""

    number: int
    """Its place among the rules, from 1 on."""
    projects: tuple[str, ...]
    """Names and patterns; none for every project that no earlier rule is about."""
    keep_versions: int | None
    keep_days: int | None
    keep_prereleases: int | None
    final_replaces_prereleases: bool
    keep_last: bool

    @property
    def called(self) -> str:
        """The rule in a report."""
        return f"rule {self.number} ({', '.join(self.projects) or 'every other project'})"

    def is_about(self, project: str) -> bool:
        """Whether it is about a project of this normalised name."""
        return not self.projects or project in _patterns(self.projects)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The file of the rules."""

    port: int
    tls: bool
    tls_name: str | None
    """The name that the certificate is for; the host's if none is named."""
    rules: tuple[Rule, ...]
    pinned: tuple[str, ...]
    lock_config_maps: tuple[str, ...]
    minimum_age_days: int
    action: str
    yank_reason: str
    dry_run: bool
    most_versions: int
    most_percent: int
    patience_seconds: int

    @classmethod
    def from_file(cls, path: Path) -> Configuration:
        """Read the file.

        Raises:
            ConfigurationError: It is not there, or not what it has to be.
        """
        try:
            value = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(f"{path} is no JSON: {error}") from error
        try:
            return _configuration(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def rule_of(self, project: str) -> Rule | None:
        """The rule that a normalised name falls under: the first that is about it."""
        return next((rule for rule in self.rules if rule.is_about(project)), None)


_TYPES = {
    "port": int,
    "tls": bool,
    "tls_name": (str, type(None)),
    "rules": list,
    "pinned": list,
    "lock_config_maps": list,
    "minimum_age_days": int,
    "action": str,
    "yank_reason": str,
    "dry_run": bool,
    "most_versions": int,
    "most_percent": int,
    "patience_seconds": int,
}
_RULE_TYPES = {
    "projects": list,
    "keep_versions": (int, type(None)),
    "keep_days": (int, type(None)),
    "keep_prereleases": (int, type(None)),
    "final_replaces_prereleases": bool,
    "keep_last": bool,
}
_LEAST = {"minimum_age_days": 1, "keep_prereleases": 0}


@cache
def _patterns(projects: tuple[str, ...]) -> Patterns:
    # Every project is compared with them.
    return Patterns(projects)


def _configuration(value: Any) -> Configuration:  # noqa: ANN401 - whatever the file holds
    _check(value, _TYPES, "the file")
    if value["action"] not in {"remove", "yank"}:
        raise ConfigurationError(f"action ({value['action']!r}) must be remove or yank")
    rules = []
    for number, rule in enumerate(value["rules"], 1):
        _check(rule, _RULE_TYPES, f"rules[{number - 1}]")
        rules.append(Rule(**{**rule, "projects": _texts(rule["projects"], "projects")}, number=number))
    try:
        for made in rules:
            Patterns(made.projects)
        Rules(_texts(value["pinned"], "pinned"))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    lists = {name: _texts(value[name], name) for name in ("pinned", "lock_config_maps")}
    return Configuration(**{**value, **lists, "rules": tuple(rules)})


def _check(value: Any, types: Mapping[str, Any], place: str) -> None:  # noqa: ANN401
    if not isinstance(value, dict):
        raise ConfigurationError(f"{place} must be a mapping")
    for name in [*value, *types]:
        if name not in types:
            raise ConfigurationError(f"{name} is no field of {place}")
        if name not in value:
            raise ConfigurationError(f"{name} is missing in {place}")
        found = value[name]
        # For Python True is a number.
        if not isinstance(found, types[name]) or (isinstance(found, bool) and types[name] is not bool):
            raise ConfigurationError(f"{name} ({found!r}) in {place} is not of the right kind")
        if isinstance(found, int) and not isinstance(found, bool) and found < _LEAST.get(name, 1):
            raise ConfigurationError(f"{name} ({found}) in {place} must be at least {_LEAST.get(name, 1)}")


def _texts(value: list[Any], name: str) -> tuple[str, ...]:
    if not all(isinstance(each, str) for each in value):
        raise ConfigurationError(f"{name} ({value}) must be a list of texts")
    return tuple(value)
