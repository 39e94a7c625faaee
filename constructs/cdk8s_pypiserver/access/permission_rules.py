"""Who may do what with which projects, and what in many rules has no effect."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.patterns import AnyNamePattern, PatternIndex, covers, meet, needless, normalised
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem

from .directory import no_text

EVERYBODY = "*"
ANYBODY = "@anonymous"
"""Everybody, also without credentials."""
GROUP = "@"
Right = Literal["read", "publish", "yank", "remove"]
RIGHTS: tuple[Right, ...] = get_args(Right)
CREATE = "create"
GRANTS = (*RIGHTS, CREATE)
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
CALLED = r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?"
"""What a token or a trusted publisher can be called, as the server reads it."""


def _no_grantee(value: str) -> str | None:
    token = value.removeprefix("token:")
    if token != value and not re.fullmatch(CALLED, token):
        return "must have the name of a token after token:, which is of lower-case letters, digits, - and ."
    return None


def _no_user(value: str) -> str | None:
    if value.startswith(GROUP) or value == EVERYBODY:
        return "must be the name of a user"
    if ":" in value:
        return "must have no colon: neither htpasswd nor HTTP knows such a user"
    return None


User = Annotated[
    str,
    Form(
        r"[^@*:\s](?:[^:\x00-\x1f\x7f]*[^:\s])?", "must be the name of a user, as it is typed to log in", 256, _no_user
    ),
]
"""Name of a user, as it stands in the Secret or as it is typed to log in."""

GroupName = Annotated[str, Form(_NAME, "must be letters, digits, - _ and . with a letter or digit at both ends", 63)]
"""Name of a group of the permissions."""

DirectoryGroup = Annotated[
    str,
    Form(r"[^\s](?:[^\x00-\x1f\x7f]*[^\s])?", "must be the name of a group, on one line", 1000, no_text),
]
"""The name of a group of a directory, or of another service."""

Grantee = Annotated[
    str,
    Form(
        rf"\*|@{_NAME}|token:{CALLED}|[^@*:\s](?:[^:\x00-\x1f\x7f]*[^:\s])?",
        "must be the name of a user, @ and the name of a group, token: and the name of a token, * for everybody who "
        "logs in, or @anonymous for everybody",
        256,
        _no_grantee,
    ),
]
"""Whom a rule names."""


class PermissionGroupSpec(Spec):
    """Users who are meant together."""

    name: GroupName
    """What the group is called; rules name it with `@` in front."""
    users: Sequence[User] = ()
    """The users, by the names that they log in with: upper and lower case differ."""
    directory: DirectoryGroup | None = None
    """A group whose members are meant too: its distinguished name in the directory (LDAPSpec), or what the service of
    ExternalAuthSpec calls it. Each costs a login that is not remembered a question to the directory."""

    @property
    def written(self) -> Mapping[str, object]:
        """The group as the server reads it."""
        directory = {"directory": self.directory} if self.directory else {}
        return {"users": list(self.users), **directory}

    def conflicts(self) -> Iterator[Problem]:
        """Yield a group of nobody."""
        yield from super().conflicts()
        if not self.users and not self.directory:
            yield Problem(("users",), NO_VALUE, "must name somebody, unless directory does")


class PermissionRuleSpec(Spec):
    """Who may do what with some projects: users, groups (`@core`), tokens (`token:ci`), or everybody who logs in (`*`).

    Rules that are about one project add up. `@anonymous` is everybody, also without credentials, who may read alone.
    """

    projects: Annotated[Sequence[AnyNamePattern], Field(min_length=1)]
    """Names and patterns of projects, in any spelling; `*` for all."""
    excluding: Sequence[AnyNamePattern] = ()
    """Those of them that the rule is not about."""
    read: Sequence[Grantee] = ()
    """Who may see that there are such projects, and their files; whoever may do anything else may, too. If no rule
    names anybody here whoever may read reads every project."""
    publish: Sequence[Grantee] = ()
    """Who may publish files, also the first one of a project."""
    create: Sequence[Grantee] = ()
    """Who may publish the first file of a project; whoever does owns it: may publish, yank and remove there from then
    on. It counts for projects that no other rule has `publish` for."""
    yank: Sequence[Grantee] = ()
    """Who may yank versions and bring them back."""
    remove: Sequence[Grantee] = ()
    """Who may remove files, where the server removes any (ServerSpec.allow_removal)."""

    @property
    def grants(self) -> Mapping[str, frozenset[str]]:
        """Whom the rule names for each right."""
        return {grant: frozenset(getattr(self, grant)) for grant in GRANTS}

    @property
    def written(self) -> Mapping[str, Sequence[str]]:
        """The rule as the server reads it."""
        named = {grant: list(getattr(self, grant)) for grant in GRANTS}
        excluding = {"excluding": list(self.excluding)} if self.excluding else {}
        return {"projects": list(self.projects), **excluding, **{grant: who for grant, who in named.items() if who}}

    def conflicts(self) -> Iterator[Problem]:
        """Yield a rule that grants nothing or is about nothing, and grantees that are meant already."""
        yield from super().conflicts()
        if not any(self.grants.values()):
            yield Problem(("read",), NO_VALUE, f"must name somebody, unless {', '.join(GRANTS[1:])} does")
        if self.create and EVERYBODY in self.publish:
            yield Problem((CREATE,), list(self.create), f"has no effect with publish ({EVERYBODY})")
        excluded = [normalised(each) for each in self.excluding]
        yield from needless("excluding", self.excluding)
        about = [normalised(each) for each in self.projects]
        for number, pattern in enumerate(excluded):
            if not any(meet(pattern, each) for each in about):
                reason = f"has no effect: projects ({', '.join(self.projects[:3])}) has no such name"
                yield Problem(("excluding", number), self.excluding[number], reason)
        for number, pattern in enumerate(self.projects):
            if out := next((each for each in excluded if covers(each, normalised(pattern))), None):
                yield Problem(("projects", number), pattern, f"has no effect with excluding ({out})")
        for grant in GRANTS:
            named = getattr(self, grant)
            yield from _meant_already(grant, named)
            if ANYBODY in named and grant != "read":
                reason = "must be left out: without credentials nobody may do more than read"
                yield Problem((grant, named.index(ANYBODY)), ANYBODY, reason)


def _meant_already(grant: str, named: Sequence[str]) -> Iterator[Problem]:
    widest = next((each for each in (ANYBODY, EVERYBODY) if each in named), None)
    for number, who in enumerate(named):
        if widest and who != widest:
            yield Problem((grant, number), who, f"must be left out with {widest}, which is everybody")


def unknown_groups(rules: Sequence[PermissionRuleSpec], groups: Sequence[PermissionGroupSpec]) -> Iterator[Problem]:
    """Yield groups that there are not, that there are twice, or that nobody names."""
    known = [group.name for group in groups]
    named = {who for rule in rules for grantees in rule.grants.values() for who in grantees if who.startswith(GROUP)}
    named.discard(ANYBODY)
    there = f"there are {', '.join(known)}" if known else "there are none"
    for number, rule in enumerate(rules):
        for grant in GRANTS:
            for index, who in enumerate(getattr(rule, grant)):
                if who.startswith(GROUP) and who != ANYBODY and who.removeprefix(GROUP) not in known:
                    yield Problem(("rules", number, grant, index), who, f"is no group of these permissions: {there}")
    for number, group in enumerate(groups):
        path = ("groups", number, "name")
        if f"{GROUP}{group.name}" == ANYBODY:
            yield Problem(path, group.name, f"must be another one: {ANYBODY} is everybody, also without credentials")
        elif group.name in known[:number]:
            yield Problem(path, group.name, "is there twice")
        elif f"{GROUP}{group.name}" not in named:
            yield Problem(path, group.name, f"has no effect: no rule names {GROUP}{group.name}")


class _Place(NamedTuple):
    number: int
    position: int
    pattern: str
    excluding: frozenset[str]
    grants: Mapping[str, frozenset[str]]

    def says_as_much_as(self, other: "_Place") -> bool:
        """Whether it does, of one whose pattern it covers."""
        if self[:2] == other[:2]:
            return False
        if self[2:] == other[2:]:
            # One of the two has an effect.
            return self[:2] < other[:2]
        if not self._leaves(other):
            return False
        if self.grants[CREATE] and other.grants["publish"]:
            # It takes from the first that it leaves these names to anybody.
            return False
        return all(_means(self.grants[grant], who) for grant, who in other.grants.items())

    def gives_away(self, other: "_Place") -> bool:
        """Whether it says who publishes what another one lets be created, of one whose pattern it covers."""
        return self.number != other.number and self._leaves(other)

    def _leaves(self, other: "_Place") -> bool:
        """Whether nothing of another one is excluded here that is not there."""
        return all(each in other.excluding for each in self.excluding if meet(each, other.pattern))


def _means(named: frozenset[str], others: frozenset[str]) -> bool:
    """Return whether some grantees are all that others are."""
    return others <= named or ANYBODY in named or (EVERYBODY in named and ANYBODY not in others)


def _places(rules: Sequence[PermissionRuleSpec]) -> list[_Place]:
    return [
        _Place(number, index, normalised(pattern), frozenset(map(normalised, rule.excluding)), rule.grants)
        for number, rule in enumerate(rules)
        for index, pattern in enumerate(rule.projects)
    ]


def given_away(rules: Sequence[PermissionRuleSpec]) -> Iterator[Problem]:
    """Yield those who may create projects of which others say who publishes every one."""
    places = _places(rules)
    publishing = PatternIndex((place.pattern, place) for place in places if place.grants["publish"])
    creating = defaultdict(list)
    for place in places:
        if place.grants[CREATE]:
            givers = (each for each in publishing.covering(place.pattern) if each.gives_away(place))
            creating[place.number].append(next(givers, None))
    for number, others in creating.items():
        if all(others) and (other := others[0]):
            reason = f"has no effect: rules[{other.number}] ({other.pattern}) has publish"
            yield Problem(("rules", number, CREATE), list(rules[number].create), reason)


def without_effect(rules: Sequence[PermissionRuleSpec]) -> Iterator[Problem]:
    """Yield patterns of projects about which another rule says as much."""
    places = _places(rules)
    patterns = PatternIndex((place.pattern, place) for place in places)
    for place in places:
        if other := next((each for each in patterns.covering(place.pattern) if each.says_as_much_as(place)), None):
            path = ("rules", place.number, "projects", place.position)
            reason = f"has no effect: rules[{other.number}] ({other.pattern}) grants as much"
            yield Problem(path, rules[place.number].projects[place.position], reason)
