"""What reading costs while large files are published."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import requests

import readers
import sending
from gateway_programs import Gateway
from processes import children, cpu_seconds
from programs import PATIENCE, Server
from readers import CLIENTS, CONNECTIONS, PROJECTS, RATE, WHEEL_BYTES, Figures
from report import Scale, Section, Target, median, number
from sending import NONE, PACED, UNPACED

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

STEADY, CROWD = f"{RATE} requests a second", f"{CLIENTS} clients"
READING: Mapping[str, tuple[Callable[[int, float], Figures], int]] = {
    STEADY: (readers.steadily, 4),
    CROWD: (readers.as_a_crowd, 20),
}
"""How the answers are asked for, and how many files are published at a time meanwhile."""
ROUNDS = 3
LIMIT = 3.0


def measure(scale: Scale) -> Section:
    """Read with and without uploads, in turn."""
    seconds = 2 * scale.seconds
    results: dict[tuple[str, str], list[Figures]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        server = Server(directory / "server")
        for project in range(PROJECTS):
            name = readers.wheel(project)
            (server.packages / name).write_bytes(name.encode().ljust(WHEEL_BYTES))
        with (
            server,
            Gateway(
                directory / "gateway",
                server.port,
                verdicts_port=server.verdicts_port,
                packages=server.packages,
                pages=server.pages,
            ) as gateway,
        ):
            for project in range(PROJECTS):
                for path in (readers.page_path(project), readers.wheel_path(project)):
                    requests.get(gateway.url + path, auth=readers.READER, timeout=PATIENCE).raise_for_status()
            programs = {"gateway": gateway.process, "server": server.process}
            for _ in range(ROUNDS):
                for reading in READING:
                    for pace in (NONE, PACED, UNPACED):
                        figures = _run(gateway.port, reading, pace, seconds, programs)
                        results.setdefault((reading, pace), []).append(figures)
                        for file in server.packages.glob(f"{sending.PREFIX}-*"):
                            file.unlink()
    return _section(seconds, results)


def _run(
    port: int, reading: str, pace: str, seconds: float, programs: Mapping[str, subprocess.Popen[bytes] | None]
) -> Figures:
    """Read for so long while files are published."""
    read, count = READING[reading]
    with sending.published(port, pace, count) as published, multiprocessing.Pool(1) as pool:
        before = {name: _cpu(program) for name, program in programs.items()}
        figures: Figures = pool.apply(read, (port, seconds))
        for name, program in programs.items():
            figures.cpu[name] = (_cpu(program) - before[name]) / seconds
    figures.acknowledged, figures.refused = published.acknowledged, published.refused
    figures.cpu["publishers"] = published.cpu
    return figures


def _cpu(program: subprocess.Popen[bytes] | None) -> float:
    """The CPU seconds of a program and of the workers that it has started."""
    if program is None:
        raise RuntimeError("a program does not run")
    return cpu_seconds([program.pid, *children(program.pid)])


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _section(seconds: float, results: Mapping[tuple[str, str], Sequence[Figures]]) -> Section:
    few, many = (count for _, count in READING.values())
    section = Section(
        "Reading while publishing",
        f"{PROJECTS} pages and as many wheels of {WHEEL_BYTES:,} bytes, private. Once {RATE} requests are sent each "
        f"second, for a page and a wheel in turn, over {CONNECTIONS} connections, whether the answers come or not; the "
        f"time of an answer counts from when its request was due. Once {CLIENTS} clients do as pip does, each again "
        f"and again after at most {readers.PAUSE:g} s: it opens a connection, asks for a page, and for its wheel; "
        f"opening counts to the page. Meanwhile {few} files, or {many}, of {sending.BYTES:,} bytes are published at a "
        f"time, together at {sending.LINE // 1_000_000} MB/s, or as fast as loopback takes them. {ROUNDS} rounds of "
        f"{seconds:g} s each in which all take turns; medians of the rounds, in milliseconds. Refused: with "
        "503, as the place of the upload before was not free yet.\n\n"
        "Everything shares the CPUs; the reader goes before all others (SCHED_FIFO, where that is allowed), so that "
        "it does not measure how long it waits itself. CPU: seconds of CPU time a second.",
        [
            *("reading", "uploads", "page p50", "page p99", "wheel p50", "wheel p99", "acknowledged", "refused"),
            *("CPU gateway", "CPU server", "CPU publishers", "CPU reader"),
        ],
    )
    p99: dict[tuple[str, str, str], list[float]] = {}
    for (reading, pace), rounds in results.items():
        row = [reading, pace if pace == NONE else f"{READING[reading][1]} {pace}"]
        for what in ("pages", "wheels"):
            for share in (0.5, 0.99):
                values = [_percentile(getattr(each, what), share) for each in rounds]
                row.append(number(median(values) * 1000))
            p99[what, reading, pace] = values
        row += [str(round(sum(getattr(each, what) for each in rounds))) for what in ("acknowledged", "refused")]
        row += [
            number(median([each.cpu[who] for each in rounds])) for who in ("gateway", "server", "publishers", "reader")
        ]
        section.rows.append(row)
    for reading in READING:
        for what, name in (("pages", "page"), ("wheels", "wheel")):
            ratio = median(p99[what, reading, PACED]) / median(p99[what, reading, NONE])
            text = f"p99 of a {name}, {reading}, while others publish {PACED}, against none"
            section.targets.append(Target(text, ratio, LIMIT))
    for reading in READING:
        ranges = ", ".join(
            f"{name} {pace} {number(min(values) * 1000)} to {number(max(values) * 1000)}"
            for what, name in (("pages", "page"), ("wheels", "wheel"))
            for pace in (NONE, PACED, UNPACED)
            if (values := p99[what, reading, pace])
        )
        section.notes.append(f"p99 of single rounds in milliseconds, {reading}: {ranges}.")
    return section
