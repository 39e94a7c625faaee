"""What a field of a spec takes, in plain words of Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from annotated_types import Ge, Le, MinLen
from pydantic.fields import FieldInfo

from cdk8s_pypiserver import Spec
from cdk8s_pypiserver.base.fields import Form, Peer
from cdk8s_pypiserver.base.raw import OfKubernetes

_LONGEST_DEFAULT = 60


def words(annotation: object) -> str:  # noqa: PLR0911 - one for each kind
    """Return what a field of this type takes, in plain words."""
    if annotation == Peer:
        return "`NetworkPolicyPeer` of Kubernetes"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _limited(parts[0], parts[1:])
    if origin in {Union, UnionType}:
        return either([words(part) for part in parts if part is not NoneType])
    if origin is Literal:
        return either([f"`{part}`" for part in parts]) if len(parts) > 1 else f"always `{parts[0]}`"
    if origin is Sequence:
        each = words(parts[0])
        return f"a list of {each}" if each.startswith(("[", "`")) else f"a list, each {each}"
    if origin is Mapping:
        if parts[1] is Any:
            return "a mapping"
        return f"a mapping, each key {words(parts[0])}, each value {words(parts[1])}"
    if is_spec(annotation):
        return link(annotation)
    plain: dict[object, str] = {bool: "`true` or `false`", int: "a whole number", str: "text"}
    return plain[annotation]


def _limited(annotation: object, limits: Sequence[object]) -> str:
    said = words(annotation) if annotation != Mapping[str, Any] else "a mapping"
    limits = [each for limit in limits for each in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    for limit in limits:
        if isinstance(limit, Form):
            said = escaped(re.sub("^must be |^(?=must )", lambda match: "" if match[0] else "text that ", limit.words))
        elif isinstance(limit, OfKubernetes):
            said = f"`{limit.name.rpartition('.')[2]}` of Kubernetes"
        elif isinstance(limit, MinLen):
            said += ", at least one" if limit.min_length == 1 else f", at least {limit.min_length}"
    bounds = [limit for limit in limits if isinstance(limit, (Ge, Le))]
    if bounds:
        least, most = (next(getattr(each, key) for each in bounds if hasattr(each, key)) for key in ("ge", "le"))
        said = f"{said} from {least} to {most}"
    return said


def default(annotation: object, field: FieldInfo) -> str:
    """Return what a field is if it is left out, as it follows what the field takes."""
    if get_origin(annotation) is Literal and len(get_args(annotation)) == 1:
        return ""
    if field.is_required():
        return "; required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Spec) and len(specs_in(annotation)) > 1:
        return f"; by default {link(type(value))}"
    if isinstance(value, Spec):
        given = [name for name in type(value).model_fields if name in value.model_fields_set]
        value = {name: getattr(value, name) for name in given}
    text = "" if value is None or value in ((), {}) else _shown(value)
    return f"; by default `{text}`" if text and len(text) <= _LONGEST_DEFAULT else "; optional"


def _shown(value: object) -> str:
    if isinstance(value, str):
        # An image's digest says nothing to a reader.
        return value.partition("@sha256:")[0]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


def is_spec(kind: object) -> TypeGuard[type[Spec]]:
    """Return whether this is a class of specs."""
    return isinstance(kind, type) and issubclass(kind, Spec)


def specs_in(annotation: object) -> list[type[Spec]]:
    """Return the specs that a field of this type may hold."""
    if is_spec(annotation):
        return [annotation]
    return [found for part in get_args(annotation) for found in specs_in(part)]


def is_list(annotation: object) -> bool:
    """Return whether a field of this type is a list."""
    parts = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    return get_origin(parts[0]) is Sequence


def link(spec: type[Spec]) -> str:
    """Return a link to what is said of a spec."""
    return f"[{spec.__name__}](#{spec.__name__.lower()})"


def either(parts: Sequence[str], word: str = "or") -> str:
    """Return the parts as a sentence lists them."""
    *others, last = parts
    return f"{', '.join(others)} {word} {last}" if others else last


def escaped(text: str) -> str:
    """Return text whose stars and angles are no marks, but for those in code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)
