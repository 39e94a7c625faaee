"""Who may do what with which project: the rules of the permissions, and the scope of a token.

What no rule grants is refused. Without permissions everybody may do with every project what the credentials allow.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from server.access.matching import Matching
from server.access.who import RIGHTS, Right

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from server.access.who import Who

EVERYBODY = "*"
GROUP, TOKEN = "@", "token:"
"""What a grantee that is no user begins with."""
REMEMBERED = 20_000
"""Of how many projects it is remembered who may do what: some ten megabytes."""
_FIELDS = {"groups": dict, "rules": list}
_FIELDS_OF_A_GROUP = {"users": list}
_FIELDS_OF_A_RULE = dict.fromkeys(["projects", *RIGHTS], list)


class PermissionsError(ValueError):
    """The permissions cannot be used; the text says why."""


class Rights:
    """The rules, looked up by names: any number of them costs the same."""

    def __init__(self, permissions: Mapping[str, Any] | None = None) -> None:
        """Take what the file of the permissions says; None for no permissions.

        Raises:
            PermissionsError: It says what cannot be.
        """
        self._by_rules = permissions is not None
        self._groups: dict[str, frozenset[str]] = {}
        rules: list[tuple[str, Mapping[Right, frozenset[str]]]] = []
        if permissions is not None:
            _check(permissions, _FIELDS, "the file")
            groups = permissions.get("groups", {})
            self._groups = _groups_of_users(groups)
            for number, rule in enumerate(permissions.get("rules", ())):
                rules.extend(_rule(rule, f"rules[{number}]", groups))
        try:
            self._rules = Matching(rules)
        except ValueError as error:
            raise PermissionsError(str(error)) from error
        self._granted = lru_cache(REMEMBERED)(self._grants)
        self._scopes = lru_cache(REMEMBERED)(lambda projects: Matching((each, True) for each in projects))

    @classmethod
    def from_file(cls, path: Path | None) -> Rights:
        """Read the file; None for no permissions.

        Raises:
            PermissionsError: It cannot be read, or says what cannot be.
        """
        if path is None:
            return cls()
        try:
            return cls(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermissionsError(f"{path}: {error}") from error

    def allows(self, who: Who | None, right: Right, project: str) -> bool:
        """Whether somebody may do something with a project of this normalised name; None is whom no verdict names."""
        if who is None:
            return not self._by_rules
        if who.scope and not (right in who.scope.rights and any(self._scopes(who.scope.projects).of(project))):
            return False
        return not self._by_rules or not self._granted(project)[right].isdisjoint(self._called(who))

    def _called(self, who: Who) -> frozenset[str]:
        """The grantees of which this is one."""
        if who.kind == "token":
            return frozenset({EVERYBODY, f"{TOKEN}{who.name}"})
        directory = (f"{GROUP}{group}" for group in who.groups)
        return frozenset({EVERYBODY, _user(who.name), *directory}) | self._groups.get(who.name, frozenset())

    def _grants(self, project: str) -> Mapping[Right, frozenset[str]]:
        found = list(self._rules.of(project))
        return {right: frozenset().union(*(grants[right] for grants in found)) for right in RIGHTS}


def _groups_of_users(groups: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The groups that name each user."""
    of_user: dict[str, set[str]] = {}
    for name, group in groups.items():
        _check(group, _FIELDS_OF_A_GROUP, f"groups[{name!r}]")
        for user in group.get("users", ()):
            of_user.setdefault(user, set()).add(f"{GROUP}{name}")
    return {user: frozenset(found) for user, found in of_user.items()}


def _rule(
    rule: Mapping[str, Any], place: str, groups: Mapping[str, Any]
) -> Iterable[tuple[str, Mapping[Right, frozenset[str]]]]:
    _check(rule, _FIELDS_OF_A_RULE, place)
    grants = {
        right: frozenset(_grantee(each, f"{place}.{right}", groups) for each in rule.get(right, ())) for right in RIGHTS
    }
    return [(pattern, grants) for pattern in rule.get("projects", ())]


def _grantee(written: str, place: str, groups: Mapping[str, Any]) -> str:
    if written == EVERYBODY or written.startswith(TOKEN):
        return written
    if not written.startswith(GROUP):
        return _user(written)
    if written.removeprefix(GROUP) not in groups:
        raise PermissionsError(f"{place} has {written!r}, and there is no group of this name")
    return written


def _user(name: str) -> str:
    # No user is a group or a token by being called like one.
    return f"user:{name}"


def _check(value: Any, fields: Mapping[str, type[Any]], place: str) -> None:  # noqa: ANN401 - whatever the file holds
    if not isinstance(value, dict):
        raise PermissionsError(f"{place} is {value!r}; it must be a mapping")
    for field, found in value.items():
        if field not in fields:
            raise PermissionsError(f"{field!r} is no field of {place}")
        if not isinstance(found, fields[field]):
            raise PermissionsError(f"{field!r} of {place} is {found!r}; it must be a {fields[field].__name__}")
        if field not in {"groups", "rules"} and not all(isinstance(each, str) for each in found):
            raise PermissionsError(f"{field!r} of {place} has what is no text: {found!r}")
