"""Who may do what with which project: the rules of the permissions, and the scope of a token.

What no rule grants is refused. Without permissions everybody may do with every project what the credentials allow.
Reading is a matter of the rules only if one of them names who reads; then whoever may change a project reads it too.

A rule may leave names to whoever publishes them first (`create`): such a name is its owner's from then on, who may do
everything with it. That counts as long as no other rule says who publishes it.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from server.access import json_file
from server.access.token_lines import NAME
from server.access.who import RIGHTS, Right
from server.index.patterns import Matching, Patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from server.access.who import Who
    from server.pod.settings import Settings

Grant: TypeAlias = Literal[Right, "create"]
"""What a rule may grant: a right, or to be the first who publishes a project and own it from then on."""
GRANTS: tuple[Grant, ...] = get_args(Grant)
EVERYBODY = "*"
ANYBODY = "@anonymous"
"""Everybody, also without credentials; a grantee of reads alone."""
GROUP, TOKEN = "@", "token:"
"""What a grantee that is no user begins with."""
REMEMBERED = 100_000
"""Of how many projects it is remembered which rules are about them: some twenty megabytes."""
LONGEST_PROJECT = 255
"""Characters of a name: no file is of a project with a longer one (NAME_MAX), and what it takes to look for its rules
grows with their square."""
_FIELDS = {"groups": dict, "rules": list}
_FIELDS_OF_A_GROUP = {"users": list, "directory": str}
_FIELDS_OF_A_RULE = dict.fromkeys(["projects", "excluding", *GRANTS], list)


class PermissionsError(ValueError):
    """The permissions cannot be used; the text says why."""


class _Rule(NamedTuple):
    projects: tuple[str, ...]
    excluding: Patterns
    grants: Mapping[Grant, frozenset[str]]


class Rights:
    """The rules, looked up by names: any number of them costs the same.

    Attributes:
        reads_by_project: Whether the rules say who reads what.
        reads_anonymously: Whether they let anybody read something without credentials.
        leaves_names: Whether rules leave names to whoever publishes them first.
        owner: What tells whose a name is, without waiting for anything, to say who reads; None if it is not known.
        directory_groups: What the directory calls the groups whose members it knows, by their names in the rules.
    """

    def __init__(self, permissions: Mapping[str, Any] | None = None) -> None:
        """Take what the file of the permissions says; None for no permissions.

        Raises:
            PermissionsError: It says what cannot be.
        """
        self._by_rules = permissions is not None
        said = {} if permissions is None else permissions
        _check(said, _FIELDS, "the file")
        if self._by_rules and "rules" not in said:
            raise PermissionsError("the file has no 'rules'")
        groups = said.get("groups", {})
        self._groups = _groups_of_users(groups)
        self.directory_groups = {name: group["directory"] for name, group in groups.items() if "directory" in group}
        self._rules = [_rule(rule, f"rules[{at}]", groups) for at, rule in enumerate(said.get("rules", ()))]
        about = Matching((pattern, at) for at, rule in enumerate(self._rules) for pattern in rule.projects)
        self.reads_by_project = any(rule.grants["read"] for rule in self._rules)
        self.reads_anonymously = any(ANYBODY in rule.grants["read"] for rule in self._rules)
        self.leaves_names = any(rule.grants["create"] for rule in self._rules)
        self.owner: Callable[[str], str | None] = _unowned

        def rules_about(project: str) -> frozenset[int]:
            return frozenset(at for at in about.of(project) if project not in self._rules[at].excluding)

        self._rules_about = lru_cache(REMEMBERED)(rules_about)
        # Of as many as there are kinds of projects.
        self._grants = cache(self._added_up)
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
            said = json_file.read(path)
            # None would be no permissions.
            _check(said, _FIELDS, "the file")
            return cls(said)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PermissionsError(f"{path}: {error}") from error

    def allows(
        self, who: Who | None, right: Grant, project: str, owner: Callable[[str], str | None] | None = None
    ) -> bool:
        """Whether somebody may do something with a project of this normalised name; None is whom no verdict names.

        What an owner may counts only if `owner` tells whose a name is.
        """
        return self._allowed(who, right, owner or _unowned)(project)

    def readable(self, who: Who | None) -> Callable[[str], bool]:
        """What tells of one normalised name after another whether somebody may read it."""
        return self._allowed(who, "read", self.owner)

    def leaves(self, project: str) -> bool:
        """Whether a normalised name is left to whoever publishes it first."""
        return len(project) <= LONGEST_PROJECT and bool(self._grants(self._rules_about(project))["create"])

    def _allowed(self, who: Who | None, right: Grant, owner: Callable[[str], str | None]) -> Callable[[str], bool]:
        is_open = not self._by_rules or (right == "read" and not self.reads_by_project)
        if who is None:
            return lambda _: is_open
        if who.kind == "anonymous" and (right != "read" or is_open):
            return lambda _: False
        called, own, scope = self._called(who), grantee(who), who.scope
        if scope and ("publish" if right == "create" else right) not in scope.rights:
            return lambda _: False
        within = self._scopes(scope.projects) if scope else None
        granted: dict[frozenset[int], bool] = {}

        def is_allowed(project: str) -> bool:
            if is_open and not within:
                return True
            if len(project) > LONGEST_PROJECT or (within and not any(within.of(project))):
                return False
            if is_open:
                return True
            rules = self._rules_about(project)
            if rules not in granted:
                granted[rules] = not self._grants(rules)[right].isdisjoint(called)
            if granted[rules] or right == "create" or not self._grants(rules)["create"]:
                return granted[rules]
            return bool(own) and owner(project) == own

        return is_allowed

    def _called(self, who: Who) -> frozenset[str]:
        """The grantees of which this is one."""
        if who.kind == "anonymous":
            return frozenset({ANYBODY})
        if who.kind == "token":
            return frozenset({ANYBODY, EVERYBODY, f"{TOKEN}{who.name}"})
        directory = (f"{GROUP}{group}" for group in who.groups)
        return frozenset({ANYBODY, EVERYBODY, _user(who.name), *directory}) | self._groups.get(who.name, frozenset())

    def _added_up(self, rules: frozenset[int]) -> Mapping[Grant, frozenset[str]]:
        found = [self._rules[at].grants for at in rules]
        # Another rule that says who publishes gives the name to them.
        given = [each for each in found if each["publish"]]
        create = (each["create"] for each in found if all(other is each for other in given))
        rights = [frozenset[str]().union(*(each[right] for each in found)) for right in RIGHTS]
        grants: dict[Grant, frozenset[str]] = dict(zip(RIGHTS, rights, strict=True))
        return {**grants, "read": frozenset[str]().union(*rights), "create": frozenset[str]().union(*create)}


@cache
def rights(settings: Settings) -> Rights:
    """The rights of this process, as the settings want them.

    Raises:
        PermissionsError: The permissions cannot be used.
    """
    found = Rights.from_file(settings.permissions)
    if found.reads_anonymously and not settings.anonymous_projects:
        raise PermissionsError(
            f"{settings.permissions} has {ANYBODY!r}, and the gateway lets nobody in without credentials: list the "
            "component anonymous-projects after permissions, or give the rules as PermissionsSpec"
        )
    return found


def grantee(who: Who) -> str:
    """Who that is, as rules name one alone: no user is called like a token (RFC 7617, 2: no name has a colon)."""
    return f"{TOKEN}{who.name}" if who.kind == "token" else who.name


def _unowned(_: str) -> None:
    """Tell nothing of owners."""


def _groups_of_users(groups: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """The groups that name each user."""
    of_user: dict[str, set[str]] = {}
    for name, group in groups.items():
        _check(group, _FIELDS_OF_A_GROUP, f"groups[{name!r}]")
        if f"{GROUP}{name}" == ANYBODY:
            raise PermissionsError(f"groups has {name!r}, and {ANYBODY} is everybody, also without credentials")
        for user in group.get("users", ()):
            of_user.setdefault(user, set()).add(f"{GROUP}{name}")
    return {user: frozenset(found) for user, found in of_user.items()}


def _rule(rule: Mapping[str, Any], place: str, groups: Mapping[str, Any]) -> _Rule:
    _check(rule, _FIELDS_OF_A_RULE, place)
    for field in ("projects", "excluding"):
        for at, pattern in enumerate(rule.get(field, ())):
            _check_pattern(pattern, f"{place}.{field}[{at}]")
    if not rule.get("projects"):
        raise PermissionsError(f"{place} has no 'projects'")
    grants = {
        grant: frozenset(_grantee(each, f"{place}.{grant}", groups) for each in rule.get(grant, ())) for grant in GRANTS
    }
    if not any(grants.values()):
        raise PermissionsError(f"{place} grants nobody anything")
    return _Rule(tuple(rule["projects"]), Patterns(rule.get("excluding", ())), grants)


def _check_pattern(written: str, place: str) -> None:
    try:
        Patterns.checked(written)
    except ValueError as error:
        raise PermissionsError(f"{place}: {error}") from error


def _grantee(written: str, place: str, groups: Mapping[str, Any]) -> str:
    if written == EVERYBODY:
        return written
    if written == ANYBODY:
        if not place.endswith(".read"):
            raise PermissionsError(f"{place} has {written!r}, and without credentials nobody may do more than read")
        return written
    if written.startswith(TOKEN):
        if not re.fullmatch(NAME, written.removeprefix(TOKEN)):
            raise PermissionsError(f"{place} has {written!r}, and no token can have this name")
        return written
    if not written.startswith(GROUP):
        if not written or ":" in written:
            raise PermissionsError(f"{place} has {written!r}, and no user can have this name")
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
