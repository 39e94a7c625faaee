"""A registry whose requests are counted: the real gateway, server and mtail on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from cdk8s_pypiserver import MonitoringSocket
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.monitoring import expectations
from cdk8s_pypiserver.monitoring.counting import ENVIRONMENT, arguments
from gateway_programs import Gateway, Setup
from programs import PATIENCE, Server, free_port, installed, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

_SAMPLE = re.compile(r"(?P<name>[a-z_0-9]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Sample:
    """One line of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> list[Sample]:
    """Return the samples of a scrape; every line has to be one or a comment."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            found.append(Sample(match["name"], dict(_LABEL.findall(match["labels"] or "")), float(match["value"])))
    return found


def counts(samples: list[Sample], name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by the values of its labels."""
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples if sample.name == name}


class Counter:
    """The sidecar of the pod: mtail with the shipped program, and with what a registry expects."""

    def __init__(self, directory: Path, expected: MonitoringSocket | None = None) -> None:
        self.directory = directory
        self.programs = directory / "programs"
        self.programs.mkdir(parents=True)
        programs = {**runtime_files("monitoring"), **expectations.program("pypiserver", expected or MonitoringSocket())}
        for name, text in programs.items():
            (self.programs / name).write_text(text)
        self.port = free_port()
        self.log_port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, and wait until it listens."""
        mtail = installed("mtail")
        assert mtail
        with (self.directory / "mtail.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    mtail,
                    *arguments(
                        programs=str(self.programs),
                        log_address=f"127.0.0.1:{self.log_port}",
                        port=self.port,
                    ),
                ],
                env=ENVIRONMENT,
                stderr=log,
            )

        def listens() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE).ok
            return False

        wait_for(listens, "mtail")
        return self

    def memory(self) -> int:
        """Its resident set in bytes."""
        assert self.process
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it at once."""
        if self.process:
            self.process.kill()
            self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


@dataclass
class Monitored:
    """The three programs."""

    gateway: Gateway
    server: Server
    counter: Counter
    metrics_url: str

    def scrape(self, path: str) -> list[Sample]:
        """Scrape one path; it has to answer with 200."""
        answer = requests.get(self.metrics_url + path, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/plain")
        return parse(answer.text)

    def requests(self) -> dict[tuple[str, ...], float]:
        """How many requests were counted, by route, method, status and user."""
        return counts(self.scrape("/metrics/gateway"), "pypiserver_requests_total", "route", "method", "status", "user")

    def wait_until_counted(self, requests: int) -> None:
        """Wait until so many requests are counted."""
        wait_for(lambda: sum(self.requests().values()) >= requests, f"{requests} counted requests")


@contextlib.contextmanager
def monitored(directory: Path, setup: Setup, expected: MonitoringSocket | None = None) -> Iterator[Monitored]:
    """Start the three programs."""
    with Server(directory / "server") as server, Counter(directory, expected) as counter:
        gateway = Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=setup,
        )
        port = connect(gateway, log_port=counter.log_port, port=counter.port)
        with gateway:
            yield Monitored(gateway, server, counter, f"http://127.0.0.1:{port}")


def connect(gateway: Gateway, *, log_port: int, port: int, changes: Mapping[str, str] | None = None) -> int:
    """Lead the lines of a gateway that is to be started to these ports; return the port that is scraped.

    `changes` replaces further text of http-metrics.conf.
    """
    file = gateway.configuration / "http-metrics.conf"
    text = file.read_text()
    replacements = {"127.0.0.1:3904": f"127.0.0.1:{log_port}", "127.0.0.1:3903": f"127.0.0.1:{port}", **(changes or {})}
    for old, new in replacements.items():
        assert old in text, f"{file.name} does not contain {old!r}"
        text = text.replace(old, new)
    file.write_text(text)
    return gateway.metrics_port


@dataclass(frozen=True)
class Line:
    """What the gateway says of one request, or of many that one stands for."""

    weight: int
    route: str
    method: str
    status: str
    user: str
    verdict: str
    upload: str
    error: str


class Lines:
    """Stands in for the sidecar: takes the gateway's lines as they come, and loses none."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Room for some thousand, however busy this process is meanwhile.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def take(self, at_least: int = 0) -> list[Line]:
        """Return the lines that are there; wait for so many, since nginx answers before it sends a line."""
        found: list[Line] = []

        def enough() -> bool:
            with contextlib.suppress(BlockingIOError):
                while received := self._socket.recv(65536, socket.MSG_DONTWAIT):
                    fields = received.decode().partition(" gateway: ")[2].split()
                    found.append(Line(int(fields[0]), *fields[1:8]))
            return len(found) >= at_least

        wait_for(enough, f"{at_least} lines")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
