"""`token`: what the command line names is read and checked, then a line is added, shown or printed."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from pathlib import Path

    from server.access import token_lines
    from server.access.token_lines import LineError, Lines, Token
else:
    # The one place that knows the format; as part of this package, since a user may have a `server` of their own.
    from cdk8s_pypiserver.runtime.server.access import token_lines
    from cdk8s_pypiserver.runtime.server.access.token_lines import LineError, Token

_Value = TypeVar("_Value")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


class InputError(Exception):
    """An argument with which there is nothing to begin."""

    def __init__(self, argument: str, value: object, why: str) -> None:
        """Name the argument, its value and the reason."""
        super().__init__(f"argument {argument}: {str(value)!r} {why}")


def run(given: Namespace) -> int:
    """Do what the arguments say, and return the exit status."""
    actions = {"new": _new, "list": _list, "patch": _patch}
    try:
        return actions[given.action](given)
    except InputError as error:
        sys.stderr.write(f"token: error: {error}\n")
        return 2


def _new(given: Namespace) -> int:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    text = _text(given.file, missing="")
    lines = token_lines.read(text)
    if lines.problems:
        _tell(given.file, lines)
        return 1
    if given.name in lines.tokens:
        raise InputError("NAME", given.name, f"is in {given.file} already; a token in its place needs another name")
    expires = _moment("--expires", given.expires, now)
    not_before = _moment("--not-before", given.not_before, now) if given.not_before else None
    if expires and expires <= (not_before or now):
        raise InputError("--expires", given.expires, "is not after --not-before" if not_before else "has passed")
    secret = token_lines.make(given.name)
    token = Token(
        name=given.name,
        sha256=token_lines.digest(secret),
        rights=_field("--rights", given.rights, token_lines.read_rights),
        projects=_field("--projects", given.projects, token_lines.read_projects),
        expires=expires,
        not_before=not_before,
    )
    try:
        Token.of(token.line)
    except LineError as error:
        raise InputError("NAME", given.name, error.reason) from error
    _append(given.file, token.line if text.endswith("\n") or not text else f"\n{token.line}")
    if "read" in token.rights and "*" not in token.projects:
        reason = f"with --projects {given.projects!r} it reads nothing, unless rules of permissions are about reading"
        sys.stderr.write(f"token: warning: {reason}\n")
    print(secret)  # noqa: T201 - what the command is for
    return 0


def _list(given: Namespace) -> int:
    lines = token_lines.read(_text(given.file))
    now = datetime.now(timezone.utc)
    rows = [("NAME", "RIGHTS", "PROJECTS", "EXPIRES", "STATE")]
    for token in lines.tokens.values():
        end = token.expires.strftime(token_lines.MOMENT) if token.expires else token_lines.NEVER
        rows.append((token.name, ",".join(token.rights), ",".join(token.projects), end, _state(token, now)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())  # noqa: T201
    _tell(given.file, lines)
    return 1 if lines.problems else 0


def _patch(given: Namespace) -> int:
    text = _text(given.file)
    lines = token_lines.read(text)
    if lines.problems:
        _tell(given.file, lines)
        return 1
    print(json.dumps({"stringData": {"tokens": text}}))  # noqa: T201
    return 0


def _state(token: Token, now: datetime) -> str:
    if token.expires and token.expires <= now:
        return "expired"
    if token.not_before and now < token.not_before:
        return f"counts from {token.not_before.strftime(token_lines.MOMENT)}"
    return f"{(token.expires - now).days} days left" if token.expires else "counts"


def _tell(path: Path, lines: Lines) -> None:
    for number, problem in lines.problems.items():
        sys.stderr.write(f"token: error: {path}, line {number}: {problem}\n")


def _field(argument: str, value: str, read: Callable[[str], _Value]) -> _Value:
    try:
        return read(value)
    except LineError as error:
        raise InputError(argument, value, error.reason) from error


def _moment(argument: str, value: str, now: datetime) -> datetime | None:
    if value == token_lines.NEVER and argument == "--expires":
        return None
    if found := re.fullmatch(r"([1-9][0-9]{0,3})([hd])", value):
        return now + int(found[1]) * _UNITS[found[2]]
    with suppress(ValueError):
        return datetime.strptime(value, token_lines.MOMENT).replace(tzinfo=timezone.utc)
    raise InputError(argument, value, "is no time such as 90d, 12h or 2027-01-31T00:00:00Z")


def _text(path: Path, missing: str | None = None) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        if missing is not None:
            return missing
        raise InputError("--file", path, "is not there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("--file", path, f"cannot be read: {error}") from error


def _append(path: Path, line: str) -> None:
    """Add a line behind what is there: whatever somebody else has written meanwhile stays."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise InputError("--file", path, f"cannot be written: {error.strerror}") from error
