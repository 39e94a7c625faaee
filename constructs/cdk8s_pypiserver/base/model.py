"""What every spec shares: the strict base model, which says all that is wrong at once."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from typing_extensions import Self

from .fields import Bytes, Cpu, quantity
from .problems import NO_VALUE, Problem, SpecError, problems_of
from .problems import Path as ValuePath
from .yaml_file import YamlFile

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Spec(BaseModel):
    """Base of all specs: immutable down to the last list, and strict about unknown fields and about types.

    Raises:
        SpecError: values cannot work; the message names each field, its value and the reason.
    """

    # Reading the docstrings takes a fortieth of a synth: `python -O` goes without them, as jsii without its checks.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=__debug__)
    may_repeat: ClassVar[frozenset[str]] = frozenset()
    """Fields whose lists may have an entry twice."""

    # pydantic calls this for specs within specs too, so each finds its own problems.
    def __init__(self, /, **values: Any) -> None:  # noqa: ANN401 - as in pydantic
        """Check the values, and make the spec of them."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SpecError(type(self).__name__, problems_of(error, type(self), values)) from None
        problems: list[Problem] = []
        for name, value in self.__dict__.items():
            self.__dict__[name] = _settled(value, (name,), problems)
        # What cannot work together is worth saying of values only that are right one by one.
        problems = problems or [*self.conflicts()]
        if problems:
            raise SpecError(type(self).__name__, problems)

    def conflicts(self) -> Iterator[Problem]:
        """Yield what is right field by field and cannot work together; a subclass yields from super() too.

        Here it is a name, or whatever else is one text or number, that a list has twice: another one was meant.
        """
        for field, value in self.__dict__.items():
            if isinstance(value, tuple) and field not in self.may_repeat:
                yield from _repeated(field, value)

    def problem(self, field: str, reason: str) -> Problem:
        """Return a problem with the value that a field has.

        Args:
            field: The field, or one of a spec in it: `gateway.max_upload`.
            reason: What follows the field and its value in a sentence: "must be …", "cannot be …".
        """
        parts = field.split(".")
        return Problem(tuple(parts), reduce(getattr, parts, self), reason)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read the spec from a YAML file, with the field names of this model as keys.

        Raises:
            SpecError: as the constructor does, and if it is not YAML or has a key twice; with file and line.
            OSError: the file cannot be read.
        """
        file = YamlFile(Path(path), cls.__name__)
        problems = file.repeated
        made = None
        try:
            made = cls.model_validate(file.value)
        except SpecError as error:
            problems = problems + [replace(found, line=file.line_of(found.path)) for found in error.problems]
        if problems or made is None:
            in_order = sorted(problems, key=lambda problem: problem.line or 0)
            raise SpecError(cls.__name__, [replace(problem, file=str(path)) for problem in in_order])
        return made

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:  # noqa: ANN401 - as in pydantic
        """Make the spec of a mapping; the options are pydantic's.

        Raises:
            SpecError: as the constructor does.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise SpecError(cls.__name__, problems_of(error, cls, obj)) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:  # noqa: ANN401
        """Make the spec of JSON; the options are pydantic's.

        Raises:
            SpecError: as the constructor does, or it is not JSON.
        """
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise SpecError(cls.__name__, problems_of(error, cls, json_data)) from None

    def replace(self, **fields: Any) -> Self:  # noqa: ANN401 - whatever the fields hold
        """Return a copy with other values of these fields, checked like any spec.

        Raises:
            SpecError: as the constructor does.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**{**given, **fields})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; with `update`, what `replace` returns: pydantic would not check it."""
        return self.replace(**update) if update else super().model_copy(deep=deep)

    if not TYPE_CHECKING:  # mypy knows from `frozen` that there is nothing to assign to

        def __setattr__(self, name: str, value: object) -> None:
            """Refuse."""
            self._refuse_change(name, value)

        def __delattr__(self, name: str) -> None:
            """Refuse."""
            self._refuse_change(name, NO_VALUE)

    def _refuse_change(self, name: str, value: object) -> NoReturn:
        reason = "cannot be changed: a spec stays as it was made; make another with replace(…)"
        raise SpecError(type(self).__name__, [Problem((name,), value, reason)])

    @model_validator(mode="wrap")
    @classmethod
    def _keys_are_text(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401
        """Refuse other keys, which cannot be names of arguments: YAML reads `on:` as True."""
        other = [key for key in values if not isinstance(key, str)] if isinstance(values, dict) else []
        if other:
            reason = "must be the name of a field, as text; YAML reads on, off, yes and no as true or false"
            raise SpecError(cls.__name__, [Problem((str(key),), key, reason) for key in other])
        return handler(values)


def _repeated(field: str, values: tuple[Any, ...]) -> Iterator[Problem]:
    seen = set()
    for number, value in enumerate(values):
        if isinstance(value, (str, int)):
            if value in seen:
                yield Problem((field, number), value, "is there twice")
            seen.add(value)


class _FrozenDict(dict[_Key, _Value]):
    """A mapping that stays as it was made; a dict, since jsii and writers of YAML know no other mapping."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a mapping of a spec cannot be changed")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def _settled(value: Any, path: ValuePath, problems: list[Problem]) -> Any:  # noqa: ANN401 - whatever a field holds
    """Return the value with mappings and lists that cannot be changed; notes texts that no manifest can hold."""
    if isinstance(value, str):
        if not value.isprintable() and not all(letter.isprintable() or letter in "\t\r\n" for letter in value):
            problems.append(Problem(path, value, "must not hold control characters"))
        return value
    if isinstance(value, Mapping):
        for key in value:
            _settled(key, (*path, key), problems)
        return _FrozenDict({key: _settled(inner, (*path, key), problems) for key, inner in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(_settled(inner, (*path, index), problems) for index, inner in enumerate(value))
    return value


class Resources(Spec):
    """What a container asks for and may use."""

    cpu_request: Cpu | None = "100m"
    """CPU that the scheduler sets aside; the autoscaler measures against it."""
    memory_request: Bytes | None = "64Mi"
    """Memory that the scheduler sets aside."""
    cpu_limit: Cpu | None = None
    """CPU the container may use at most; none by default, since throttling slows every request."""
    memory_limit: Bytes | None = "256Mi"
    """Memory at which the container is killed."""
    ephemeral_storage_request: Bytes | None = None
    """Room on the node's disk that the scheduler sets aside, for scratch space and logs."""
    ephemeral_storage_limit: Bytes | None = None
    """Room on the node's disk at which the pod is evicted."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield requests above their limits, which the API server refuses."""
        yield from super().conflicts()
        for what in ("cpu", "memory", "ephemeral_storage"):
            request, limit = f"{what}_request", f"{what}_limit"
            asked, most = getattr(self, request), getattr(self, limit)
            if asked and most and quantity(asked) > quantity(most):
                yield self.problem(request, f"must not be above {limit} ({most})")
