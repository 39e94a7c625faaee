from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from executed import executed_lines
from permissions import rule
from server.access.rights import GRANTS, LONGEST_PROJECT, PermissionsError, Rights
from server.access.rights import rights as rights_of
from server.access.who import ANONYMOUS, RIGHTS, Right, Scope, Who
from server.pod.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALICE, BOB = Who("alice", "publishers"), Who("bob", "directory")
BOT = Who("ci", "tokens", "token")
NAMES = ["a", "acme", "acme-a", "acme-a-b", "b-acme", "xacmex", "tools", "acme-tools", "zz-tools", "data"]


def rights(*rules: dict[str, Any], **groups: list[str]) -> Rights:
    return Rights({"groups": {name: {"users": users} for name, users in groups.items()}, "rules": list(rules)})


def test_without_permissions_everybody_may_what_the_credentials_allow() -> None:
    assert all(Rights().allows(who, right, "demo") for who in (None, ALICE, BOT) for right in RIGHTS)


def test_what_no_rule_grants_is_refused() -> None:
    found = rights(rule("acme-*", publish=["alice"]))
    assert found.allows(ALICE, "publish", "acme-tools")
    assert not found.allows(ALICE, "publish", "acme")
    assert not found.allows(ALICE, "yank", "acme-tools")
    assert not found.allows(BOB, "publish", "acme-tools")
    assert not found.allows(None, "publish", "acme-tools")
    assert not rights().allows(ALICE, "publish", "demo")


def test_reading_is_a_matter_of_rules_that_say_who_reads() -> None:
    silent = rights(rule("acme-*", publish=["alice"]))
    assert not silent.reads_by_project
    assert silent.allows(BOB, "read", "acme-tools")
    found = rights(rule("acme-*", publish=["alice"]), rule("open", read=["bob"]))
    assert found.reads_by_project
    # Whoever changes a project sees it.
    assert found.allows(ALICE, "read", "acme-tools")
    for who in (BOB, BOT, None):
        assert not found.allows(who, "read", "acme-tools")
    assert found.allows(BOB, "read", "open")
    assert not found.allows(BOB, "publish", "open")


def test_what_a_rule_is_not_about() -> None:
    found = rights(rule("*", read=["*"], excluding=["Acme_*", "secret"]), rule("acme-open", read=["bob"]))
    assert found.allows(BOB, "read", "requests")
    assert found.allows(BOB, "read", "acme-open")
    for project in ("acme-tools", "secret"):
        assert not found.allows(BOB, "read", project)


def test_many_names_are_told_apart_as_one_is() -> None:
    found = rights(
        rule("acme-*", read=["bob"]), rule("*-tools", read=["alice"]), rule("data", publish=["@core"]), core=["bob"]
    )
    for who in (ALICE, BOB, BOT, None):
        readable = found.readable(who)
        assert [readable(name) for name in NAMES] == [found.allows(who, "read", name) for name in NAMES]


def test_rules_that_match_add_up() -> None:
    found = rights(rule("acme-*", publish=["alice"]), rule("*-tools", publish=["bob"], yank=["alice"]))
    assert found.allows(ALICE, "publish", "acme-tools")
    assert found.allows(BOB, "publish", "acme-tools")
    assert found.allows(ALICE, "yank", "acme-tools")
    assert not found.allows(BOB, "publish", "acme-data")


def owned_by(owner: str | None) -> Callable[[str], str | None]:
    return lambda _: owner


def test_what_is_left_to_whoever_comes_first() -> None:
    found = rights(
        rule("*", create=["@core", "token:ci"], publish=["carol"]),
        rule("acme-*", publish=["dora"]),
        rule("zz-*", read=["dora"], yank=["dora"]),
        rule("acme-own", create=["bob"], publish=["bob"]),
        core=["alice"],
    )
    assert found.leaves_names
    assert not rights(rule("*", publish=["alice"])).leaves_names
    assert [name for name in [*NAMES, "acme-own"] if not found.leaves(name)] == [
        name for name in [*NAMES, "acme-own"] if name.startswith("acme-")
    ]
    assert found.allows(ALICE, "create", "zz-tools")
    assert found.allows(BOT, "create", "data")
    assert not found.allows(BOB, "create", "data")
    # It is no right to what is there.
    for right in ("publish", "yank", "remove"):
        assert not found.allows(ALICE, right, "data")
    # Another rule says who publishes it.
    assert not found.allows(ALICE, "create", "acme-tools")
    assert not found.allows(BOB, "create", "acme-own")
    assert not found.leaves("a" * (LONGEST_PROJECT + 1))
    assert not found.allows(ALICE, "create", "a" * (LONGEST_PROJECT + 1))
    assert not found.allows(None, "create", "data")


