"""What counting costs: the same registry with and without monitoring, in turn."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_programs import Gateway, Setup
from load import Load, described
from monitored import Counter, connect
from processes import children, cpu_seconds
from programs import Server, installed, upload
from report import Scale, Section, Target, median, number, spread

if TYPE_CHECKING:
    from collections.abc import Mapping

WITHOUT, WITH = "without", "with"
WHEEL = "demo-1.0-py3-none-any.whl"
WHEEL_BYTES = 50_000
ROUNDS, SECONDS = 16, 3.0
"""Many, since two processes of one program differ by some percent, and each round has new ones."""
WARM_UP = 1.0
"""Seconds that do not count: they begin with a burst, of which each request is counted by itself."""
WORK: Mapping[str, str] = {"project page": "/simple/demo/", "wheel": f"/packages/{WHEEL}"}


@dataclass(frozen=True)
class Run:
    """One load of one of them."""

    rate: float
    seconds: float
    cpu: float

    @property
    def requests(self) -> float:
        """How many were answered."""
        return self.rate * self.seconds


def measure(scale: Scale) -> Section:
    """Load both in turn; which of them is first changes from round to round."""
    rounds, seconds = (scale.rounds, scale.seconds) if scale.seconds < SECONDS else (ROUNDS, SECONDS)
    section = Section(
        "Monitoring",
        f"The registry with its requests counted and without, both in front of the same server; reads open; "
        f"{described()}; {rounds} rounds of {seconds:g} s in which the two take turns, each time started anew and "
        f"warmed up for {WARM_UP:g} s; requests a second, medians. The ratio is the median of those of the rounds. "
        "CPU: time of nginx's workers and of mtail a request, over all rounds. Memory: resident set of mtail after the "
        "load.",
        ["", WITHOUT, WITH, "ratio", "range", "CPU µs without", "CPU µs with"],
    )
    program = installed("mtail")
    if program is None:
        section.notes.append("Not measured: there is no mtail on PATH.")
        return section
    runs: dict[tuple[str, str], list[Run]] = {(work, name): [] for work in WORK for name in (WITHOUT, WITH)}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        server = stack.enter_context(Server(directory / "server"))
        counter = stack.enter_context(Counter(directory))
        content = WHEEL.encode() + bytes(WHEEL_BYTES - len(WHEEL))
        with _gateway(directory / "first", server, None) as gateway:
            upload(gateway.url, WHEEL, content, ("publisher", "publisher-password")).raise_for_status()
        for each in range(rounds):
            for work, path in WORK.items():
                for name in (WITHOUT, WITH) if each % 2 else (WITH, WITHOUT):
                    home = directory / f"{work.split()[0]}-{each}-{name}"
                    with _gateway(home, server, counter if name == WITH else None) as gateway:
                        load = Load(gateway.url, [path])
                        load.run(WARM_UP, directory)
                        before = _cpu_seconds(gateway, counter)
                        rate = load.run(seconds, directory)
                        cpu = _cpu_seconds(gateway, counter) - before
                        runs[work, name].append(Run(rate, seconds, cpu))
        memory = counter.memory()
    for work in WORK:
        pairs = zip(runs[work, WITH], runs[work, WITHOUT], strict=True)
        ratios = [one.rate / other.rate for one, other in pairs]
        rates = (number(median([run.rate for run in runs[work, name]])) for name in (WITHOUT, WITH))
        costs = (
            number(sum(run.cpu for run in runs[work, name]) / sum(run.requests for run in runs[work, name]) * 1e6)
            for name in (WITHOUT, WITH)
        )
        section.rows.append([work, *rates, number(median(ratios)), spread(ratios), *costs])
        section.targets.append(Target(f"{work}, with against without", median(ratios), 0.97, at_least=True))
    section.targets.append(Target("memory of mtail", memory / 2**20, 25, unit="MiB"))
    section.notes.append(f"The mtail here: {_version(program)}.")
    return section


def _gateway(home: Path, server: Server, counter: Counter | None) -> Gateway:
    """A gateway whose requests are counted if there is a counter."""
    setup = Setup(anonymous=True, metrics=counter is not None)
    gateway = Gateway(
        home, server.port, verdicts_port=server.verdicts_port, packages=server.packages, pages=server.pages, setup=setup
    )
    if counter:
        connect(gateway, log_port=counter.log_port, port=counter.port)
    return gateway


def _cpu_seconds(gateway: Gateway, counter: Counter) -> float:
    """The CPU time so far of a gateway's workers and of mtail, which does next to nothing for the other gateway."""
    if not (gateway.process and counter.process):
        raise RuntimeError("both have to run")
    return cpu_seconds([*children(gateway.process.pid), counter.process.pid])


def _version(program: str) -> str:
    output = subprocess.run([program, "-version"], check=True, capture_output=True, text=True).stdout
    version = re.sub(r"^mtail version | git revision.*", "", output.strip())
    # What a build without Bazel calls itself.
    return "built from source, without a version" if version.startswith("invalid") else version
