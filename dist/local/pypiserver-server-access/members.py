"""Who may read and who may publish by the directory of users, and what is remembered of its answers.

Every answer counts for as many seconds as the settings say, also while the directory is away, and no longer. A wrong
password reaches it once within that time, and of one user only so many within a quarter of an hour: directories lock a
user out after some, and a flood must not do that to everybody.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
import unicodedata
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from server.access.checks import BusyError, Checks, Counts
from server.pod.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.access.credentials import Role
    from server.access.judge import Judge

AT_ONCE = 8
"""How many questions the directory gets at the same time."""
GUESS_SECONDS = 0.2
"""How much time lies between two guesses of those who have had more than a few wrong."""
WRONG_SECONDS = 0.1
"""How long the place of a wrong password stays taken. Nothing tells a flood from ever new addresses from people who
come for the first time: of its guesses the directory gets AT_ONCE in this time."""
LOCK_OUT_SECONDS = 15 * 60.0
"""How long a wrong password counts against its user."""
REMEMBERED = 100_000
"""How many answers, and how many users, are remembered: some ten megabytes. So many names have to be wrong before it is
forgotten how often one was."""
WRONG = 20_000
"""How many wrong passwords are."""
LONGEST_NAME = 256
"""Characters of a user's name."""
LONGEST_PASSWORD = 1024
"""Bytes of a password."""
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Verdict(NamedTuple):
    """What credentials allow."""

    status: HTTPStatus
    seconds: float
    """How long that counts."""
    groups: frozenset[str] = frozenset()
    """The groups of the permissions that the user is in, if it allows something."""


class _Answer(NamedTuple):
    status: HTTPStatus
    groups: frozenset[str]
    end: float

    def verdict(self, now: float) -> Verdict:
        return Verdict(self.status, max(0.0, self.end - now), self.groups)


class Members:
    """The members of the groups that may read or publish; to be used from one event loop."""

    def __init__(self, judge: Judge, *, seconds: float, guesses: int) -> None:
        """Ask `judge`; an answer counts for `seconds`, and `guesses` wrong passwords of a user reach it."""
        self._judge = judge
        self._time_to_live = seconds
        self._most_guesses = guesses
        self._checks = Checks(at_once=AT_ONCE, guess_seconds=GUESS_SECONDS, wrong_seconds=WRONG_SECONDS)
        self._key = secrets.token_bytes(32)
        self._answers: OrderedDict[tuple[Role, bytes], _Answer] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()
        # Of each user the credentials that were right last: they are no guess.
        self._right: OrderedDict[str, bytes] = OrderedDict()
        # By the hash of the name: those that nobody has may be long.
        self._guesses = Counts(LOCK_OUT_SECONDS, REMEMBERED)
        self._asking: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()
        self._kept_back = 0

    async def verdict(self, role: Role, user: str, password: bytes, address: str) -> Verdict:
        """What credentials allow a client at an address.

        Raises:
            BusyError: Others go first for too long, or too many wrong passwords of this user were tried.
            UnansweredError: The directory does not answer.
        """
        who = hmac.digest(self._key, user.encode() + b"\0" + password, "sha256")
        if found := self._known(role, who):
            return found
        if not _can_be(user, password):
            self._checks.count_wrong(address)
            return Verdict(HTTPStatus.UNAUTHORIZED, self._time_to_live)
        # Whoever comes with the same credentials meanwhile gets the same answer.
        async with self._asking.setdefault(who, asyncio.Lock()):
            return self._known(role, who) or await self._ask(role, user, password, address, who)

    def samples(self) -> Iterator[Sample]:
        """What is counted."""
        yield from self._judge.samples()
        text = "Passwords that the directory was not asked about, since too many of their user were wrong."
        yield Sample("pypiserver_directory_kept_back_total", text, self._kept_back, "counter")

    def _known(self, role: Role, who: bytes) -> Verdict | None:
        now = time.monotonic()
        if self._wrong.get(who, now) > now:
            return Verdict(HTTPStatus.UNAUTHORIZED, self._wrong[who] - now)
        answer = self._answers.get((role, who))
        return answer.verdict(now) if answer and answer.end > now else None

    async def _ask(self, role: Role, user: str, password: bytes, address: str, who: bytes) -> Verdict:
        name = _folded(user)
        guess = self._right.get(name) != who
        if guess and self._guesses[hash(name)] >= self._most_guesses:
            self._kept_back += 1
            raise BusyError
        loop = asyncio.get_running_loop()
        answers: list[_Answer] = []

        def check() -> bool:
            # The answer may be as old as this: what changes from now on may not be in it.
            end = time.monotonic() + self._time_to_live
            said = self._judge.ask(role, user, password)
            groups = self._judge.groups_of(user, password) if said == HTTPStatus.NO_CONTENT else frozenset[str]()
            answers.append(_Answer(said, groups, end))
            # Also if nobody waits for it any more: it was tried.
            loop.call_soon_threadsafe(self._note, role, name, who, answers[0])
            return said != HTTPStatus.UNAUTHORIZED

        # Whoever got in lately waits behind no flood, also if it comes from the same address.
        client = address if guess else f"known: {name}"
        # Counted while it is tried: as many again could be on their way.
        self._guesses.add(hash(name), 1)
        try:
            await self._checks.right(client, name, check, known=not guess)
        finally:
            self._guesses.add(hash(name), -1)
        return answers[0].verdict(time.monotonic())

    def _note(self, role: Role, name: str, who: bytes, answer: _Answer) -> None:
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._guesses.add(hash(name), 1)
            if self._right.get(name) == who:
                del self._right[name]
            _keep(self._wrong, who, answer.end, WRONG)
        else:
            _keep(self._right, name, who, REMEMBERED)
            _keep(self._answers, (role, who), answer, REMEMBERED)


def _keep(kept: OrderedDict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _can_be(user: str, password: bytes) -> bool:
    """Whether there can be such a user and such a password.

    Directories take several spellings for one name, and httpd reads no further than to a NUL: each spelling would be
    another guess. So a name has letters, numbers and what else is in ASCII, in the usual form of Unicode.
    """
    try:
        text = password.decode()
    except UnicodeDecodeError:
        return False
    return (
        0 < len(user) <= LONGEST_NAME
        and 0 < len(password) <= LONGEST_PASSWORD
        and user.isprintable()
        and unicodedata.is_normalized("NFKC", user)
        and all(letter.isascii() or unicodedata.category(letter)[0] in "LN" for letter in user)
        and user == " ".join(user.split())
        and not any(unicodedata.category(letter) == "Cc" for letter in text)
    )


def _folded(user: str) -> str:
    """A name as directories compare it: without case and accents."""
    return "".join(
        letter for letter in unicodedata.normalize("NFKD", user.casefold()) if not unicodedata.combining(letter)
    )
