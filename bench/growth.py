"""What a start, the first page, a publish and every other request cost as the package volume fills."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from drawing import can_draw, draw_growth
from gateway_programs import make_wheel
from processes import children, cpu_seconds
from programs import PATIENCE, Server, upload, wait_for
from report import Scale, Section, Target, median, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JSON = "application/vnd.pypi.simple.v1+json"
RELEASES = 10
SAMPLES = 31
PUBLISH_PAUSE = 0.1
"""Seconds between two uploads to each: a directory that changes is listed once a second, and they spread over that."""
PUBLISHER = ("publisher", "publisher-password")
START_PATIENCE = 300.0
STARTS = 3
ENOUGH = 100_000
"""Files that take so long to list that the start of the process does not hide it, and for which there are limits."""
READY_SECONDS, MEMORY_MIB, PAGE_MILLISECONDS = 10, 200, 100
"""The limits."""
PICTURE = "growth.png"
REQUESTS = 300
"""Requests that the CPU time of one is the mean of."""
LISTS = {"the project list": "/simple/", "the file list": "/packages/"}
"""What is as long as there are files."""
LIST_REQUESTS = 30
"""The same for a list of everything, which is megabytes."""
FLAT = 1.5
"""How much more CPU time a request may take with the most files than with the fewest."""


@dataclass(frozen=True)
class Figures:
    """What was measured at one size; seconds and bytes."""

    ready: float
    cpu: float
    memory: int
    listing: float
    page: float
    slowest_page: float
    publish: float
    yank: float
    removal: float
    requests: Mapping[str, float]
    """CPU seconds of the server for a request, by what is asked for."""
    lists: Mapping[str, float]
    """The same for a list of everything."""


def measure(scale: Scale) -> Section:
    """Start the server over volumes of several sizes."""
    sizes = (0, *scale.sizes)
    with tempfile.TemporaryDirectory() as temporary:
        results = _figures(Path(temporary), sizes)
    section = Section(
        "Growth with the number of files",
        f"The server alone (gunicorn with the shipped files), {RELEASES} small wheels a project in one directory, in "
        "the page cache.\n\n"
        "Ready: from the start of the process until `/-/ready` answers 200, and the CPU time until then, medians of "
        f"{STARTS}. Memory: resident set of the worker after that. First project list: `/simple/`, asked for once. "
        "First page: a project page that nobody has asked for before, in the JSON that pip and uv ask for, so that its "
        "wheels are hashed and their METADATA read. Publish: the upload of a new project until it is acknowledged, "
        f"durably stored, some ten a second. Yank and removal: of a version, in the same way. The last four are "
        f"medians of {SAMPLES}, for which the servers of all sizes take turns, over volumes that the disk has "
        "written.\n\n"
        "A list of everything is as long as there is of it: of the project list, which the gateway keeps, and of the "
        "file list, which it asks for each time, it is the CPU time of the server for a line that must not grow.",
        [
            *("files", "ready s", "CPU s", "memory MiB", "first project list ms", "first page ms", "slowest"),
            *("publish ms", "yank ms", "removal ms"),
        ],
    )
    for size, each in results.items():
        times = (each.listing, each.page, each.slowest_page, each.publish, each.yank, each.removal)
        milliseconds = [number(value * 1000) for value in times]
        section.rows.append(
            [f"{size:,}", number(each.ready), number(each.cpu), number(each.memory / 2**20), *milliseconds]
        )
    section.notes.append(
        f"CPU time of the server for a request, mean of {REQUESTS}, in µs: "
        + "; ".join(
            f"{size:,} files: {', '.join(f'{what} {number(cpu * 1e6)}' for what, cpu in each.requests.items())}"
            for size, each in results.items()
            if size
        )
        + "."
    )
    section.notes.append(
        f"CPU time of the server for a list of everything, mean of {LIST_REQUESTS}, in ms: "
        + "; ".join(
            f"{size:,} files: {', '.join(f'{what} {number(cpu * 1e3)}' for what, cpu in each.lists.items())}"
            for size, each in results.items()
            if size
        )
        + "."
    )
    section.targets += _targets(results)
    section.notes.append(_cost_of_a_file(results))
    _picture(section, results, scale.pictures)
    return section


def _targets(results: Mapping[int, Figures]) -> Iterator[Target]:
    *_, fewer, most = results
    small, large = results[fewer], results[most]
    if most >= ENOUGH:
        yield Target(f"ready, {most:,} files", large.ready, READY_SECONDS, unit="s")
        yield Target(f"memory, {most:,} files", large.memory / 2**20, MEMORY_MIB, unit="MiB")
        slowest = max(large.listing, large.slowest_page)
        yield Target(f"slowest first page or list, {most:,} files", slowest * 1000, PAGE_MILLISECONDS, unit="ms")
        yield Target(
            f"CPU time of a start beyond an empty volume, a file of {most:,} against one of {fewer:,}",
            (large.cpu - results[0].cpu) / most / ((small.cpu - results[0].cpu) / fewer),
            1.5,
        )
    first, *_ = (size for size in results if size)
    for what, cpu in large.requests.items():
        name = f"CPU time of a request for {what}, {most:,} files against {first:,}"
        yield Target(name, cpu / results[first].requests[what], FLAT)
    for what, cpu in large.lists.items():
        name = f"CPU time of a line of {what}, {most:,} files against {first:,}"
        yield Target(name, cpu / most / (results[first].lists[what] / first), FLAT)
    for what in ("publish", "yank", "removal"):
        name = f"{what}, {most:,} files against {fewer:,}"
        yield Target(name, getattr(large, what) / getattr(small, what), FLAT)
    yield Target(f"first page, {most:,} files against {fewer:,}", large.page / small.page, 1.5)


def _cost_of_a_file(results: Mapping[int, Figures]) -> str:
    most = max(results)
    cpu = (results[most].cpu - results[0].cpu) / most
    memory = (results[most].memory - results[0].memory) / most
    return f"A file costs {number(cpu * 1e6)} µs of CPU time at start and {number(memory)} bytes of memory."


def _picture(section: Section, results: Mapping[int, Figures], directory: Path) -> None:
    if not can_draw():
        section.notes.append("There is no picture, since matplotlib is not installed.")
        return
    filled = {size: each for size, each in results.items() if size}
    quantities = {
        "start until ready, s": {size: each.ready for size, each in filled.items()},
        "memory, MiB": {size: each.memory / 2**20 for size, each in filled.items()},
        "first request of a page, ms": {size: each.page * 1000 for size, each in filled.items()},
        "publish, ms": {size: each.publish * 1000 for size, each in filled.items()},
        "yank, ms": {size: each.yank * 1000 for size, each in filled.items()},
        "removal, ms": {size: each.removal * 1000 for size, each in filled.items()},
        **{
            f"CPU time of a request for {what}, µs": {size: each.requests[what] * 1e6 for size, each in filled.items()}
            for what in next(iter(filled.values())).requests
        },
    }
    draw_growth(directory / PICTURE, quantities)
    section.pictures[
        "Quantities over the number of files: what a request costs does not grow, nothing else grows faster than it"
    ] = PICTURE


def _figures(directory: Path, sizes: Sequence[int]) -> dict[int, Figures]:
    servers = {size: _filled(directory / str(size), size) for size in sizes}
    # The server writes files too, and would wait for what the kernel has yet to write of so many new ones.
    os.sync()
    with contextlib.ExitStack() as stack:
        for server in servers.values():
            stack.callback(server.kill)
        try:
            return _measured(servers)
        except requests.RequestException as error:
            logs = "\n".join(server.log for server in servers.values())
            raise RuntimeError(f"a server failed:\n{logs}") from error


def _filled(directory: Path, size: int) -> Server:
    server = Server(directory, {"ALLOW_REMOVAL": "yes"})
    content = make_wheel(directory, "project", "1.0", headers="Requires-Python: >=3.8\n").read_bytes()
    for number_ in range(size):
        project, release = divmod(number_, RELEASES)
        (server.packages / f"project_{project:06}-1.{release}-py3-none-any.whl").write_bytes(content)
    return server


def _measured(servers: Mapping[int, Server]) -> dict[int, Figures]:
    starts: dict[int, list[tuple[float, float]]] = {size: [] for size in servers}
    firsts: dict[int, list[float]] = {size: [] for size in servers}
    changes = {change: {size: list[float]() for size in servers} for change in (_publish, _yank, _remove)}
    for _ in range(STARTS):
        for size, server in servers.items():
            starts[size].append(_start(server))
    memory = {size: _memory(_processes(server)[-1]) for size, server in servers.items()}
    listings = {size: _seconds(f"{server.url}/simple/") for size, server in servers.items()}
    for sample in range(SAMPLES):
        for size, server in _in_turn(servers, sample):
            firsts[size].append(_seconds(server.url + _page(size, sample), Accept=JSON))
    costs = {
        size: {what: _cpu_of_a_request(server, path) for what, path in _asked(size).items()}
        for size, server in servers.items()
    }
    lists = {
        size: {what: _cpu_of_a_request(server, path, LIST_REQUESTS) for what, path in LISTS.items()}
        for size, server in servers.items()
    }
    for change, times in changes.items():
        for sample in range(SAMPLES):
            for size, server in _in_turn(servers, sample):
                time.sleep(PUBLISH_PAUSE / len(servers))
                times[size].append(change(server, sample))
    results = {}
    for size in servers:
        ready, cpu = (median(times) for times in zip(*starts[size], strict=True))
        first = firsts[size]
        publish, yank, removal = (median(times[size]) for times in changes.values())
        results[size] = Figures(
            ready=ready,
            cpu=cpu,
            memory=memory[size],
            listing=listings[size],
            page=median(first),
            slowest_page=max(first),
            publish=publish,
            yank=yank,
            removal=removal,
            requests=costs[size],
            lists=lists[size],
        )
    return results


def _in_turn(servers: Mapping[int, Server], round_: int) -> Sequence[tuple[int, Server]]:
    """The servers, every other round the other way round: none is always asked after the same one."""
    return list(servers.items())[:: -1 if round_ % 2 else 1]


def _page(size: int, sample: int) -> str:
    """The path of a page; those of a size are apart over the volume, and none of them is asked for before."""
    return f"/simple/project-{size // RELEASES * sample // SAMPLES:06}/" if size else "/simple/"


def _start(server: Server) -> tuple[float, float]:
    """Start the server anew; the seconds until it is ready, and its CPU seconds, which a busy machine moves less."""
    server.kill()
    begun = time.perf_counter()
    server.launch()
    wait_for(lambda: _ready(server), f"{server.url}/-/ready", START_PATIENCE)
    ready = time.perf_counter() - begun
    return ready, cpu_seconds(_processes(server))


def _processes(server: Server) -> list[int]:
    """The process ids of gunicorn's master and of its worker."""
    if server.process is None:
        raise RuntimeError("the server does not run")
    master = server.process.pid
    return [master, *children(master)]


