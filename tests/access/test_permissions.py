"""The rules of who may do what with which projects: the file that they are made into, and the server that reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cases import CASES
from cdk8s_pypiserver import PermissionGroupSpec, PermissionRuleSpec, PermissionsSpec, PyPIServerSpec, SpecError
from cdk8s_pypiserver.access import trusted_publishing
from cdk8s_pypiserver.access.permission_rules import CALLED, RIGHTS
from manifests import pod_of, synthesize
from server.access import token_lines
from server.access.rights import Rights
from server.access.who import Who

if TYPE_CHECKING:
    from pathlib import Path

    from manifests import Manifest


def made(manifests: list[Manifest]) -> Manifest:
    (found,) = (each for each in manifests if "permissions.json" in each.get("data", {}))
    return found


@pytest.mark.parametrize("case", ["permissions", "permissions-of-a-company"])
def test_the_server_reads_what_is_written(case: str, tmp_path: Path) -> None:
    path = tmp_path / "permissions.json"
    path.write_text(made(synthesize(CASES[case]))["data"]["permissions.json"])
    rights = Rights.from_file(path)
    assert rights.allows(Who("alice", "publishers"), "publish", "acme-tools")
    assert rights.allows(Who("dora", "publishers"), "publish", "acme-tools") == (case == "permissions")


def test_the_server_takes_the_names_and_projects_that_the_spec_takes() -> None:
    assert CALLED == token_lines.NAME
    assert trusted_publishing.MOST_PROJECTS == token_lines.MOST_PROJECTS
    assert trusted_publishing.LONGEST_PROJECTS == token_lines.LONGEST_PROJECTS


def test_it_is_mounted_where_the_server_looks() -> None:
    manifests = synthesize(CASES["permissions"])
    (server,) = (dict(each) for each in pod_of(manifests)["containers"] if each["name"] == "pypiserver")
    variables: dict[str, Any] = {each["name"]: each.get("value") for each in server["env"]}
    (mount,) = (each for each in server["volumeMounts"] if each["name"] == "permissions")
    assert variables["PERMISSIONS"] == f"{mount['mountPath']}/permissions.json"
    (volume,) = (each for each in pod_of(manifests)["volumes"] if each["name"] == "permissions")
    assert volume["configMap"]["name"] == made(manifests)["metadata"]["name"]


def test_changed_rules_roll_the_pods() -> None:
    other = PermissionsSpec(rules=[PermissionRuleSpec(projects=["*"], publish=["alice"])])
    names = {
        made(synthesize(spec))["metadata"]["name"] for spec in (CASES["permissions"], PyPIServerSpec(permissions=other))
    }
    assert len(names) == 2


def test_a_group_has_the_name_that_rules_go_by() -> None:
    spec = PermissionsSpec(
        groups=[PermissionGroupSpec(name="core", users=["alice"])],
        rules=[PermissionRuleSpec(projects=["acme-*"], publish=["@core"])],
    )
    assert json.loads(spec.text)["groups"] == {"core": {"users": ["alice"]}}
    with pytest.raises(SpecError, match=r"name \('a b'\) must be letters, digits, - _ and \."):
        PermissionGroupSpec(name="a b", users=["alice"])


def test_every_right_is_one_that_the_server_knows() -> None:
    rule = PermissionRuleSpec(projects=["*"], **{right: ["alice"] for right in RIGHTS})
    rights = Rights(json.loads(PermissionsSpec(rules=[rule]).text))
    for right in RIGHTS:
        assert rights.allows(Who("alice", "publishers"), right, "demo")


def test_thousands_of_rules_and_users_are_one_file() -> None:
    groups = [
        PermissionGroupSpec(name=f"team-{team}", users=[f"user-{team}-{number}" for number in range(100)])
        for team in range(100)
    ]
    rules = [
        PermissionRuleSpec(projects=[f"team-{number % 100}-{number}-*"], publish=[f"@team-{number % 100}"])
        for number in range(1000)
    ]
    text = PermissionsSpec(groups=groups, rules=rules).text
    assert len(text.splitlines()) == 1000 + 100 + 6
    assert Rights(json.loads(text)).allows(Who("user-7-99", "directory"), "publish", "team-7-907-tools")
