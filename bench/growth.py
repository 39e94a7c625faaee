"""What a start, the first page and a publish cost as the package volume fills."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from programs import PATIENCE, Server, upload, wait_for
from report import Scale, Section, Target, median, number

RELEASES = 4
WHEEL_BYTES = 1_000
SAMPLES = 31
PUBLISHER = ("publisher", "publisher-password")
START_PATIENCE = 300.0
STARTS = 3
TICKS = os.sysconf("SC_CLK_TCK")
ENOUGH = 100_000
"""Files that take so long to list that the start of the process does not hide it."""


@dataclass(frozen=True)
class Figures:
    """What was measured at one size; seconds and bytes."""

    ready: float
    cpu: float
    memory: int
    listing: float
    page: float
    publish: float


def measure(scale: Scale) -> Section:
    """Start the server over volumes of several sizes."""
    sizes = (0, *scale.sizes)
    results: dict[int, Figures] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            results[size] = _figures(Path(temporary), size)
    section = Section(
        "Growth with the number of files",
        f"The server alone (gunicorn with the shipped files), {RELEASES} wheels of {WHEEL_BYTES:,} bytes a project in "
        "one directory, in the page cache.\n\n"
        "Ready: from the start of the process until `/-/ready` answers 200, and the CPU time until then, medians of "
        f"{STARTS}. Memory: resident set of the worker after that. First project list: `/simple/`, asked for once. "
        "First page: a project page that nobody has asked for before, so that its wheels are hashed. Publish: the "
        "upload of a new project until it is acknowledged, durably stored. The last two are medians of "
        f"{SAMPLES}.",
        ["files", "ready s", "CPU s", "memory MiB", "first project list ms", "first page ms", "publish ms"],
    )
    for size, each in results.items():
        milliseconds = [number(value * 1000) for value in (each.listing, each.page, each.publish)]
        section.rows.append(
            [f"{size:,}", number(each.ready), number(each.cpu), number(each.memory / 2**20), *milliseconds]
        )
    *_, fewer, most = sizes
    empty, small, large = results[0], results[fewer], results[most]
    if most >= ENOUGH:
        section.targets.append(
            Target(
                f"CPU time of a start beyond an empty volume, a file of {most:,} against one of {fewer:,}",
                (large.cpu - empty.cpu) / most / ((small.cpu - empty.cpu) / fewer),
                1.5,
            )
        )
    section.targets += [
        Target(f"publish, {most:,} files against {fewer:,}", large.publish / small.publish, 1.5),
        Target(f"first page, {most:,} files against {fewer:,}", large.page / small.page, 1.5),
    ]
    section.notes.append(
        f"A file costs {number((large.cpu - empty.cpu) / most * 1e6)} µs of CPU time at start and "
        f"{number((large.memory - empty.memory) / most)} bytes of memory."
    )
    return section


def _figures(directory: Path, size: int) -> Figures:
    server = Server(directory)
    for number_ in range(size):
        project, release = divmod(number_, RELEASES)
        name = f"project_{project:06}-1.{release}-py3-none-any.whl"
        (server.packages / name).write_bytes(name.encode().ljust(WHEEL_BYTES))
    try:
        starts = [_start(server) for _ in range(STARTS)]
        ready, cpu = (median(times) for times in zip(*starts, strict=True))
        memory = _memory(_processes(server)[-1])
        # Apart over the volume, and none of them asked for before.
        projects = range(0, size // RELEASES, max(1, size // RELEASES // SAMPLES)) or range(SAMPLES)
        pages = [f"/simple/project-{project:06}/" for project in projects[:SAMPLES]] if size else ["/simple/"]
        listing = _seconds(f"{server.url}/simple/")
        page = median([_seconds(server.url + path) for path in pages])
        publish = median([_publish(server, each) for each in range(SAMPLES)])
    except requests.RequestException as error:
        raise RuntimeError(f"the server failed:\n{server.log}") from error
    finally:
        server.kill()
    return Figures(ready, cpu, memory, listing, page, publish)


def _start(server: Server) -> tuple[float, float]:
    """Start the server anew; the seconds until it is ready, and its CPU seconds, which a busy machine moves less."""
    server.kill()
    begun = time.perf_counter()
    server.launch()
    wait_for(lambda: _ready(server), f"{server.url}/-/ready", START_PATIENCE)
    ready = time.perf_counter() - begun
    times = [Path(f"/proc/{each}/stat").read_text("utf-8").rpartition(")")[2].split() for each in _processes(server)]
    return ready, sum(int(user) + int(system) for *_, user, system in (each[:13] for each in times)) / TICKS


def _processes(server: Server) -> list[int]:
    """The process ids of gunicorn's master and of its worker."""
    if server.process is None:
        raise RuntimeError("the server does not run")
    master = server.process.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text("utf-8").split()
    return [master, *map(int, children)]


def _ready(server: Server) -> bool:
    try:
        return requests.get(f"{server.url}/-/ready", timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


def _seconds(url: str) -> float:
    begun = time.perf_counter()
    requests.get(url, timeout=PATIENCE).raise_for_status()
    return time.perf_counter() - begun


def _publish(server: Server, number_: int) -> float:
    begun = time.perf_counter()
    upload(server.url, f"published_{number_}-1.0-py3-none-any.whl", user=PUBLISHER).raise_for_status()
    return time.perf_counter() - begun


def _memory(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