def _ready(server: Server) -> bool:
    try:
        return requests.get(f"{server.url}/-/ready", timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


def _seconds(url: str, **headers: str) -> float:
    begun = time.perf_counter()
    requests.get(url, headers=headers, timeout=PATIENCE).raise_for_status()
    return time.perf_counter() - begun


def _asked(size: int) -> dict[str, str]:
    """What is asked for over and over, by what it is."""
    if not size:
        return {}
    return {
        "a wheel": "/packages/project_000000-1.0-py3-none-any.whl",
        "its METADATA": "/packages/project_000000-1.0-py3-none-any.whl.metadata",
        "a file that is not there": "/packages/absent-1.0-py3-none-any.whl",
        "a page": "/simple/project-000000/",
        "a project that is not there": "/simple/absent/",
        "the JSON of a project": "/project-000000/json",
        "the welcome": "/",
        "the metrics": "/-/metrics",
    }


def _cpu_of_a_request(server: Server, path: str, requests_: int = REQUESTS) -> float:
    processes = _processes(server)
    with requests.Session() as session:
        session.get(server.url + path, timeout=PATIENCE)
        before = cpu_seconds(processes)
        for _ in range(requests_):
            session.get(server.url + path, timeout=PATIENCE)
    return (cpu_seconds(processes) - before) / requests_


def _publish(server: Server, number_: int) -> float:
    begun = time.perf_counter()
    upload(server.url, f"published_{number_}-1.0-py3-none-any.whl", user=PUBLISHER).raise_for_status()
    return time.perf_counter() - begun


def _yank(server: Server, number_: int) -> float:
    return _form(server, {":action": "yank", "reason": "measured", **_published(number_)})


def _remove(server: Server, number_: int) -> float:
    return _form(server, {":action": "remove_pkg", **_published(number_)})


def _published(number_: int) -> dict[str, str]:
    return {"name": f"published-{number_}", "version": "1.0"}


def _form(server: Server, form: Mapping[str, str]) -> float:
    begun = time.perf_counter()
    parts = {field: (None, value) for field, value in form.items()}
    requests.post(server.url, files=parts, auth=PUBLISHER, timeout=PATIENCE).raise_for_status()
    return time.perf_counter() - begun


def _memory(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024