def test_what_an_owner_may() -> None:
    found = rights(rule("*", create=["alice"], read=["nobody"]), rule("acme-*", publish=["dora"], read=["*"]))
    for right in RIGHTS:
        assert found.allows(BOB, right, "data", owned_by("bob"))
        assert found.allows(BOT, right, "data", owned_by("token:ci"))
        for other in (None, "", "bo", "Bob", "*", "@core", "token:ci"):
            assert not found.allows(BOB, right, "data", owned_by(other))
        assert not found.allows(None, right, "data", owned_by("bob"))
        assert not found.allows(Who("", "directory"), right, "data", owned_by(""))
        assert not found.allows(BOT, right, "data", owned_by("ci"))
        # A rule that says who publishes counts, and no owner besides.
        assert not found.allows(BOB, right, "acme-tools", owned_by("bob")) or right == "read"
    # To own one name is to create no other.
    assert not found.allows(BOB, "create", "data", owned_by("bob"))
    assert not rights(rule("*", yank=["alice"])).allows(BOB, "publish", "data", owned_by("bob"))


def test_a_token_that_owns_may_no_more_than_its_scope() -> None:
    found = rights(rule("*", create=["*"]))
    who = Who("ci", "tokens", "token", scope=Scope(("acme-*",), frozenset[Right]({"publish"})))
    mine = owned_by("token:ci")
    assert found.allows(who, "publish", "acme-tools", mine)
    assert found.allows(who, "create", "acme-tools")
    assert not found.allows(who, "publish", "demo", mine)
    assert not found.allows(who, "create", "demo")
    assert not found.allows(who, "yank", "acme-tools", mine)
    reader = Who("ci", "tokens", "token", scope=Scope(("*",), frozenset[Right]({"read"})))
    assert not found.allows(reader, "create", "acme-tools")


def test_who_reads_what_they_own() -> None:
    found = rights(rule("*", create=["*"]), rule("open", read=["*"]))
    assert not found.readable(ALICE)("demo")
    found.owner = {"demo": "alice", "other": ""}.get
    assert [name for name in ("demo", "open", "other", "none") if found.readable(ALICE)(name)] == ["demo", "open"]
    assert [name for name in ("demo", "open", "other", "none") if found.readable(BOB)(name)] == ["open"]


@pytest.mark.parametrize("written", ["Acme_Tools", "acme.tools", "ACME-*", "acme--tools"])
def test_a_pattern_has_any_spelling(written: str) -> None:
    assert rights(rule(written, publish=["alice"])).allows(ALICE, "publish", "acme-tools")


@pytest.mark.parametrize(
    ("grantee", "allowed"),
    [
        ("alice", [ALICE]),
        ("@core", [ALICE, Who("bob", "directory", groups=frozenset({"core"}))]),
        ("token:ci", [BOT]),
        ("*", [ALICE, BOB, BOT]),
    ],
)
def test_who_is_meant(grantee: str, allowed: list[Who]) -> None:
    found = rights(rule("demo", publish=[grantee]), core=["alice"])
    others = [
        *(who for who in (ALICE, BOB, BOT) if who not in allowed),
        *([] if grantee == "*" else [Who("@core", "directory"), Who("token:ci", "directory"), Who("*", "directory")]),
        *(
            []
            if grantee == "*"
            else [Who("alice", "tokens", "token"), Who("ci", "publishers"), Who("user:alice", "readers")]
        ),
    ]
    assert all(found.allows(who, "publish", "demo") for who in allowed)
    assert not any(found.allows(who, "publish", "demo") for who in others)


