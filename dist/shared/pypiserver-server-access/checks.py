"""Which password is checked next: a flood of wrong ones gets what is left, and keeps nobody else out.

A check takes a core for up to a quarter of a second, so there are far fewer checks than a flood has guesses. Whoever
has tried fewer passwords goes first, and all who have tried more than a few share one thread and a few places: a client
that comes for the first time finds the other thread free. Clients that nobody has seen before cannot be told apart, so
what is left to a flood is as many checks as it has addresses.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

AT_ONCE = 2
"""How many passwords are checked at the same time."""
WAITING = 256
"""How many wait at least before anybody is sent away."""
SPARE = 64
"""How many more may wait until those who have tried the most are sent away, all at once: to look for them takes as long
as a hundred guesses, and a flood has thousands a second."""
FEW = 10
"""How many wrong passwords a client may try within REMEMBERED_SECONDS and still be like any other."""
GUESSERS_AT_ONCE = 1
"""How many of those who have tried more are checked at the same time."""
GUESSERS_WAITING = 8
"""How many of them wait."""
PATIENCE_SECONDS = 10.0
"""How long a request waits: less than pip (15 s) does."""
REMEMBERED_SECONDS = 60.0
"""How long it counts what a client has tried, from the last time on."""
CLIENTS = 20_000
"""How many clients, and how many pairs of a client and a user, are remembered: some megabytes."""


class BusyError(Exception):
    """Others have tried less."""


class UnansweredError(Exception):
    """Whoever knows whether a password is right does not say so: nobody is to blame for that."""


@dataclass(eq=False)
class _Waiting:
    client: str
    user: str
    check: Callable[[], bool]
    guesser: bool
    known: bool
    begun: float = 0.0
    right: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Counts:
    """A number for each of many, which is forgotten some time after its last change, and if there are too many."""

    def __init__(self, seconds: float = REMEMBERED_SECONDS, most: int = CLIENTS) -> None:
        """Begin with none; `seconds` is that time, and `most` how many have a number."""
        self._seconds = seconds
        self._most = most
        self._of: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def __getitem__(self, who: Hashable) -> int:
        """The number of one of them, 0 if it is not known."""
        number, last = self._of.get(who, (0, 0.0))
        return number if time.monotonic() - last < self._seconds else 0

    def add(self, who: Hashable, number: int) -> None:
        """Add to the number of one of them; it does not go below 0."""
        sum_ = self[who] + number
        if sum_ <= 0:
            # As if there had never been one: it would take the place of another.
            self._of.pop(who, None)
            return
        self._of[who] = sum_, time.monotonic()
        self._of.move_to_end(who)
        if len(self._of) > self._most:
            self._of.popitem(last=False)


class Checks:
    """The checks that run and those that wait; to be used from one event loop.

    Attributes:
        newcomers: Those who wait and have tried few passwords.
    """

    def __init__(self, *, at_once: int = AT_ONCE, guess_seconds: float = 0.0, wrong_seconds: float = 0.0) -> None:
        """Begin with nobody waiting.

        Args:
            at_once: How many passwords are checked at the same time.
            guess_seconds: How much time lies between two checks of those who have tried more than a few.
            wrong_seconds: How long the place of a wrong password stays taken.
        """
        self._at_once = at_once
        self._guess_seconds = guess_seconds
        self._wrong_seconds = wrong_seconds
        self._next_guess = 0.0
        self._threads = ThreadPoolExecutor(at_once, "password")
        self._running: list[_Waiting] = []
        # Apart, since a flood's next guess must not cost a look at all who wait.
        self.newcomers: list[_Waiting] = []
        self._guessers: list[_Waiting] = []
        # With those that are not decided yet.
        self._tries = Counts()
        self._tries_of_user = Counts()
        self._tries_of_name = Counts()
        self._wrong = Counts()
        self._beside: list[Checks] = [self]

    def beside(self) -> Checks:
        """Others of the same clients, which keep none of these waiting: what a client tries counts in both."""
        other = Checks(at_once=self._at_once)
        other._tries, other._wrong, other._beside = self._tries, self._wrong, self._beside
        self._beside.append(other)
        return other

    @property
    def is_idle(self) -> bool:
        """Whether none runs; any thread may ask."""
        return not self._running

    def count_wrong(self, address: str) -> None:
        """Count a password that was wrong without a check."""
        client = client_of(address)
        self._tries.add(client, 1)
        self._add_wrong(client)

    async def right(self, address: str, user: str, check: Callable[[], bool], *, known: bool = False) -> bool:
        """Wait for the turn of a client, and return what `check` does, which is called in a thread.

        Args:
            address: The client.
            user: Whose password it is.
            check: Says whether it is right.
            known: Whether it was right lately, so that it goes before all others.

        Raises:
            BusyError: Others go first for too long.
            UnansweredError: `check` raised it; it does not count as a try.
        """
        client = client_of(address)
        asked = _Waiting(client, user, check, self._guesser(client), known)
        self._count(asked, 1)
        if asked.guesser and not self._has_a_place(asked):
            # Told so without more ado: of a flood these are nearly all.
            self._add_wrong(asked.client)
            raise BusyError
        right = blameless = False
        try:
            self._like(asked).append(asked)
            self._start()
            self._send_away()
            right = await asyncio.wait_for(asked.right, PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            raise BusyError from None
        except UnansweredError:
            blameless = True
            raise
        finally:
            with suppress(ValueError):
                self._like(asked).remove(asked)
            if right or blameless:
                self._count(asked, -1)
            else:
                self._add_wrong(asked.client)
        return right

    def _like(self, asked: _Waiting) -> list[_Waiting]:
        """Those who wait for the same as somebody."""
        return self._guessers if asked.guesser else self.newcomers

    def _add_wrong(self, client: str) -> None:
        self._wrong.add(client, 1)
        if self._wrong[client] == FEW + 1:
            for each in self._beside:
                each.set_back(client)

    def set_back(self, client: str) -> None:
        """Count a client that has become one that guesses among those.

        What it asked before that waits among the newcomers: hundreds of checks, ahead of whoever has its address.
        """
        for asked in [each for each in self.newcomers if each.client == client]:
            self.newcomers.remove(asked)
            asked.guesser = True
            self._guessers.append(asked)
        self._send_away()
        self._start()

    def _send_away(self) -> None:
        """Leave as many waiting as there are places: those who have tried the least."""
        if len(self._guessers) > GUESSERS_WAITING:
            _leave(GUESSERS_WAITING, [(self.place, self._guessers)])
        # Of those who have tried as much first those beside, then the earlier ones.
        lanes = [(each.place, each.newcomers) for each in reversed(self._beside)]
        if sum(len(waiting) for _, waiting in lanes) > WAITING + SPARE:
            _leave(WAITING, lanes)

    def _has_a_place(self, guesser: _Waiting) -> bool:
        """Whether a guesser would not be the one who is sent away."""
        waiting = self._guessers
        return len(waiting) < GUESSERS_WAITING or self.place(guesser) <= max(map(self.place, waiting))

    def _guesser(self, client: str) -> bool:
        return self._wrong[client] > FEW

    def _count(self, waiting: _Waiting, number: int) -> None:
        self._tries.add(waiting.client, number)
        self._tries_of_user.add((waiting.client, waiting.user), number)
        self._tries_of_name.add(waiting.user, number)

    def place(self, waiting: _Waiting) -> tuple[bool, int, int, int]:
        """What is the smaller the sooner it is somebody's turn."""
        # By the user too, since many clients can have one address: a name that no flood from there tries goes first.
        # Last by the name wherever it is tried: a flood may have a new address for each guess.
        user = self._tries_of_user[waiting.client, waiting.user]
        return not waiting.known, self._tries[waiting.client], user, self._tries_of_name[waiting.user]

    def _start(self) -> None:
        while len(self._running) < self._at_once:
            waiting = self.newcomers or (self._guessers if self._may_guess() else [])
            if not waiting:
                break
            # Judged only now: a client of a flood has tried more since it came. Of those that have tried as much the
            # latest, since the others may be what is left of a flood's beginning: were it the first, a flood of a
            # thousand addresses would be ahead of everybody for minutes.
            first = min(reversed(waiting), key=self.place)
            waiting.remove(first)
            self._running.append(first)
            first.begun = time.monotonic()
            if first.guesser:
                self._pause(self._guess_seconds)
            work = asyncio.get_running_loop().run_in_executor(self._threads, first.check)
            work.add_done_callback(lambda done, asked=first: self._finish(asked, done))  # type: ignore[misc]

    def _may_guess(self) -> bool:
        guessing = sum(each.guesser for each in self._running)
        return guessing < GUESSERS_AT_ONCE and time.monotonic() >= self._next_guess

    def _pause(self, seconds: float) -> None:
        """Check no guesser's password for some time."""
        if seconds:
            self._next_guess = max(self._next_guess, time.monotonic() + seconds)
            asyncio.get_running_loop().call_later(seconds, self._start)

    def _finish(self, asked: _Waiting, done: asyncio.Future[bool]) -> None:
        if asked.guesser:
            # As long as it took: a flood keeps no core from those who answer it, and everybody else.
            self._pause(time.monotonic() - asked.begun)
        if not asked.right.done():
            if error := done.exception():
                asked.right.set_exception(error)
            else:
                asked.right.set_result(done.result())
        if self._wrong_seconds and not done.exception() and not done.result():
            asyncio.get_running_loop().call_later(self._wrong_seconds, self._free, asked)
        else:
            self._free(asked)

    def _free(self, asked: _Waiting) -> None:
        self._running.remove(asked)
        self._start()


def _leave(
    places: int, lanes: Sequence[tuple[Callable[[_Waiting], tuple[bool, int, int, int]], list[_Waiting]]]
) -> None:
    """Leave so many waiting, in all of some lists, each with what tells their places."""
    found = [(place(asked), waiting, asked) for place, waiting in lanes for asked in waiting]
    for _, waiting, worst in heapq.nlargest(len(found) - places, found, key=itemgetter(0)):
        waiting.remove(worst)
        if not worst.right.done():
            worst.right.set_exception(BusyError())


def client_of(address: str) -> str:
    """Whom an address is counted as: of version 6 a whole network of 64 bits belongs to one customer.

    In the form in which some proxies write addresses of version 4 (RFC 4291, 2.5.5.2) all are in one such network.
    """
    if ":" in address:
        with suppress(ValueError):
            mapped = ipaddress.IPv6Address(address).ipv4_mapped
            return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return address
