"""A file of the Secret that says who may read or publish: changed as a whole or not at all."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

NAME_BYTES = 255
"""Longest name of a user; htpasswd takes no longer one (support/htpasswd.c of httpd 2.4)."""
TOKEN_USER = "__token__"  # noqa: S105 - a name
"""Who comes with a token; an entry of this name lets nobody in."""
PASSWORD_BYTES = 72
"""How many bytes of a password bcrypt reads: what comes behind them would not count."""
_SECRET_BYTES = 1024 * 1024
"""Largest Secret (MaxSecretSize of k8s.io/api/core/v1)."""
_HASH = re.compile(
    r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"
    r"|\$apr1\$[./A-Za-z0-9]{0,8}\$[./A-Za-z0-9]{22}"
    r"|\$5\$(rounds=\d+\$)?[./A-Za-z0-9]{0,16}\$[./A-Za-z0-9]{43}"
    r"|\$6\$(rounds=\d+\$)?[./A-Za-z0-9]{0,16}\$[./A-Za-z0-9]{86}"
    r"|\{SHA\}[A-Za-z0-9+/]{27}="
)


class HtpasswdError(Exception):
    """Why a file, a name or a password is refused; the text holds neither a password nor a hash."""


class Htpasswd:
    """An htpasswd file as the registry reads it.

    Whatever is no entry of the user who is changed stays: the other lines, comments, the order and the ends of lines.
    """

    def __init__(self, path: Path) -> None:
        """Read `path`; where there is no file, it has no lines yet.

        Raises:
            HtpasswdError: It cannot be read, or the registry would skip one of its lines. The text numbers all of them.
        """
        # What is replaced is the file, not a link that leads to it.
        self.path = Path(os.path.realpath(path))
        self._lines = _lines(path, self.path)
        self._users: dict[str, int] = {}
        problems = []
        for number, line in enumerate(self._lines):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            user, _, digest = text.partition(":")
            if problem := _problem(user, digest, self._users):
                problems.append(f"{path}: line {number + 1} {problem}")
            else:
                self._users[user] = number
        if problems:
            raise HtpasswdError("\n".join(problems))

    @property
    def text(self) -> str:
        """All of its lines."""
        return "".join(self._lines)

    @property
    def users(self) -> dict[str, str]:
        """The hash of each user, in the order of the file."""
        return {user: self._lines[number].strip().partition(":")[2] for user, number in self._users.items()}

    def add(self, user: str, digest: str) -> None:
        """Add an entry behind all others.

        Raises:
            HtpasswdError: There is one.
        """
        if user in self._users:
            raise HtpasswdError(f"{self.path}: line {self._users[user] + 1} is {user!r} already: replace it")
        end = "\r\n" if self._lines and self._lines[0].endswith("\r\n") else "\n"
        if self._lines and self._lines[-1].splitlines()[0] == self._lines[-1]:
            self._lines[-1] += end
        self._users[user] = len(self._lines)
        self._lines.append(f"{user}:{digest}{end}")

    def replace(self, user: str, digest: str) -> None:
        """Give a user another hash, in the same line.

        Raises:
            HtpasswdError: There is no such user.
        """
        number = self._line_of(user)
        line = self._lines[number]
        self._lines[number] = f"{user}:{digest}{line[len(line.rstrip()) :]}"

    def remove(self, user: str) -> None:
        """Take away an entry.

        Raises:
            HtpasswdError: There is no such user.
        """
        gone = self._line_of(user)
        del self._lines[gone], self._users[user]
        self._users = {each: number - (number > gone) for each, number in self._users.items()}

    def write(self) -> None:
        """Replace the file: whoever reads it meanwhile has the old text or the new one. A new one is its owner's.

        Raises:
            HtpasswdError: It cannot be written with the owner and the mode that it has, or is too large for a Secret.
        """
        content = self.text.encode()
        if len(content) > _SECRET_BYTES:
            raise HtpasswdError(f"{self.path}: {len(content)} bytes are more than a Secret can have ({_SECRET_BYTES})")
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", delete=False) as file:
                temporary = Path(file.name)
                file.write(content)
                file.flush()
                _as_before(file.fileno(), self.path)
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            if temporary:
                with suppress(OSError):
                    temporary.unlink()
            raise HtpasswdError(f"{self.path} cannot be written: {os.strerror(error.errno or 0)}") from error

    def _line_of(self, user: str) -> int:
        if user not in self._users:
            raise HtpasswdError(f"{self.path} has no user {user!r}")
        return self._users[user]


def check_name(user: str) -> str:
    """Return the name of a user as it can stand in such a file, and in the Authorization header of a request.

    Raises:
        HtpasswdError: It cannot.
    """
    if not user:
        raise HtpasswdError("the name of a user must not be empty")
    for refused, why in (
        (":" in user, "must have no colon, which ends it in the file and in a request"),
        (
            user != user.strip() or not user.isprintable(),
            "must have no space at its ends and nothing that is not shown",
        ),
        (user.startswith("#"), "must not begin with #, which makes a comment of the line"),
        (user == TOKEN_USER, "is the user of tokens, who has no password"),
        (len(user.encode("utf-8", "replace")) > NAME_BYTES, f"must have at most {NAME_BYTES} bytes"),
    ):
        if refused:
            raise HtpasswdError(f"the name {user!r} {why}")
    return user


def check_password(password: str) -> bytes:
    """Return a password as bcrypt gets it.

    Raises:
        HtpasswdError: bcrypt would read another one.
    """
    try:
        content = password.encode()
    except UnicodeEncodeError:
        raise HtpasswdError("the password is not UTF-8, which clients send") from None
    if not content:
        raise HtpasswdError("the password is empty")
    if len(content) > PASSWORD_BYTES:
        raise HtpasswdError(
            f"the password has {len(content)} bytes, and bcrypt reads only the first {PASSWORD_BYTES} of them"
        )
    if any(character in password for character in "\0\r\n"):
        raise HtpasswdError("the password has a NUL or the end of a line in it")
    return content


def is_hash(digest: str) -> bool:
    """Whether it is a hash of a scheme that the registry knows: bcrypt, SHA-crypt, apr1 or SHA-1."""
    return _HASH.fullmatch(digest) is not None


def _lines(path: Path, real: Path) -> list[str]:
    try:
        return real.read_bytes().decode().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise HtpasswdError(f"{path}: line {number} is not UTF-8") from None
    except OSError as error:
        raise HtpasswdError(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error


def _problem(user: str, digest: str, known: dict[str, int]) -> str | None:
    try:
        check_name(user)
    except HtpasswdError as error:
        return f"is no entry: {error}"
    if not is_hash(digest):
        return "is not a user with a hash that the registry knows (bcrypt, SHA-crypt, apr1 or SHA-1)"
    if user in known:
        return f"is {user!r} again, who is in line {known[user] + 1}: the registry goes by that one"
    return None


def _as_before(file: int, path: Path) -> None:
    """Give a file the mode and the owner of the one that it replaces."""
    try:
        before = path.stat()
    except FileNotFoundError:
        return
    now = os.fstat(file)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(file, before.st_uid, before.st_gid)
    os.fchmod(file, stat.S_IMODE(before.st_mode))
