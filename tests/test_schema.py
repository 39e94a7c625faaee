"""`python -m cdk8s_pypiserver schema`: the JSON schema takes what a spec takes, and marks what people get wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from cases import CASES
from cdk8s_pypiserver import PyPIServerSpec
from cdk8s_pypiserver.schema.generation import schema_of
from documents import DOCUMENTS, blocks
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA = schema_of(PyPIServerSpec)
CHECKED = Draft7Validator(SCHEMA)
EXAMPLES = sorted((ROOT / "examples").glob("*/registry.yaml"))


def found(text: str) -> list[str]:
    """Return where the schema finds something wrong in a YAML file."""
    return sorted(error.json_path for error in CHECKED.iter_errors(yaml.safe_load(text)))


def schemas(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from schemas(part)


def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "cdk8s_pypiserver", "schema"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == json.loads(json.dumps(SCHEMA))


def test_it_is_a_schema_of_the_drafts_that_editors_know() -> None:
    assert SCHEMA["$schema"] == Draft7Validator.META_SCHEMA["$schema"]
    for draft in (Draft7Validator, Draft202012Validator):
        draft.check_schema(SCHEMA)


def test_every_reference_leads_somewhere() -> None:
    named = {each["$ref"] for each in schemas(SCHEMA) if isinstance(each.get("$ref"), str)}
    assert {"#/$defs/GatewaySpec", "#/$defs/io.k8s.api.core.v1.EnvVar"} <= named
    assert named == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_editors_can_read_every_pattern() -> None:
    """They are written in JavaScript."""
    patterns = {each["pattern"] for each in schemas(SCHEMA) if isinstance(each.get("pattern"), str)}
    patterns |= {pattern for each in schemas(SCHEMA) for pattern in each.get("patternProperties", ())}
    assert len(patterns) > 20
    code = "for (const each of JSON.parse(require('fs').readFileSync(0))) new RegExp(each, 'u')"
    node = os.environ.get("JSII_NODE", "node")
    subprocess.run([node, "-e", code], input=json.dumps(sorted(patterns)), text=True, check=True)


def test_every_field_says_what_it_means() -> None:
    models = [SCHEMA, *(model for name, model in SCHEMA["$defs"].items() if not name.startswith("io.k8s."))]
    fields = [field for model in models for field in model["properties"].values()]
    assert [field for field in fields if not field.get("description") or "title" in field] == []


@pytest.mark.parametrize("name", CASES)
def test_it_takes_every_registry(name: str) -> None:
    assert [*CHECKED.iter_errors(CASES[name].model_dump(mode="json"))] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_it_takes_the_examples(path: Path) -> None:
    assert found(path.read_text("utf-8")) == []


def test_it_marks_what_the_readme_shows_to_be_refused() -> None:
    ((_, text),) = (block for document in DOCUMENTS for block in blocks(document) if block[0] == "yaml registry")
    assert found(text) == ["$", "$.gateway.max_upload"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("replica: 2", ["$"]),
        ("replicas: '2'", ["$.replicas"]),
        ("name: Team A", ["$.name"]),
        ("gateway: {max_upload: lots}", ["$.gateway.max_upload"]),
        ("gateway: {log_level: debug}", ["$.gateway.log_level"]),
        ("gateway: {env: [{nam: HTTP_PROXY}]}", ["$.gateway.env[0]", "$.gateway.env[0]"]),
        ("server: {threads: 1}", ["$.server.threads"]),
        ("storage: {kind: nfs}", ["$.storage"]),
        ("storage: {kind: shared, bucket: packages}", ["$.storage"]),
        ("storage: {bucket: packages}", ["$.storage"]),
        ("ingress: {}", ["$.ingress"]),
        ("pod: {labels: {a b: c}}", ["$.pod.labels"]),
        ("pod: {tolerations: {key: gpu}}", ["$.pod.tolerations"]),
        ("auth: anonymous", ["$.auth"]),
    ],
)
def test_it_marks_what_people_get_wrong(text: str, where: list[str]) -> None:
    assert found(text) == where
    with pytest.raises(ValueError, match="cannot be made"):
        PyPIServerSpec.model_validate(yaml.safe_load(text))


def test_it_takes_what_is_empty() -> None:
    assert found("{}") == found("ldap: null") == found("pod: {tolerations: [{key: gpu, operator: Exists}]}") == []
