"""The rules of whose attestations files must have: what they say of a project, and what is no rule."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from server.access.attestation_rules import AttestationRules, AttestationRulesError, Demand
from signed import OTHER, SIGNER, rules, write_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from programs import Server

    Serve = Callable[..., Server]

RULE = rules(SIGNER)["publishers"][0]


def said(**changed: object) -> dict[str, Any]:
    return {"publishers": [{**RULE, **changed}]}


def test_a_project_is_that_of_each_rule_that_names_it_in_any_spelling() -> None:
    attested = AttestationRules(
        {
            "publishers": [
                {**RULE, "projects": ["Acme_*"], "required": False},
                {**RULE, "projects": ["acme-lib"], "publisher": OTHER},
                {**RULE, "projects": ["acme.lib"], "required": False},
            ]
        }
    )
    assert attested.of("acme-docs") == Demand((SIGNER,), required=False)
    assert attested.of("acme-lib") == Demand((SIGNER, OTHER), required=True)
    assert attested.of("acme") == Demand((), required=False)


def test_without_a_file_nothing_is_demanded() -> None:
    assert AttestationRules.from_file(None).of("acme") == Demand((), required=False)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("banana", "Expecting value"),
        ("null", "the file must be an object with publishers"),
        ("[]", "the file must be an object with publishers"),
        ("{}", "the file must be an object with publishers"),
        ("[" * 100_000, ""),
        ({"publishers": []}, "the file has no publishers"),
        ({"publishers": None}, "the file.publishers is None, which is no list"),
        ({**said(), "required_for_all": True}, "and nothing else"),
        ('{"publishers": [], "publishers": []}', "the key 'publishers' is there twice"),
        (said(requird=True), "publishers[0] must be an object with projects, publisher, required, and nothing else"),
        (said(required="no"), "publishers[0].required is 'no', which is no bool"),
        (said(required=0), "publishers[0].required is 0, which is no bool"),
        (said(projects=[]), "publishers[0].projects must be names and patterns of projects"),
        (said(projects="acme"), "publishers[0].projects is 'acme', which is no list"),
        (said(projects=[1]), "publishers[0].projects must be names and patterns of projects"),
        (said(projects=["a b"]), "'a b' is no pattern of names"),
        (said(publisher={**SIGNER, "kind": "Gitea"}), "publishers[0].publisher.kind is 'Gitea'; it must be one of"),
        (said(publisher={**SIGNER, "kind": ["GitHub"]}), "publishers[0].publisher.kind is ['GitHub']"),
        (said(publisher={**SIGNER, "workflow": ""}), "publishers[0].publisher has an empty text"),
        (said(publisher={**SIGNER, "workflow": None}), "publishers[0].publisher.workflow is None, which is no str"),
        (said(publisher={**SIGNER, "environment": "pypi"}), "publishers[0].publisher must be an object with kind"),
        (said(publisher={"kind": "GitHub", "repository": "a/b"}), "must be an object with kind, repository, workflow"),
    ],
)
def test_what_is_no_rule_is_named(tmp_path: Path, file: object, reason: str) -> None:
    with pytest.raises(AttestationRulesError) as refused:
        AttestationRules.from_file(write_rules(tmp_path, file))
    assert reason in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_file_that_is_not_there_is_no_leave(tmp_path: Path) -> None:
    with pytest.raises(AttestationRulesError, match="No such file"):
        AttestationRules.from_file(tmp_path / "missing.json")


@pytest.mark.parametrize("file", [None, "banana", json.dumps(said(required="no"))])
def test_the_server_does_not_start_with_rules_that_cannot_be_used(
    serve: Serve, tmp_path: Path, file: str | None
) -> None:
    path = tmp_path / "missing.json" if file is None else write_rules(tmp_path, file)
    with pytest.raises(AssertionError, match=r"the rules about attestations cannot be used: .*json"):
        serve(ATTESTATIONS=str(path))
