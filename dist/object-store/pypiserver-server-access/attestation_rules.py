"""Whose attestations (PEP 740) the files of a project must have: the rules, of which the server reads a file.

A project that no rule names needs none, and what it has is checked for form alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from server.access import json_file
from server.index.patterns import Patterns

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    "CircleCI": (("project_id", "pipeline_definition_id"), ("vcs_origin", "vcs_ref")),
    "GitHub": (("repository", "workflow"), ()),
    "GitLab": (("repository", "workflow_filepath"), ()),
    "Google": (("email",), ()),
}
"""The kinds of publishers that pypi-attestations knows, with what each must and may say besides.

None has an environment: no certificate says of which one a job was.
"""

Publisher = Mapping[str, str]
"""An identity as provenance objects have it: its kind, and what that takes."""


class AttestationRulesError(ValueError):
    """The rules cannot be used; the text says why."""


class _Rule(NamedTuple):
    projects: Patterns
    publisher: Publisher
    required: bool


class Demand(NamedTuple):
    """What the attestations of a project's file must be."""

    publishers: tuple[Publisher, ...]
    """Each must be of one of these; none at all if no rule names the project."""
    required: bool
    """Whether there must be one."""


class AttestationRules:
    """The rules."""

    def __init__(self, said: Any = None) -> None:  # noqa: ANN401 - whatever JSON has
        """Take what the file says; None for no rules.

        Raises:
            AttestationRulesError: It says what cannot be.
        """
        if said is None:
            self._rules: list[_Rule] = []
            return
        try:
            (rules,) = _fields(said, "the file", {"publishers": list}).values()
            self._rules = [_rule(each, f"publishers[{at}]") for at, each in enumerate(rules)]
        except ValueError as error:
            raise AttestationRulesError(str(error)) from error
        if not self._rules:
            raise AttestationRulesError("the file has no publishers")

    @classmethod
    def from_file(cls, path: Path | None) -> AttestationRules:
        """Read the file; None for no rules.

        Raises:
            AttestationRulesError: It cannot be read, or says what cannot be.
        """
        if path is None:
            return cls()
        try:
            said = json_file.read(path)
        except (OSError, ValueError, RecursionError) as error:
            raise AttestationRulesError(f"{path}: {error}") from error
        try:
            # None would be no rules.
            return cls({} if said is None else said)
        except AttestationRulesError as error:
            raise AttestationRulesError(f"{path}: {error}") from error

    def of(self, project: str) -> Demand:
        """What is demanded for a project of this normalised name; a rule that demands more counts more."""
        rules = [rule for rule in self._rules if project in rule.projects]
        publishers = {tuple(sorted(rule.publisher.items())): rule.publisher for rule in rules}
        return Demand((*publishers.values(),), any(rule.required for rule in rules))


def called(publisher: Publisher) -> str:
    """A publisher in words."""
    return " ".join((publisher["kind"], *(value for field, value in publisher.items() if field != "kind")))


def _rule(said: object, place: str) -> _Rule:
    found = _fields(said, place, {"projects": list, "publisher": dict, "required": bool})
    publisher = found["publisher"]
    kind = publisher.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{place}.publisher.kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    must, may = KINDS[kind]
    given = dict.fromkeys(["kind", *must, *(field for field in may if field in publisher)], str)
    if not all(_fields(publisher, f"{place}.publisher", given).values()):
        raise ValueError(f"{place}.publisher has an empty text")
    if not found["projects"] or not all(isinstance(each, str) for each in found["projects"]):
        raise ValueError(f"{place}.projects must be names and patterns of projects")
    return _Rule(Patterns(found["projects"]), publisher, found["required"])


def _fields(said: object, place: str, fields: Mapping[str, type]) -> Mapping[str, Any]:
    """An object of just these fields: one that is misspelt could be the one that closes the door."""
    if not isinstance(said, dict) or said.keys() != fields.keys():
        raise ValueError(f"{place} must be an object with {', '.join(fields)}, and nothing else")
    for field, kind in fields.items():
        if not isinstance(said[field], kind):
            raise ValueError(f"{place}.{field} is {said[field]!r}, which is no {kind.__name__}")  # noqa: TRY004
    return said
