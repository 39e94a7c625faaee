"""Who may read and who may publish: the htpasswd files of the Secret, and its tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, NamedTuple

import bcrypt
from passlib.context import CryptContext
from passlib.hash import ldap_sha1

from server.access.followed import Followed
from server.access.token_lines import USER as TOKEN_USER
from server.access.tokens import Tokens

if TYPE_CHECKING:
    from pathlib import Path

    from server.access.initial_password import InitialPassword
    from server.access.who import Source

Role = Literal["reader", "publisher"]

BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
SHA1 = re.compile(r"\{SHA\}[A-Za-z0-9+/]{27}=")
BCRYPT_READS = 72
"""How many bytes of a password bcrypt reads; its library from version 5 on refuses longer ones, htpasswd does not."""
CRYPT = CryptContext(["sha256_crypt", "sha512_crypt", "apr_md5_crypt"])
"""The other schemes of Apache's htpasswd, without those that hardly hide the password: crypt() and plain text."""
WRONG = 20_000
"""How many wrong passwords are remembered, as digests: some megabytes."""
_log = logging.getLogger("credentials")


class PasswordFile:
    """An htpasswd file, read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        """Read `path`, which may be missing: then it has no users."""
        self._file = Followed(path, self._read)

    def hashes(self) -> dict[str, str]:
        """The hash of each user's password."""
        return self._file.now()

    @property
    def present(self) -> bool:
        """Whether there is such a file."""
        return self._file.present

    def _read(self, text: str) -> dict[str, str]:
        hashes: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            user, _, digest = stripped.partition(":")
            # htpasswd itself goes by a user's first line.
            if user == TOKEN_USER:
                _log.warning(
                    "%s, line %d: %s is the user of tokens, and has no password", self._file.path, number, user
                )
            elif user and _known(digest):
                hashes.setdefault(user, digest)
            else:
                _log.warning("%s, line %d is not a user with a bcrypt hash: skipped", self._file.path, number)
        return hashes


class Credentials:
    """Everybody who may read or publish.

    Attributes:
        tokens: The tokens.
    """

    def __init__(self, directory: Path, initial: InitialPassword | None = None) -> None:
        """Go by the files `readers`, `publishers` and `tokens` of `directory`.

        `initial` counts until there is one of them, and ends then.
        """
        self._readers = PasswordFile(directory / "readers")
        self._publishers = PasswordFile(directory / "publishers")
        self.tokens = Tokens(directory / "tokens")
        self._initial = initial
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        # Of each hash the password that was right, as a digest: it need not be checked again, nor wait for its turn.
        self._right: dict[str, bytes] = {}
        # How long the latest check of each hash took, in seconds.
        self._took: dict[str, float] = {}
        # The latest that were wrong: a client that tries one again and again costs one check.
        self._wrong: OrderedDict[bytes, None] = OrderedDict()

    @property
    def mounted(self) -> bool:
        """Whether there is any of the files."""
        return self._readers.present or self._publishers.present or self.tokens.present

    def publishers(self) -> dict[str, str]:
        """The hashes of those who may publish."""
        if self._initial and self.mounted:
            self._initial.end()
            self._initial = None
        return self._initial.hashes() if self._initial else self._publishers.hashes()

    def asked(self, header: str | None, role: Role) -> Asked:
        """The question whether an Authorization header has the credentials of someone with a role."""
        user, password = _parse(header)
        if user is None:
            return Asked(self, "", b"", [])
        publishers, readers = self.publishers(), self._readers.hashes()
        found: list[Found] = []
        if user in publishers:
            found.append(Found(publishers[user], HTTPStatus.NO_CONTENT, "publishers"))
        if user in readers:
            status = HTTPStatus.NO_CONTENT if role == "reader" else HTTPStatus.FORBIDDEN
            found.append(Found(readers[user], status, "readers"))
        return Asked(self, user, password, found)

    def remembers(self, password: bytes, digest: str) -> bool | None:
        """Whether a password is that of a hash, None if it was not checked lately.

        Of a name that nobody has there is no hash, and the name takes its place.
        """
        known = self._short(password, digest)
        if hmac.compare_digest(self._right.get(digest, b""), known):
            return True
        return False if known in self._wrong else None

    def check(self, password: bytes, digest: str) -> bool:
        """Whether a password is that of a hash; it takes up to a quarter of a second, and is remembered."""
        right, known = self._verified(password, digest), self._short(password, digest)
        with self._lock:
            if right:
                current = {*self.publishers().values(), *self._readers.hashes().values()}
                self._right = {each: short for each, short in self._right.items() if each in current}
                self._took = {each: seconds for each, seconds in self._took.copy().items() if each in current}
                self._right[digest] = known
            else:
                self._remember_wrong(known)
        return right

    def check_in_vain(self, password: bytes, user: str, *, hurry: bool = False) -> None:
        """Take as long for a name that nobody has as `check` does: the time must not tell which users there are.

        In a `hurry` no core is kept from others.
        """
        for digest in self._hashes_in_place_of(user):
            if hurry and digest in self._took:
                time.sleep(self._took[digest])
            else:
                self._verified(password, digest)
        with self._lock:
            # The same guess once more is answered at once about users, so about this name too.
            self._remember_wrong(self._short(password, user))

    def _verified(self, password: bytes, digest: str) -> bool:
        begun = time.monotonic()
        right = verify(password, digest)
        self._took[digest] = time.monotonic() - begun
        return right

    def _hashes_in_place_of(self, name: str) -> list[str]:
        """Those of some user, for a name that nobody has: of the same one each time, since not all take as long."""
        publishers, readers = self.publishers(), self._readers.hashes()
        users = sorted({*publishers, *readers})
        if not users:
            return []
        user = users[int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % len(users)]
        return [hashes[user] for hashes in (publishers, readers) if user in hashes]

    def _remember_wrong(self, short: bytes) -> None:
        self._wrong[short] = None
        if len(self._wrong) > WRONG:
            self._wrong.popitem(last=False)

    def _short(self, password: bytes, digest: str) -> bytes:
        return hmac.digest(self._key, digest.encode() + b"\0" + password, "sha256")


