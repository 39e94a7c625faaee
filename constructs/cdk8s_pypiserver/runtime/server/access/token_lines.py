"""The file of tokens: a line each, in which nothing is secret but that there is such a token.

`ci sha256=… rights=publish,yank projects=team-a-*,tool expires=2027-01-31T00:00:00Z not-before=2027-01-01T00:00:00Z`;
`not-before` may be left out, and `expires` may be `never`. The digest is that of the whole token. A fast one is right:
it hides a number of 192 random bits, which nobody finds by trying, whereas passwords are words that people have chosen.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

# Relative, since `python -m cdk8s_pypiserver token` loads this file as part of the package.
from .who import RIGHTS, Right

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USER = "__token__"
"""The user whose password is a token, as on PyPI."""
SECRET_BYTES = 24
LONGEST_PROJECTS = 2000
"""Characters of a token's projects: they are in a header of a verdict, and nginx takes 4 KiB of headers."""
MOST_PROJECTS = 500
"""How many they may be: there each takes two more."""
NEVER = "never"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
NAME = r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?"
"""What a token can be called; a trusted publisher too."""
_TOKEN = re.compile(rf"pypiserver_({NAME})_[0-9a-f]{{{2 * SECRET_BYTES}}}")
_PATTERN = re.compile(r"[A-Za-z0-9._*-]+")
_FIELD = re.compile(r"(sha256|rights|projects|expires|not-before)=(.*)")


class LineError(ValueError):
    """A line is no token; the text says what is wrong with which field, and shows nothing that could be a secret.

    Attributes:
        reason: The text without the field and its value.
    """

    def __init__(self, field: str, reason: str, value: str | None = None) -> None:
        """Name the field, and the value where it may be shown."""
        self.reason = reason
        super().__init__(f"{field} {reason}" if value is None else f"{field} {reason} (got {value!r})")


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is known of a token."""

    name: str
    sha256: str
    """Of the token, in hexadecimal digits."""
    rights: tuple[Right, ...]
    projects: tuple[str, ...]
    """Names of projects, in which `*` stands for anything."""
    expires: datetime | None
    """From when on it is refused; None for never."""
    not_before: datetime | None = None
    """Until when it is refused; None for a token that counts from the start."""

    @property
    def line(self) -> str:
        """The token's line."""
        fields = [
            self.name,
            f"sha256={self.sha256}",
            f"rights={','.join(self.rights)}",
            f"projects={','.join(self.projects)}",
            f"expires={self.expires.strftime(MOMENT) if self.expires else NEVER}",
        ]
        if self.not_before:
            fields.append(f"not-before={self.not_before.strftime(MOMENT)}")
        return " ".join(fields)

    @classmethod
    def of(cls, line: str) -> Token:
        """Read a line.

        Raises:
            LineError: It is no token.
        """
        name, *words = line.split()
        if not re.fullmatch(NAME, name):
            raise LineError("the name", "must be lower-case letters, digits, - and ., 63 at most")
        fields: dict[str, str] = {}
        for word in words:
            found = _FIELD.fullmatch(word)
            if not found:
                raise LineError("a field", "must be one of sha256=, rights=, projects=, expires= and not-before=")
            if found[1] in fields:
                raise LineError(found[1], "must be given once")
            fields[found[1]] = found[2]
        if not re.fullmatch(r"[0-9a-f]{64}", _required(fields, "sha256")):
            raise LineError("sha256", "must be 64 hexadecimal digits")
        return cls(
            name=name,
            sha256=fields["sha256"],
            rights=read_rights(_required(fields, "rights")),
            projects=read_projects(_required(fields, "projects")),
            expires=None if _required(fields, "expires") == NEVER else _moment("expires", fields["expires"]),
            not_before=_moment("not-before", fields["not-before"]) if "not-before" in fields else None,
        )


class Lines(NamedTuple):
    """What a file says."""

    tokens: Mapping[str, Token]
    """By name."""
    problems: Mapping[int, LineError]
    """By the number of the line."""


def read(text: str) -> Lines:
    """Read a file. Of a name that several lines have none counts: nobody knows which of them was meant."""
    found: dict[int, Token] = {}
    problems: dict[int, LineError] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            found[number] = Token.of(line)
        except LineError as error:
            problems[number] = error
    names = Counter(token.name for token in found.values())
    for number, token in found.items():
        if names[token.name] > 1:
            problems[number] = LineError("the name", "must be that of one line: none of them counts", token.name)
    tokens = {token.name: token for number, token in found.items() if number not in problems}
    return Lines(tokens, dict(sorted(problems.items())))


def make(name: str) -> str:
    """A new token of this name."""
    return f"pypiserver_{name}_{secrets.token_hex(SECRET_BYTES)}"


def name_in(token: str) -> str | None:
    """The name that is in a token, None in what is none."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def digest(token: str) -> str:
    """What a line has of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_rights(text: str) -> tuple[Right, ...]:
    """Rights with commas between them, in the order of RIGHTS.

    Raises:
        LineError: There are none, or others.
    """
    given = text.split(",")
    if not set(given) <= set(RIGHTS):
        raise LineError("rights", f"must be of {', '.join(RIGHTS)}, with commas and no spaces between them", text)
    return tuple(right for right in RIGHTS if right in given)


def read_projects(text: str) -> tuple[str, ...]:
    """Patterns with commas between them.

    Raises:
        LineError: There are none, or what can be no name.
    """
    return checked_projects(text.split(","))


def checked_projects(given: Sequence[str]) -> tuple[str, ...]:
    """Patterns that a token can have.

    Raises:
        LineError: There are none, too many, or what can be no name.
    """
    text = ",".join(given)
    if len(given) > MOST_PROJECTS:
        raise LineError("projects", f"must be {MOST_PROJECTS} at most; patterns say more with fewer")
    if len(text) > LONGEST_PROJECTS:
        raise LineError("projects", f"must have {LONGEST_PROJECTS} characters at most; patterns say more with fewer")
    if not given or not all(map(_PATTERN.fullmatch, given)):
        raise LineError("projects", "must be names such as tool or team-a-*, with commas and no spaces between", text)
    return tuple(given)


def _required(fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise LineError(name, "must be given")
    return fields[name]


def _moment(field: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, MOMENT).replace(tzinfo=timezone.utc)
    except ValueError:
        # A value of another form may be anything.
        shown = text if re.fullmatch(r"[0-9TZ:+.-]{1,40}", text) else None
        raise LineError(field, "must be a time such as 2027-01-31T00:00:00Z", shown) from None
