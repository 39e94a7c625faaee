"""Right logins during a flood of wrong ones, beside the same without a flood."""

from __future__ import annotations

import http.client
import itertools
import random
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt

from flooding import CONNECTIONS, SETTLED, TRUSTED, Flood, Flooded, address, answered, guesses
from gateway_programs import Setup, basic, registry
from programs import PATIENCE, installed, wait_for
from report import Scale, Section, Target, median, number

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

RATE = 2_100
"""Guesses a second that are sent if they are answered in time; what counts is what was."""
ENOUGH = 2_000
"""So many have to be sent and answered, or the times do not count."""
COST = 12
"""Of the bcrypt hashes: a check takes a quarter of a second."""
CLIENTS = 500
BOUND_SECONDS = 2.0
LOGINS = 10
"""First logins during a flood, and as many before it."""
PAUSE_SECONDS = 0.5
"""Between two of them."""
KNOWN = [f"known-{each}" for each in range(1000)]
NEW = [f"new-{each}" for each in range(LOGINS)]
BEFORE = [f"before-{each}" for each in range(LOGINS)]
READER = "reader"


@dataclass(frozen=True)
class Kind:
    """A flood: the names that it tries, and how many addresses it has, 0 for a new one with each guess."""

    names: Callable[[], str]
    clients: int = CLIENTS
    shared: bool = False
    """Whether those who log in for the first time come from the first of these addresses."""


# Who logs in for the first time is among the names, unless each guess has a new address, or all have the same.
KINDS = {
    "one name": Kind(lambda: NEW[0]),
    "four names": Kind(lambda: random.choice(NEW[:4])),  # noqa: S311
    "a thousand names": Kind(lambda: random.choice([*KNOWN, *NEW])),  # noqa: S311
    "names that nobody has": Kind(lambda: f"nobody-{random.random()}"),  # noqa: S311
    "known and unknown names": Kind(lambda: random.choice([*KNOWN, *NEW, *(f"nobody-{each}" for each in KNOWN)])),  # noqa: S311
    "a new address for each guess": Kind(lambda: random.choice(KNOWN[:4]), clients=0),  # noqa: S311
    "others behind the same address": Kind(lambda: random.choice(KNOWN[:50]), clients=1, shared=True),  # noqa: S311
}


@dataclass
class Logins:
    """The seconds that right logins took."""

    first: list[float] = field(default_factory=list)
    """Of people whose password nobody has checked yet."""
    again: list[float] = field(default_factory=list)
    """Of somebody whose verdict is kept."""


@dataclass
class _Regular:
    """Somebody who has logged in before, and comes twenty times a second."""

    port: int
    times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._running = self._thread.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._running.result()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            self.times.append(_login(self.port, READER, "192.0.2.1"))


def measure(scale: Scale) -> Section:
    """Flood a registry for each kind, started anew."""
    if not installed("wrk"):
        raise RuntimeError("there is no wrk, which makes the floods")
    outcomes: dict[str, tuple[Logins, Logins, Flooded]] = {}
    for name in itertools.islice(KINDS, None if scale.rounds >= Scale().rounds else 2):
        with tempfile.TemporaryDirectory() as temporary:
            outcomes[name] = _flooded(Path(temporary), KINDS[name])
    section = Section(
        "Floods of wrong passwords",
        f"{RATE:,} guesses a second by wrk with one thread and {CONNECTIONS} connections, through a proxy that the "
        f"gateway trusts, as if they came from {CLIENTS} addresses; passwords are hashed by bcrypt with cost {COST}. "
        f"First: {LOGINS} users whose password nobody has checked before, one after the other, each with an address of "
        f"its own if the table does not say another, when each address has guessed {SETTLED} times; before the flood "
        "as many others do the same. Again: a user whose verdict is known, twenty times a second, all the time. "
        "Seconds; sent and answered: guesses a second.",
        [
            "names",
            "sent",
            "answered",
            "first, no flood",
            "first",
            "slowest",
            "again, no flood, slowest",
            "again, slowest",
        ],
    )
    for name, (quiet, loud, flood) in outcomes.items():
        rates = (flood.sent_a_second, flood.answered_a_second)
        times = (median(quiet.first), median(loud.first), max(loud.first), max(quiet.again), max(loud.again))
        section.rows.append([name, *map(number, (*rates, *times))])
    _targets(section, outcomes)
    return section


def _targets(section: Section, outcomes: dict[str, tuple[Logins, Logins, Flooded]]) -> None:
    floods = [flood for *_, flood in outcomes.values()]
    sent = min(flood.sent_a_second for flood in floods)
    answered = min(flood.answered_a_second for flood in floods)
    slowest = max(max(*loud.first, *loud.again) for _, loud, _ in outcomes.values())
    section.targets += [
        Target("guesses sent, the fewest", sent, ENOUGH, at_least=True, unit="a second"),
        Target("guesses answered, the fewest", answered, ENOUGH, at_least=True, unit="a second"),
        Target("slowest right login", slowest, BOUND_SECONDS, unit="s"),
    ]
    failed = sum(flood.failed for flood in floods)
    section.notes.append(f"{failed} guesses had no answer; the others 401 or 503, and every right login 200.")


def _flooded(directory: Path, kind: Kind) -> tuple[Logins, Logins, Flooded]:
    """The times before a flood and during it."""
    with registry(directory, Setup(environment=TRUSTED)) as running:
        port = running.gateway.port
        one = _line("any").partition(":")[2]
        lines = [*map(_line, (READER, *BEFORE, *NEW)), *(f"{user}:{one}" for user in KNOWN)]
        (running.server.credentials / "readers").write_text("".join(lines), "utf-8")
        _login(port, READER, "192.0.2.1")
        quiet = _logins(port, BEFORE)
        with Flood(
            running.gateway.url, guesses(kind.names), directory / "flood", rate=RATE, clients=kind.clients
        ) as it:
            wait_for(lambda: answered(running.gateway) >= SETTLED * (kind.clients or 1), "the flood")
            loud = _logins(port, NEW, address(1) if kind.shared else "")
        if unexpected := set(it.outcome.answers) - {401, 503}:
            raise RuntimeError(f"guesses were answered with {unexpected}")
    return quiet, loud, it.outcome


def _logins(port: int, users: list[str], shared: str = "") -> Logins:
    logins = Logins()
    with _Regular(port) as regular:
        for each, user in enumerate(users):
            logins.first.append(_login(port, user, shared or f"192.0.2.{each + 10}"))
            time.sleep(PAUSE_SECONDS)
    logins.again = regular.times
    return logins


def _login(port: int, user: str, address: str) -> float:
    """Log in with the right password, and return how long that takes."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Authorization": basic(user, _password(user)), "X-Forwarded-For": address}
    connection.request("GET", "/simple/", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    taken = time.perf_counter() - begun
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{user} was answered {answer.status} after {taken:.2f} s")
    return taken


def _line(user: str) -> str:
    return f"{user}:{bcrypt.hashpw(_password(user).encode(), bcrypt.gensalt(COST)).decode()}\n"


def _password(user: str) -> str:
    return f"of-{user}"