class Found(NamedTuple):
    """A user in one of the files."""

    digest: str
    """The hash of the password."""
    status: HTTPStatus
    """What whoever has the password is answered."""
    source: Source


class Asked:
    """A question about credentials: what is known about them at once, and what is to be found out.

    Attributes:
        user: The user's name; empty if the header has none.
        password: The password.
        exists: Whether there is such a user.
    """

    def __init__(self, credentials: Credentials, user: str, password: bytes, found: list[Found]) -> None:
        """Ask about a user's password; `found` has the hashes to try, and what each gives the right to."""
        self.user = user
        self.exists = bool(found)
        self.password = password
        self._credentials = credentials
        self._found = found

    def known(self) -> HTTPStatus | None:
        """The verdict as far as it needs no check: 204, 403 if a reader asks for more, 401; else None."""
        if not self.user:
            return HTTPStatus.UNAUTHORIZED
        for each in self._found:
            right = self._credentials.remembers(self.password, each.digest)
            if right is None:
                return None
            if right:
                return each.status
        if self._found or self._credentials.remembers(self.password, self.user) is False:
            return HTTPStatus.UNAUTHORIZED
        return None

    @property
    def source(self) -> Source:
        """The file in which the password is right, once that is known."""
        right = (each for each in self._found if self._credentials.remembers(self.password, each.digest))
        # The file may have changed since.
        return next(right, self._found[0]).source

    def check(self, *, hurry: bool = False) -> bool:
        """Find out whether the password is right, so that `known` knows; see `Credentials.check_in_vain`."""
        if not self._found:
            self._credentials.check_in_vain(self.password, self.user, hurry=hurry)
            return False
        return any(self._credentials.check(self.password, each.digest) for each in self._found)


def verify(password: bytes, digest: str) -> bool:
    """Whether `digest` is a hash of `password`."""
    try:
        if BCRYPT.fullmatch(digest):
            return bcrypt.checkpw(password[:BCRYPT_READS], digest.encode())
        return bool((ldap_sha1 if SHA1.fullmatch(digest) else CRYPT).verify(password, digest))
    except ValueError:
        # A NUL in the password, or a hash that is none although it looks like one.
        return False


def _known(digest: str) -> bool:
    if BCRYPT.fullmatch(digest) or SHA1.fullmatch(digest):
        return True
    # A scheme is known by how its hashes begin: one that was cut off would let nobody in, and nothing would say so.
    scheme = CRYPT.identify(digest, resolve=True)
    try:
        return scheme is not None and scheme.from_string(digest).checksum is not None
    except ValueError:
        return False


def _parse(header: str | None) -> tuple[str | None, bytes]:
    """The user and the password of a header of RFC 7617; no user if it is none."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode() if colon else None), password
    except ValueError:
        # Not base64, or not UTF-8.
        return None, b""
