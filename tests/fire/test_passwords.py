"""Thousands of wrong passwords a second from many addresses: everybody else goes on."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bcrypt
import pytest

from flooding import SETTLED, TRUSTED, Flood, address, answered, guesses
from gateway_programs import Setup, make_wheel, multipart, registry
from programs import needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway_programs import Gateway

RATE = 2000
"""Wrong passwords a second, all clients of the flood together."""
ENOUGH = 0.9
"""The share of them that has to be answered for the bound to count: on a busy machine right logins wait behind guesses
that the server has not come to, and are answered all the same."""
ROUNDS = 12
"""Of the hashes: a check takes a quarter of a second."""
BOUND_SECONDS = 2.0
"""Within which every right login is answered on a machine that does nothing else."""
CHECKS = 8
"""How many checks take so long on such a machine; on a busy one as many may take longer."""
NEWCOMERS = 8
"""Users whose password nobody has checked before the flood."""
KNOWN = [f"known-{number}" for number in range(1000)]
NEW = [f"new-{number}" for number in range(NEWCOMERS)]
OTHERS = [f"other-{number}" for number in range(2)]
"""Users who log in for the first time before the flood, to be compared with."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """A flood."""

    names: Callable[[], str]
    clients: int = 500
    newcomers: int = 0
    """Whose address those have who come during it: a client of the flood, by its number, or 0 for their own."""


# Those who come during the flood are among the names that it tries, if it does not have a new address for each guess.
KINDS = {
    "one name": Kind(lambda: NEW[0]),
    "four names": Kind(lambda: random.choice(NEW[:4])),  # noqa: S311
    "a thousand names": Kind(lambda: random.choice([*KNOWN, *NEW])),  # noqa: S311
    "names that nobody has": Kind(lambda: f"nobody-{random.random()}"),  # noqa: S311
    "both": Kind(lambda: random.choice([*KNOWN, *NEW, *(f"nobody-{number}" for number in range(1000))])),  # noqa: S311
    "a new address for each guess": Kind(lambda: random.choice(KNOWN[:4]), clients=0),  # noqa: S311
    "one address": Kind(lambda: random.choice(KNOWN[:50]), clients=1, newcomers=1),  # noqa: S311
}


def line(user: str, password: str) -> str:
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()}\n"


def timed(gateway: Gateway, user: str, client: str) -> float:
    """Return how long a right login takes."""
    begun = time.monotonic()
    answer = gateway.get("/simple/", user, f"of-{user}", X_Forwarded_For=client)
    assert answer.status_code == 200, f"{answer.status_code} after {time.monotonic() - begun:.2f} s: {answer.text}"
    return time.monotonic() - begun


@needs("wrk")
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_of_wrong_passwords_keeps_nobody_out(tmp_path: Path, kind: str) -> None:
    flood = KINDS[kind]
    with registry(tmp_path, Setup(environment=TRUSTED)) as running:
        gateway = running.gateway
        one = line("any", "known").partition(":")[2]
        users = [line(user, f"of-{user}") for user in ("reader", *OTHERS, *NEW)] + [f"{user}:{one}" for user in KNOWN]
        (running.server.credentials / "readers").write_text("".join(users))
        (running.server.credentials / "publishers").write_text(line("publisher", "publisher-password"))
        timed(gateway, "reader", "192.0.2.1")
        bound = BOUND_SECONDS, CHECKS * max(timed(gateway, user, "192.0.2.2") for user in OTHERS)
        assert gateway.request("POST", "/", "publisher", "publisher-password", data=b"x").status_code == 400
        times: dict[str, list[float]] = {"first": [], "again": [], "upload": []}
        requests = guesses(flood.names)
        with Flood(gateway.url, requests, tmp_path / "flood", rate=RATE, clients=flood.clients) as flooded:
            while answered(gateway) < SETTLED * (flood.clients or 1):
                times["again"].append(timed(gateway, "reader", "192.0.2.1"))
            for number, user in enumerate(NEW):
                client = address(flood.newcomers) if flood.newcomers else f"192.0.2.{number + 10}"
                times["first"].append(timed(gateway, user, client))
                times["again"].append(timed(gateway, user, client))
                times["again"].append(timed(gateway, "reader", "192.0.2.1"))
                body, kind_of = multipart(make_wheel(tmp_path, user.replace("-", "_"), "1.0"))
                at = time.monotonic()
                answer = gateway.request(
                    "POST", "/", "publisher", "publisher-password", data=body, headers={"Content-Type": kind_of}
                )
                assert answer.status_code == 200
                times["upload"].append(time.monotonic() - at)
        outcome = flooded.outcome
        slowest = {what: round(max(each), 2) for what, each in times.items()}
        log.info(
            "%s: %d guesses a second, %d answered: %s; slowest right login %s s, bound %s s",
            kind,
            outcome.sent_a_second,
            outcome.answered_a_second,
            outcome.answers,
            slowest,
            bound,
        )
        assert outcome.failed == 0
        assert set(outcome.answers) <= {401, 503}
        if outcome.answered_a_second > ENOUGH * RATE and not flood.newcomers:
            assert max(slowest.values()) <= max(bound)
        assert not [
            path for path in gateway.verdicts.rglob("*") if path.is_file() and b"HTTP/1.1 401" in path.read_bytes()
        ]
