"""What is wrong with a spec: each field, its value and the reason, all of them in one error."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from reprlib import Repr
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
"""Where a value stands in a spec: names of fields, keys of mappings, indices of lists."""

NO_VALUE: Any = object()
"""The value of a problem that is about no value, such as a missing field."""

_REASONS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of a sensible size",
    "int_type": "must be a whole number",
    "is_instance_of": "must be a list",
    "json_invalid": "is not JSON: {error}",
    "json_type": "must be JSON as text",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "mapping_type": "must be a mapping",
    "missing": "is missing",
    "model_attributes_type": "must be a mapping of fields",
    "model_type": "must be a mapping of fields",
    "none_required": "must be left out",
    "sequence_str": "must be a list, even of one entry",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_type": "must be text; in YAML, put it in quotes where it looks like something else",
    "string_unicode": "must be text",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length}, has {actual_length}",
    "tuple_type": "must be a list",
    "union_tag_not_found": "is missing",
}
"""What is said of each of pydantic's types of errors (https://docs.pydantic.dev/latest/errors/validation_errors/)."""

_ABOUT_NO_VALUE = ("json_invalid", "missing")

_MAPPING = "given"
"""How a spec or a mapping is shown, which may be long."""

_shown = Repr()
_shown.maxstring = _shown.maxother = 100


@dataclass(frozen=True)
class Problem:
    """Why a value cannot be taken."""

    path: Path
    """Where it stands."""
    value: Any
    """The value, or NO_VALUE."""
    reason: str
    """What follows the field and its value in a sentence: "must be …", "cannot be …"."""
    file: str | None = None
    """The file that the value comes from, if it does."""
    line: int | None = None
    """Where in the file."""

    @property
    def field(self) -> str:
        """The path as one writes it: `gateway.certificate.hosts[0]`, `labels["example.org/team"]`."""
        return "".join(map(_step, self.path)).removeprefix(".")

    def within(self, path: Path) -> "Problem":
        """Return the problem as seen from the spec that holds this one there."""
        return replace(self, path=(*path, *self.path))

    def __str__(self) -> str:
        """Return the line of the message."""
        given = "" if self.value is NO_VALUE else _text(self.value)
        if self.path:
            said = f"{self.field} ({given}) {self.reason}" if given else f"{self.field} {self.reason}"
        else:
            # Of what was given as a whole there is nothing to show but another kind of value.
            said = f"{self.reason}, not {given}" if given and given != _MAPPING else self.reason
        return f"{self.file}:{self.line}: {said}" if self.file else said


class SpecError(ValueError):
    """A spec cannot work.

    Attributes:
        subject: What was to be made, such as `PyPIServerSpec`.
        problems: All that is wrong with it.
    """

    def __init__(self, subject: str, problems: Iterable[Problem]) -> None:
        """Make the error, whose message has a line for each problem."""
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(subject, self.problems)

    def __str__(self) -> str:
        """Return the subject, and a line for each problem."""
        return "\n  ".join([f"{self.subject} cannot be made:", *map(str, self.problems)])


def problems_of(error: ValidationError, model: type[BaseModel], values: object) -> list[Problem]:
    """Return what pydantic found wrong with the values of a model."""
    problems: list[Problem] = []
    # Of a union, every type has a reason of its own; what the location says more than the path is such a type.
    by_type: dict[Path, int] = {}
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"], model, values)
        found = list(_problems(detail, path, model))
        first = by_type.get(path)
        if first is not None and problems[first].value is detail["input"]:
            reasons = [problems[first].reason, *(problem.reason for problem in found)]
            problems[first] = replace(problems[first], reason=", or ".join(reasons))
            continue
        if len(path) < len(detail["loc"]):
            by_type[path] = len(problems)
        problems.extend(found)
    return problems


def _problems(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> Iterator[Problem]:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    cause = context.get("error")
    if isinstance(cause, SpecError):
        yield from (problem.within(path) for problem in cause.problems)
    elif isinstance(cause, Exception):
        yield Problem(path, value, str(cause))
    elif kind == "extra_forbidden":
        yield Problem(path, value, f"is no field here; {_advice(str(path[-1]), model)}")
    elif kind == "union_tag_invalid":
        choices = context["expected_tags"]
        yield Problem((*path, context["discriminator"].strip("'")), context["tag"], f"must be one of {choices}")
    elif kind == "union_tag_not_found":
        yield Problem((*path, context["discriminator"].strip("'")), NO_VALUE, _REASONS[kind])
    elif kind in _REASONS:
        yield Problem(path, NO_VALUE if kind in _ABOUT_NO_VALUE else value, _REASONS[kind].format(**context))
    else:
        yield Problem(path, value, detail["msg"].replace("Input should", "must"))


def _path(location: Sequence[str | int], model: type[BaseModel], values: object) -> Path:
    """Return the location without what pydantic puts in of its own: tags and types of unions, marks of keys."""
    path: list[str | int] = []
    here: Any = values
    for part in location:
        is_key = isinstance(here, Mapping) and part in here
        is_index = isinstance(here, (list, tuple)) and isinstance(part, int)
        if is_key or is_index:
            here = here[part]
        elif path or part not in model.model_fields:
            continue
        path.append(part)
    return tuple(path)


def _advice(name: str, model: type[BaseModel]) -> str:
    fields = list(model.model_fields)
    near = difflib.get_close_matches(name, fields, n=1)
    near += [".".join(path) for path in _inner_fields(model) if path[-1] == name]
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"


def _inner_fields(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Yield the fields of the models within a model."""
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from ((name, found) for found in inner.model_fields)
            yield from ((name, *found) for found in _inner_fields(inner))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - whatever an annotation may be
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isidentifier() else f"[{json.dumps(part, ensure_ascii=False)}]"


def _text(value: object) -> str:
    if isinstance(value, (BaseModel, Mapping)):
        return _MAPPING
    try:
        return _shown.repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number of too many digits"
