"""Permissions by project: who may read, publish, yank and remove what; the server decides by a file of rules."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.config_files import ConfigFiles, runtime_files
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem

from .permission_rules import (
    ANYBODY,
    PermissionGroupSpec,
    PermissionRuleSpec,
    given_away,
    unknown_groups,
    without_effect,
)

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

DIRECTORY = "/etc/pypiserver/permissions"
FILE = "permissions.json"
VOLUME = "permissions"
MOST_DIRECTORY_GROUPS = 16
"""Questions that a login may cost besides."""
LARGEST = 250_000
"""Bytes of the file: kubectl apply writes a ConfigMap into an annotation too, which may have 262,144."""


class PermissionsSpec(Spec):
    """Who may do what with which projects; what no rule grants is refused.

    Rules only take away: who may read and publish at all is said by the Secret (AuthSpec) and by the directory
    (LDAPSpec), and of those the rules say which names are whose.
    """

    groups: Sequence[PermissionGroupSpec] = ()
    """Users whom rules name together."""
    rules: Annotated[Sequence[PermissionRuleSpec], Field(min_length=1)]
    """The rules, in any order."""

    @property
    def reads_by_project(self) -> bool:
        """Whether the rules say who reads what."""
        return any(rule.read for rule in self.rules)

    @property
    def reads_anonymously(self) -> bool:
        """Whether they let anybody read something without credentials."""
        return any(ANYBODY in rule.read for rule in self.rules)

    @property
    def directory_groups(self) -> Mapping[str, str]:
        """What the directory calls the groups whose members it knows, by their names in the rules."""
        return {group.name: group.directory for group in self.groups if group.directory}

    @property
    def text(self) -> str:
        """The file that the server reads, with a line for each group and each rule."""
        groups = [f"{json.dumps(group.name)}: {json.dumps(group.written)}" for group in self.groups]
        rules = [json.dumps(rule.written) for rule in self.rules]
        return f'{{\n  "groups": {{{_lines(groups)}}},\n  "rules": [{_lines(rules)}]\n}}\n'

    def conflicts(self) -> Iterator[Problem]:
        """Yield what contradicts itself, and what has no effect."""
        yield from super().conflicts()
        yield from unknown_groups(self.rules, self.groups)
        yield from without_effect(self.rules)
        yield from given_away(self.rules)
        if (number := len(self.directory_groups)) > MOST_DIRECTORY_GROUPS:
            reason = f"must be fewer of a directory: {number}, and each login asks for at most {MOST_DIRECTORY_GROUPS}"
            yield Problem(("groups",), NO_VALUE, reason)
        if (size := len(self.text)) > LARGEST:
            reason = f"must be fewer, or their groups smaller: the file has {size} bytes, and {LARGEST} can be applied"
            yield Problem(("rules",), NO_VALUE, reason)


def _lines(entries: Sequence[str]) -> str:
    return "\n    " + ",\n    ".join(entries) + "\n  " if entries else ""


class Permissions(Construct):
    """The file of the rules, in a ConfigMap, and the server that reads it: what `registry.permissions` is.

    Attributes:
        spec: The spec.
        files: The ConfigMap.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: PermissionsSpec) -> None:
        """Join the registry."""
        super().__init__(sockets, id_)
        self.spec = spec
        self._sockets = sockets
        self.files = ConfigFiles(
            self, "Default", identity=sockets.identity, suffix="permissions", files={FILE: spec.text}
        )
        sockets.pod.add_late_volume(VOLUME, lambda: self.files.volume(VOLUME))
        sockets.server.add_mount(VOLUME, DIRECTORY, read_only=True)
        sockets.server.set("PERMISSIONS", f"{DIRECTORY}/{FILE}")
        if spec.reads_by_project:
            shipped = runtime_files("gateway")
            sockets.gateway.add_file("reads", "credentials", shipped["reads-permissions.conf"])
            for place in ("http", "server"):
                sockets.gateway.add_file(place, "permissions", shipped[f"{place}-permissions.conf"])
            sockets.gateway.add_file("http", "permissions-credentials", shipped["http-permissions-credentials.conf"])
        if spec.reads_anonymously:
            self.allow_anonymous()

    def allow_anonymous(self) -> None:
        """Have the server asked about who gives no credentials too, and let rules name `@anonymous`.

        Without a rule that does nobody reads anything so. A spec with one needs no call.
        """
        shipped = runtime_files("gateway")["http-permissions-anonymous.conf"]
        self._sockets.gateway.add_file("http", "permissions-credentials", shipped)
        self._sockets.server.set("ANONYMOUS_PROJECTS", "yes")