def test_what_everybody_reads() -> None:
    found = rights(
        rule("open-*", read=["@anonymous"], publish=["alice"]), rule("*", read=["*"], create=["*"], yank=["*"])
    )
    assert found.reads_anonymously
    found.owner = lambda _: ""
    for who in (ANONYMOUS, ALICE, BOB, BOT):
        assert found.allows(who, "read", "open-one")
        assert found.readable(who)("open-one")
        assert found.allows(who, "read", "demo") == (who is not ANONYMOUS)
    for right in GRANTS[1:]:
        for project in ("open-one", "demo"):
            assert not found.allows(ANONYMOUS, right, project, lambda _: "")
    # Who is nobody is not whom no verdict names, nor a user who is called so.
    assert not found.allows(None, "read", "open-one")
    for other in (rights(rule("demo", read=["anonymous"])), rights(rule("demo", read=["*"]))):
        assert not other.reads_anonymously
        assert not other.allows(ANONYMOUS, "read", "demo")
        assert other.allows(Who("anonymous", "readers"), "read", "demo")
    # Without rules about reading the credentials decide, and there are none.
    for closed in (Rights(), rights(rule("demo", publish=["alice"]))):
        assert not any(closed.allows(ANONYMOUS, right, "demo") for right in RIGHTS)
    scoped = Who("ci", "tokens", "token", scope=Scope(("acme-*",), frozenset[Right]({"read"})))
    assert not found.allows(scoped, "read", "open-one")


@pytest.mark.parametrize("found", [Rights(), rights(rule("acme-*", "demo", publish=["*"], yank=["*"]))])
def test_a_token_may_no_more_than_its_scope(found: Rights) -> None:
    who = Who("ci", "tokens", "token", scope=Scope(("Acme_*",), frozenset[Right]({"publish"})))
    assert found.allows(who, "publish", "acme-tools")
    assert not found.allows(who, "publish", "demo")
    assert not found.allows(who, "yank", "acme-tools")
    nothing = Who("ci", "tokens", "token", scope=Scope((), frozenset(RIGHTS)))
    assert not found.allows(nothing, "publish", "acme-tools")


def test_a_name_that_no_file_can_have_is_nobodys_and_costs_nothing() -> None:
    found = rights(rule("*", read=["*"], yank=["*"]))
    assert found.allows(ALICE, "read", "a" * LONGEST_PROJECT)
    scope = Scope(("*",), frozenset[Right]({"read", "yank"}))
    for who in (ALICE, BOT, Who("ci", "tokens", "token", scope=scope)):
        for right in scope.rights:
            assert not found.allows(who, right, "a" * (LONGEST_PROJECT + 1))
            assert not found.allows(who, right, "a" * 2**20)


def test_a_decision_does_not_grow_with_the_rules() -> None:
    def lines(number: int) -> int:
        groups = {f"g{each}": [f"u{each}-{user}" for user in range(10)] for each in range(number)}
        found = rights(*(rule(f"p{each}-*", f"*-s{each}", publish=[f"@g{each}"]) for each in range(number)), **groups)
        allowed: list[bool] = []
        number_of_lines = executed_lines(
            lambda: allowed.append(found.allows(Who("u7-3", "readers"), "publish", "p7-x"))
        )
        assert allowed == [True]
        return number_of_lines

    assert lines(1000) <= lines(10) + 50


