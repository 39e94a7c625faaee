"""Thousands of requests a second from many clients, by a program that leaves the machine to what it floods: wrk."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_programs import basic
from programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from gateway_programs import Gateway

SCRIPT = Path(__file__).with_name("flooding.lua")
CONNECTIONS = 600
"""As several proxies have; more than the server lets wait, so that those who are refused at once come again."""
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.0/8"}
"""What a gateway has to be told: who a client is, is said by the header of a proxy."""
LONGEST_SECONDS = 600
GUESSES = 50_000
"""Different ones: of the latest 20,000 wrong passwords that it has checked the server knows that they are."""
SETTLED = 12
"""How often each client of a flood has guessed when it is no longer new."""


def answered(gateway: Gateway) -> int:
    """How many requests a gateway has answered."""
    return (gateway.directory / "access.log").read_bytes().count(b"\n")


def address(client: int) -> str:
    """The address of a client of a flood; they are counted from 1."""
    return f"10.{client // 65536}.{client // 256 % 256}.{client % 256}"


def request(method: str, path: str, headers: Mapping[str, str] | None = None, body: str = "") -> bytes:
    """A request to flood with."""
    fields = {"Host": "x", **(headers or {}), **({"Content-Length": str(len(body))} if body else {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", body]
    return "\r\n".join(lines).encode()


def guesses(names: Callable[[], str], number: int = GUESSES) -> list[bytes]:
    """Requests with a wrong password each, of these names."""
    return [request("GET", "/simple/", {"Authorization": basic(names(), f"wrong-{each}")}) for each in range(number)]


@dataclass(frozen=True)
class Flooded:
    """What a flood was."""

    seconds: float
    sent: int
    answers: Mapping[int, int]
    """How often there was which status."""
    failed: int
    """Connections that were refused or cut, and requests that had no answer within half a minute."""

    @property
    def sent_a_second(self) -> float:
        """The rate of the requests."""
        return self.sent / self.seconds

    @property
    def answered_a_second(self) -> float:
        """The rate of the answers."""
        return sum(self.answers.values()) / self.seconds


class Flood:
    """A flood from the beginning of a `with` to its end.

    Attributes:
        outcome: What it was, once it is over.
    """

    outcome: Flooded

    def __init__(self, url: str, requests: Sequence[bytes], directory: Path, *, rate: float, clients: int) -> None:
        """Send `requests`, chosen by chance, to `url`; files go to `directory`.

        `rate` is the number of requests a second if they are answered in time, and `clients` that of addresses they
        come from, 0 for a new one with each.
        """
        directory.mkdir()
        file = directory / "requests"
        file.write_bytes(b"\0".join(requests))
        self._command = [
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LONGEST_SECONDS}s", "--timeout", "30s"),
            *("-s", str(SCRIPT), url, "--", str(file), str(rate), str(clients)),
        ]

    def __enter__(self) -> Self:
        """Begin."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._process.send_signal(signal.SIGINT)
        written = self._process.communicate(timeout=PATIENCE)[0]
        said = json.loads(written.strip().rpartition("\n")[2])
        answers = {int(status): number for status, number in said["answers"].items()}
        self.outcome = Flooded(said["microseconds"] / 1e6, said["sent"], answers, said["failed"])
