"""Whose token it is, and whether it counts now: the file `tokens` of the Secret.

A token is looked up by the name in it and compared as a digest, at once: neither the number of tokens nor a flood of
wrong ones costs a check of a password, and none of these counts against the passwords that come from the same address.
"""

from __future__ import annotations

import hmac
import logging
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, NamedTuple

from server.access import token_lines
from server.access.followed import Followed
from server.pod.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from server.access.token_lines import Lines, Token

Refusal = Literal["expired", "early"]
"""Why a token that is right does not count."""
SAID_SECONDS = 60.0
"""How much time lies between two lines of the log about one token."""
NOBODYS = "0" * 64
_log = logging.getLogger("tokens")


class Found(NamedTuple):
    """A token that is right."""

    token: Token
    refusal: Refusal | None
    """Why it does not count now, None if it does."""
    seconds: float
    """How long it counts from now on."""


class Tokens:
    """The tokens of a file."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Go by the file `path`, which may be missing: then there are none. `clock` says the time, in seconds."""
        self._file = Followed(path, self._read)
        self._clock = clock
        self._used: dict[str, float] = {}
        self._said: dict[tuple[str, Refusal], float] = {}

    @property
    def present(self) -> bool:
        """Whether there is such a file."""
        return self._file.present

    def all(self) -> Mapping[str, Token]:
        """The tokens by name, also those that do not count now."""
        return self._file.now().tokens

    def find(self, password: bytes) -> Found | None:
        """The token that a password is, None if it is none of them."""
        text = password.decode("ascii", "replace")
        name = token_lines.name_in(text)
        token = self.all().get(name) if name else None
        # Of a name that nobody has as well: the time must not tell which there are.
        right = hmac.compare_digest(token_lines.digest(text), token.sha256 if token else NOBODYS)
        if not token or not right:
            return None
        now = self._clock()
        if token.not_before and now < token.not_before.timestamp():
            return self._refused(token, "early", now)
        if token.expires and now >= token.expires.timestamp():
            return self._refused(token, "expired", now)
        return Found(token, None, token.expires.timestamp() - now if token.expires else float("inf"))

    def use(self, token: Token) -> None:
        """Remember that a token was good for something."""
        self._used[token.name] = self._clock()

    def samples(self) -> Iterator[Sample]:
        """What is counted."""
        tokens, problems = self._file.now()
        for name, token in tokens.items():
            if token.expires:
                text, end = "From when on a token is refused.", token.expires.timestamp()
                yield Sample("pypiserver_token_expiry_timestamp_seconds", text, end, labels=_labels(name))
        for name, used in sorted(self._used.items()):
            if name in tokens:
                text = "When a token was last good for something, within half a minute."
                yield Sample("pypiserver_token_last_use_timestamp_seconds", text, used, labels=_labels(name))
        yield Sample("pypiserver_token_problems", "Lines of the file of tokens that are none.", len(problems))

    def _read(self, text: str) -> Lines:
        lines = token_lines.read(text)
        for number, problem in lines.problems.items():
            _log.warning("%s, line %d counts for nobody: %s", self._file.path, number, problem)
        return lines

    def _refused(self, token: Token, refusal: Refusal, now: float) -> Found:
        # Whoever runs the client may have a clock of its own, and a job may try again without end.
        if now - self._said.get((token.name, refusal), -SAID_SECONDS) >= SAID_SECONDS:
            self._said[token.name, refusal] = now
            field, end = ("expires", token.expires) if refusal == "expired" else ("not-before", token.not_before)
            clock = datetime.fromtimestamp(now, timezone.utc)
            why = "has passed" if refusal == "expired" else "has not come"
            form = token_lines.MOMENT
            _log.warning(
                "the token %s is refused: %s %s %s; the clock here says %s",
                *(token.name, field, end and end.strftime(form), why, clock.strftime(form)),
            )
        return Found(token, refusal, 0.0)


def _labels(name: str) -> str:
    return f'{{token="{name}"}}'