@pytest.mark.parametrize(
    ("permissions", "reason"),
    [
        ([], "the file is []; it must be a mapping"),
        (None, "the file is None; it must be a mapping"),
        ({"groups": {}, "rules": [], "owner": 1}, "'owner' is no field of the file"),
        ({"groups": {}, "rules": {}}, "'rules' of the file is {}; it must be a list"),
        ({"groups": {"core": ["alice"]}, "rules": []}, "groups['core'] is ['alice']; it must be a mapping"),
        (
            {"groups": {}, "rules": [rule("a", publish=["@core"])]},
            "rules[0].publish has '@core', and there is no group",
        ),
        *(
            (
                {"rules": [rule("a", **{grant: ["@anonymous"]})]},
                f"rules[0].{grant} has '@anonymous', and without credentials nobody may do more than read",
            )
            for grant in ("publish", "create", "yank", "remove")
        ),
        (
            {"groups": {"anonymous": {"users": ["a"]}}, "rules": []},
            "groups has 'anonymous', and @anonymous is everybody",
        ),
        ({}, "the file has no 'rules'"),
        ({"groups": {}}, "the file has no 'rules'"),
        ({"rules": [rule("a", read=["*"]), rule(publish=["bob"])]}, "rules[1] has no 'projects'"),
        ({"rules": [{"publish": ["bob"]}]}, "rules[0] has no 'projects'"),
        ({"rules": [rule("a")]}, "rules[0] grants nobody anything"),
        ({"rules": [rule("a", publish=[], excluding=["b"])]}, "rules[0] grants nobody anything"),
        ({"rules": [rule("a", read=["token:"])]}, "rules[0].read has 'token:', and no token can have this name"),
        ({"rules": [rule("a", yank=["token:Nope_X"])]}, "rules[0].yank has 'token:Nope_X', and no token can have"),
        ({"rules": [rule("a", create=["token:"])]}, "rules[0].create has 'token:', and no token can have this name"),
        ({"rules": [rule("a", publish=[""])]}, "rules[0].publish has '', and no user can have this name"),
        ({"rules": [rule("a", remove=["team:ci"])]}, "rules[0].remove has 'team:ci', and no user can have this name"),
        (
            {"groups": {}, "rules": [{"publish": "alice"}]},
            "'publish' of rules[0] is 'alice'; it must be a",
        ),
        ({"groups": {}, "rules": [rule("a", publish=[1])]}, "'publish' of rules[0] has what is no text: [1]"),  # type: ignore[list-item]
        ({"rules": [rule("a", "a b", read=["*"])]}, "rules[0].projects[1]: 'a b' is no pattern of names"),
        ({"rules": [rule("*", read=["*"], excluding=[""])]}, "rules[0].excluding[0]: '' is no pattern of names"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, permissions: object, reason: str) -> None:
    path = tmp_path / "permissions.json"
    path.write_text(json.dumps(permissions))
    with pytest.raises(PermissionsError) as refused:
        Rights.from_file(path)
    assert str(refused.value).startswith(f"{path}: {reason}")


def test_what_is_said_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "permissions.json"
    path.write_text('{"rules": [{"projects": ["a"], "publish": ["alice"], "publish": ["bob"]}]}')
    with pytest.raises(PermissionsError) as refused:
        Rights.from_file(path)
    assert str(refused.value) == f"{path}: the key 'publish' is there twice"


@pytest.mark.parametrize("text", [None, "", "{"])
def test_no_file_is_not_no_permissions(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "permissions.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PermissionsError, match=str(path)):
        Rights.from_file(path)


@pytest.mark.parametrize(
    "who",
    [
        ALICE,
        Who('a"\\, b', "directory", groups=frozenset({"core", "ml"})),
        Who("ci", "tokens", "token", scope=Scope(("acme-*",), frozenset[Right]({"publish", "read"}))),
        ANONYMOUS,
    ],
)
def test_the_header_has_all_of_it(who: Who) -> None:
    assert Who.read(who.written) == who
    assert who.written.isascii()
    assert who.written.isprintable()


@pytest.mark.parametrize("text", ["", "alice", "[]", "{}", '{"name":"alice"}', '{"name":"a","groups":1,"scope":null}'])
def test_another_header_is_nobodys(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of JSON or of its own
        Who.read(text)


def test_rules_that_the_gateway_does_not_ask_about_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "permissions.json"
    path.write_text(json.dumps({"rules": [rule("open-*", read=["@anonymous"])]}))
    with pytest.raises(
        PermissionsError, match="has '@anonymous', and the gateway lets nobody in without credentials: list"
    ):
        rights_of(Settings(permissions=path))
    assert rights_of(Settings(permissions=path, anonymous_projects=True)).reads_anonymously
