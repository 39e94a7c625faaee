"""What the catalogue is made of: lines, each about one file or one record."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT = 1


class File(NamedTuple):
    """A file that is listed."""

    path: str
    size: int
    changed: int
    """When it was published, in seconds: what the index says, and what every pod's copy of it bears."""
    sha256: str
    metadata: str | None
    """The sha256 of a wheel's METADATA."""
    requires_python: str | None
    seen: int | None
    """When the store got it, as the store says; None while no listing has told."""


class Gone(NamedTuple):
    """A file that is not listed any more."""

    path: str


class Record(NamedTuple):
    """A small file of the server's own."""

    directory: str
    name: str
    content: str | None
    """What is in it, as far as the index needs that; None if it is gone."""


Line: TypeAlias = File | Gone | Record
_KINDS: dict[str, type[Line]] = {"file": File, "gone": Gone, "record": Record}
_NAMES = {kind: name for name, kind in _KINDS.items()}


class IncompleteError(ValueError):
    """A part of the catalogue that has no end, or that cannot be read."""


def written(lines: Iterable[Line], by: str) -> Iterator[bytes]:
    """The text of a part of the catalogue, line by line; `by` says who has written it."""
    # The token tells two attempts at the same part apart.
    yield _text({"format": FORMAT, "by": by, "token": uuid.uuid4().hex})
    count = 0
    for line in lines:
        yield _text([_NAMES[type(line)], *line])
        count += 1
    yield _text({"lines": count})


def read(text: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a part of the catalogue.

    Raises:
        IncompleteError: It is not one, or not all of one; also after some lines.
    """
    count, ended = -1, False
    for each in text:
        found = _json(each)
        if count < 0:
            if not (isinstance(found, dict) and found.get("format") == FORMAT):
                raise IncompleteError("it is of another format, or none at all")
        elif isinstance(found, dict):
            ended = found.get("lines") == count
            break
        else:
            yield _line(found)
        count += 1
    if not ended:
        raise IncompleteError("it has no end")


def _line(found: Any) -> Line:  # noqa: ANN401 - whatever JSON has
    try:
        kind, *fields = found
        return _KINDS[kind](*fields)
    except (KeyError, TypeError, ValueError) as error:
        raise IncompleteError(f"it has a line that is none: {error}") from error


def _json(text: bytes) -> Any:  # noqa: ANN401 - as above
    try:
        return json.loads(text)
    except ValueError as error:
        raise IncompleteError("it is cut short") from error


def _text(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
