"""Kubernetes' own values as plain YAML, checked against the API of the oldest minor that is supported.

The schemas are those of kubernetes-validate, which are made of Kubernetes' own and refuse unknown fields. They are read
when the first such value is given: that takes as long as a small synth.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .problems import NO_VALUE, Path, Problem, SpecError

if TYPE_CHECKING:
    from jsonschema import ValidationError

OLDEST = (1, 25)
"""The oldest Kubernetes minor that is supported."""

_CORE = "io.k8s.api.core.v1"
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


@dataclass(frozen=True)
class OfKubernetes:
    """A type of the Kubernetes API; stands in `Annotated[Mapping[str, Any], OfKubernetes(…)]`.

    Raises:
        SpecError: when a spec is made with a value that the API does not know; with the path inside the value.
    """

    name: str
    """Name of the type, as in https://kubernetes.io/docs/reference/kubernetes-api/ with its group in front."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Have pydantic check the value."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        problems = list(_problems(self.name, value))
        if problems:
            raise SpecError(self.name.rpartition(".")[2], problems)
        return value


Affinity = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.Affinity")]
Container = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.Container")]
DNSConfig = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.PodDNSConfig")]
EnvFromSource = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.EnvFromSource")]
EnvVar = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.EnvVar")]
HostAlias = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.HostAlias")]
PodSecurityContext = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.PodSecurityContext")]
ScalingBehavior = Annotated[
    Mapping[str, Any], OfKubernetes("io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior")
]
SecurityContext = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.SecurityContext")]
Toleration = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.Toleration")]
TopologySpreadConstraint = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.TopologySpreadConstraint")]
Volume = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.Volume")]
VolumeMount = Annotated[Mapping[str, Any], OfKubernetes(f"{_CORE}.VolumeMount")]


def check_pod_fields(fields: Mapping[str, Any]) -> None:
    """Check fields of a pod spec, as the newest minor knows them.

    Raises:
        SpecError: it does not know a field, or a value cannot be one of it.
    """
    problems: list[Problem] = []
    # The containers, which every pod must have, come from elsewhere.
    plain = {"containers": [], **_plain(fields, (), problems)}
    problems = problems or [*_found(_minors()[-1], f"{_CORE}.PodSpec", plain).values()]
    if problems:
        raise SpecError("PodSpec", problems)


def check_part(kind: str, called: str, fields: Any) -> None:  # noqa: ANN401 - whatever somebody gives
    """Check a part of a pod spec, as the newest minor knows it.

    Args:
        kind: Its type: Container or Volume.
        called: What the error calls it.
        fields: The part.

    Raises:
        SpecError: it does not know a field, or a value cannot be one of it.
    """
    problems: list[Problem] = []
    plain = _plain(fields, (), problems)
    problems = problems or [*_found(_minors()[-1], f"{_CORE}.{kind}", plain).values()]
    if problems:
        raise SpecError(called, problems)


def definitions() -> Mapping[str, Any]:
    """Return the JSON schemas of the API's types, as the oldest minor has them; they refer to each other."""
    return _definitions(_minors()[0])


def _problems(name: str, value: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a value of this type."""
    unnamed: list[Problem] = []
    plain = _plain(value, (), unnamed)
    if unnamed:
        yield from unnamed
        return
    minors = _minors()
    found = _found(minors[0], name, plain)
    later = _found(minors[-1], name, plain) if found else {}
    for path, problem in found.items():
        if path in later:
            yield problem
        else:
            minor = ".".join(map(str, OLDEST))
            reason = (
                f"is not in Kubernetes {minor}, the oldest that is supported; on a later one, set it on what is made: "
                "registry.pod.set, registry.pod.add_container, cdk8s.ApiObject.of(…).add_json_patch"
            )
            yield Problem(problem.path, problem.value, reason)


def _plain(value: Any, path: Path, problems: list[Problem]) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Return the value in lists and dicts, without what is null, which Kubernetes takes for absent."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                reason = "must be text; YAML reads on, off, yes and no as true or false"
                problems.append(Problem((*path, str(key)), key, reason))
        return {key: _plain(inner, (*path, str(key)), problems) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        problems += [
            Problem((*path, index), None, "must be left out") for index, each in enumerate(value) if each is None
        ]
        return [_plain(inner, (*path, index), problems) for index, inner in enumerate(value)]
    return value


def _found(minor: tuple[int, int], name: str, value: Any) -> dict[Path, Problem]:  # noqa: ANN401
    # Loading it takes longer than a whole synth.
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    schema = {"$ref": f"#/$defs/{name}", "$defs": _definitions(minor)}
    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda error: str(error.absolute_path))
    return {problem.path: problem for error in errors for problem in _each(error)}


def _each(error: "ValidationError") -> Iterator[Problem]:
    """Yield the problems of an error, in plain words."""
    path, value = tuple(error.absolute_path), error.instance
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                yield Problem((*path, name), value[name], f"is no field here; {advice}")
    elif error.validator == "required":
        yield from (
            Problem((*path, name), NO_VALUE, "is missing") for name in error.validator_value if name not in value
        )
    else:
        asked = [error.schema, *error.schema.get("oneOf", ())]
        types = [schema["type"] for schema in asked if "type" in schema]
        names = [name for each in types for name in ([each] if isinstance(each, str) else each) if name in _TYPES]
        yield Problem(path, value, f"must be {' or '.join(_TYPES[name] for name in names)}")


@cache
def _minors() -> list[tuple[int, int]]:
    """Return the minors whose schemas are there, the oldest that is supported first."""
    names = (folder.name for folder in _schemas().iterdir())
    minors = {(int(found[1]), int(found[2])) for name in names if (found := re.match(r"v(\d+)\.(\d+)\.", name))}
    return sorted(minor for minor in minors if minor >= OLDEST)


@cache
def _definitions(minor: tuple[int, int]) -> Mapping[str, Any]:
    text = (_schemas() / f"v{minor[0]}.{minor[1]}.0-local-strict" / "_definitions.json").read_text("utf-8")
    definitions: dict[str, Any] = json.loads(text)["$defs"]
    return definitions


def _schemas() -> Any:  # noqa: ANN401 - a Traversable, which moved between modules in Python 3.11
    return files("kubernetes_validate") / "kubernetes-json-schema"
