"""The JSON schema of a spec, as far as it can be told field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from cdk8s_pypiserver.base.fields import Form
from cdk8s_pypiserver.base.raw import OfKubernetes, definitions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue
    from pydantic_core import CoreSchema, core_schema

    from cdk8s_pypiserver.base.model import Spec

_OF_KUBERNETES = "of kubernetes"
"""Stands for a reference while pydantic makes the rest, which looks up every reference among its own definitions."""
_DEFINITIONS = "#/$defs/"


class EditorSchema(GenerateJsonSchema):
    """What pydantic says of a spec, and what it leaves out: which mode is meant, which keys, and Kubernetes' fields."""

    # As far as editors of YAML go.
    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        """Return the schema with the types of Kubernetes that it names."""
        named: set[str] = set()
        made = _referring(super().generate(schema, mode), named)
        known = definitions()
        types: dict[str, Any] = {}
        while named:
            name = named.pop()
            if name not in types:
                types[name] = known[name]
                named |= _references(types[name])
        made["$defs"] = {**made.get("$defs", {}), **dict(sorted(types.items()))}
        return {"$schema": self.schema_dialect, **made}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - as in pydantic
        """Give no field a second name."""
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Return the schema of several modes, of which a value has to say its own."""
        return {**super().tagged_union_schema(schema), "required": [schema["discriminator"]]}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of a mapping, whose keys have to have the form of keys."""
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        """Return the schema of what a type of this package checks."""
        made = super().function_after_schema(schema)
        kind = getattr(schema["function"]["function"], "__self__", None)
        if isinstance(kind, OfKubernetes):
            return {_OF_KUBERNETES: kind.name}
        # What VS Code says of a text that does not match.
        return {**made, "patternErrorMessage": kind.words} if isinstance(kind, Form) else made


def _referring(made: Any, named: set[str]) -> Any:  # noqa: ANN401 - whatever a schema holds
    """Return a schema with references to types of Kubernetes; adds these to the names."""
    if isinstance(made, list):
        return [_referring(each, named) for each in made]
    if not isinstance(made, dict):
        return made
    schema = {key: _referring(value, named) for key, value in made.items()}
    if name := schema.pop(_OF_KUBERNETES, None):
        named.add(name)
        schema["$ref"] = f"{_DEFINITIONS}{name}"
    return schema


def _references(schema: Any) -> set[str]:  # noqa: ANN401 - whatever a schema holds
    if isinstance(schema, list):
        return {name for each in schema for name in _references(each)}
    if not isinstance(schema, dict):
        return set()
    here = {schema["$ref"].removeprefix(_DEFINITIONS)} if isinstance(schema.get("$ref"), str) else set()
    return here | _references([*schema.values()])


def schema_of(spec: type[Spec]) -> Mapping[str, Any]:
    """Return the JSON schema of YAML files of a spec."""
    return spec.model_json_schema(schema_generator=EditorSchema)
