"""Thousands of wrong passwords a second from many addresses: everybody else goes on."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import bcrypt
import pytest

from gateway_programs import basic, make_wheel, multipart, registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from gateway_programs import Gateway

RATE = 2000
"""Wrong passwords a second, all clients of the flood together."""
ROUNDS = 12
"""Of the hashes: a check takes a quarter of a second."""
BOUND_SECONDS = 2.0
"""Within which every right login is answered on a machine that does nothing else."""
SETTLING_SECONDS = 2.0
"""How long a flood is new: each of its clients has had a first guess."""
NEWCOMERS = 8
"""Users whose password nobody has checked before the flood."""
KNOWN = [f"known-{number}" for number in range(1000)]
log = logging.getLogger(__name__)


def line(user: str, password: str) -> str:
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()}\n"


@dataclass
class Flood:
    """Clients, each with an address and a connection of its own, that try passwords of the names they are given."""

    port: int
    names: Callable[[], str]
    addresses: list[str]
    answers: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0
    begun: int = 0

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def total(self) -> int:
        return sum(self.answers.values())

    async def _run(self) -> None:
        await asyncio.gather(*map(self._client, self.addresses))

    async def _client(self, address: str) -> None:
        pause = len(self.addresses) / RATE
        await asyncio.sleep(random.random() * pause)  # noqa: S311
        due = time.monotonic()
        writer = None
        for number in itertools.count():
            if self._over.is_set():
                break
            due += pause
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            try:
                if writer is None:
                    local = (address, 0)
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=local)
                guess = basic(self.names(), f"{address}-{number}")
                writer.write(f"GET /simple/ HTTP/1.1\r\nHost: x\r\nAuthorization: {guess}\r\n\r\n".encode())
                self.begun += number == 0
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                await reader.readexactly(length)
                status = int(head[9:12])
                self.answers[status] = self.answers.get(status, 0) + 1
                if b"connection: close" in head.lower():
                    writer.close()
                    writer = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                self.unanswered += not self._over.is_set()
                writer = None
        if writer:
            with suppress(OSError):
                writer.close()


def many_addresses(number: int) -> list[str]:
    """Addresses of loopback, none of them 127.0.0.1."""
    return [f"127.{1 + each % 200}.{each // 200 % 250}.{1 + each // 50_000}" for each in range(number)]


def timed(gateway: Gateway, user: str, password: str) -> float:
    """Return how long a right login takes."""
    begun = time.monotonic()
    answer = gateway.get("/simple/", user, password)
    assert answer.status_code == 200, f"{answer.status_code} after {time.monotonic() - begun:.2f} s: {answer.text}"
    return time.monotonic() - begun


NEW = [f"new-{number}" for number in range(NEWCOMERS)]
FLOODS: dict[str, tuple[Callable[[], str], int]] = {
    # Those who come during the flood are among the names that it tries.
    "one name": (lambda: NEW[0], 500),
    "four names": (lambda: random.choice(NEW[:4]), 500),  # noqa: S311
    "a thousand names": (lambda: random.choice([*KNOWN, *NEW]), 500),  # noqa: S311
    "names that nobody has": (lambda: f"nobody-{random.random()}", 500),  # noqa: S311
    # From the address of those who log in; their names are not among those that it tries.
    "one address": (lambda: random.choice(KNOWN[:50]), 0),  # noqa: S311
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_wrong_passwords_keeps_nobody_out(tmp_path: Path, kind: str) -> None:
    names, number = FLOODS[kind]
    with registry(tmp_path) as running:
        gateway = running.gateway
        one = line("any", "known").partition(":")[2]
        users = [line(user, f"of-{user}") for user in ("reader", *NEW)] + [f"{user}:{one}" for user in KNOWN]
        (running.server.credentials / "readers").write_text("".join(users))
        (running.server.credentials / "publishers").write_text(line("publisher", "publisher-password"))
        timed(gateway, "reader", "of-reader")
        before = os.getloadavg()[0]
        assert gateway.request("POST", "/", "publisher", "publisher-password", data=b"x").status_code == 400
        # 64 connections of one address, as a proxy has.
        addresses = many_addresses(number) if number else ["127.0.0.1"] * 64
        times: dict[str, list[float]] = {"first": [], "again": [], "upload": []}
        with Flood(gateway.port, names, addresses) as flood:
            begun = time.monotonic()
            while time.monotonic() - begun < SETTLING_SECONDS or flood.begun < len(addresses):
                times["again"].append(timed(gateway, "reader", "of-reader"))
            counted, since = flood.total, time.monotonic()
            for user in NEW:
                times["first"].append(timed(gateway, user, f"of-{user}"))
                times["again"].append(timed(gateway, user, f"of-{user}"))
                times["again"].append(timed(gateway, "reader", "of-reader"))
                body, kind_of = multipart(make_wheel(tmp_path, user.replace("-", "_"), "1.0"))
                at = time.monotonic()
                answer = gateway.request(
                    "POST", "/", "publisher", "publisher-password", data=body, headers={"Content-Type": kind_of}
                )
                assert answer.status_code == 200
                times["upload"].append(time.monotonic() - at)
            rate = (flood.total - counted) / (time.monotonic() - since)
        bound = BOUND_SECONDS * max(1.0, max(before, os.getloadavg()[0]) / (os.cpu_count() or 1))
        slowest = {what: round(max(each), 2) for what, each in times.items()}
        log.info(
            "%s: %d guesses a second, answers %s, slowest right login %s, bound %.1f s",
            kind,
            rate,
            flood.answers,
            slowest,
            bound,
        )
        assert flood.unanswered == 0
        assert set(flood.answers) <= {401, 503}
        assert not [
            path for path in gateway.verdicts.rglob("*") if path.is_file() and b"HTTP/1.1 401" in path.read_bytes()
        ]
