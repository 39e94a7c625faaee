"""What counting costs: the same registry with and without monitoring, in turn."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from gateway_programs import Gateway, Setup
from load import Load, described
from monitored import Counter, connect, counts, mtail, parse
from programs import PATIENCE, Server, upload
from report import Scale, Section, Target, median, number, spread

if TYPE_CHECKING:
    from collections.abc import Mapping

WITHOUT, WITH = "without", "with"
WHEEL = "demo-1.0-py3-none-any.whl"
WHEEL_BYTES = 50_000
WORK: Mapping[str, str] = {"project page": "/simple/demo/", "wheel": f"/packages/{WHEEL}"}


def measure(scale: Scale) -> Section:
    """Load both in turn; which of them is first changes from round to round."""
    section = Section(
        "Monitoring",
        f"The registry with its requests counted and without, both in front of the same server; reads open; "
        f"{described()}; {scale.rounds} rounds of {scale.seconds:g} s in which the two take turns; requests a second, "
        "medians. The ratio is the median of those of the rounds. Memory: resident set of mtail after the load.",
        ["", WITHOUT, WITH, "ratio", "range"],
    )
    program = mtail()
    if program is None:
        section.notes.append("Not measured: there is no mtail on PATH.")
        return section
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        server = stack.enter_context(Server(directory / "server"))
        counter = stack.enter_context(Counter(directory))
        urls = {}
        for name in (WITHOUT, WITH):
            setup = Setup(anonymous=True, metrics=name == WITH)
            home = directory / name
            gateway = Gateway(home, server.port, packages=server.packages, pages=server.pages, setup=setup)
            if setup.metrics:
                connect(gateway, log_port=counter.log_port, port=counter.port)
            urls[name] = stack.enter_context(gateway).url
        content = WHEEL.encode() + bytes(WHEEL_BYTES - len(WHEEL))
        upload(urls[WITHOUT], WHEEL, content, ("publisher", "publisher-password")).raise_for_status()
        sent = 0.0
        for number_of_round in range(scale.rounds):
            names = list(urls) if number_of_round % 2 else list(reversed(urls))
            for work, path in WORK.items():
                for name in names:
                    rate = Load(urls[name], [path]).run(scale.seconds, directory)
                    rates.setdefault((work, name), []).append(rate)
                    sent += rate * max(1, round(scale.seconds)) if name == WITH else 0
        memory = counter.memory()
        text = requests.get(f"http://127.0.0.1:{counter.port}/metrics", timeout=PATIENCE).text
        counted = sum(counts(parse(text), "pypiserver_requests_total", "route").values())
    for work in WORK:
        pairs = zip(rates[work, WITH], rates[work, WITHOUT], strict=True)
        ratios = [one / other for one, other in pairs]
        figures = (number(median(rates[work, name])) for name in (WITHOUT, WITH))
        section.rows.append([work, *figures, number(median(ratios)), spread(ratios)])
        section.targets.append(Target(f"{work}, with against without", median(ratios), 0.97, at_least=True))
    section.targets.append(Target("memory of mtail", memory / 2**20, 25, unit="MiB"))
    section.notes.append(f"Of {number(sent)} requests {number(counted)} were counted, most of them by sampling.")
    section.notes.append(f"The mtail here: {_version(program)}.")
    return section


def _version(program: str) -> str:
    output = subprocess.run([program, "-version"], check=True, capture_output=True, text=True).stdout
    return re.sub(r"^mtail version | git revision.*", "", output.strip())
