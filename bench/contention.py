"""What reading costs while large files are published."""

from __future__ import annotations

import contextlib
import http.client
import math
import multiprocessing
import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from gateway_programs import Gateway, basic
from processes import children, cpu_seconds
from programs import PATIENCE, Server
from report import Scale, Section, Target, median, number

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.synchronize import Event

READER, PUBLISHER = ("reader", "reader-password"), ("publisher", "publisher-password")
PROJECTS = 100
WHEEL_BYTES = 50_000
RATE = 100
"""Requests that are sent each second, one after the other, whether the last one was answered in time or not."""
CONNECTIONS = 8
"""So that all workers of the gateway answer."""
UPLOAD_BYTES = 100_000_000
BLOCK = 250_000
UPLOADS = 4
LINE = 100_000_000
"""Bytes a second that they send together over a line of 1 Gbit/s, which carries somewhat more."""
NONE, PACED, UNPACED = "none", "over a line of 1 Gbit/s", "as fast as loopback"
ROUNDS = 3
LIMIT = 3.0


@dataclass
class Figures:
    """What was measured with one number of uploads; seconds, and seconds of CPU time for each second."""

    pages: list[float] = field(default_factory=list)
    wheels: list[float] = field(default_factory=list)
    acknowledged: float = 0
    cpu: dict[str, float] = field(default_factory=dict)


def measure(scale: Scale) -> Section:
    """Read with and without uploads, in turn."""
    seconds = 2 * scale.seconds
    results: dict[str, list[Figures]] = {NONE: [], PACED: [], UNPACED: []}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        server = Server(directory / "server")
        for project in range(PROJECTS):
            name = _wheel(project)
            (server.packages / name).write_bytes(name.encode().ljust(WHEEL_BYTES))
        with (
            server,
            Gateway(directory / "gateway", server.port, packages=server.packages, pages=server.pages) as gateway,
        ):
            for path in _paths():
                requests.get(gateway.url + path, auth=READER, timeout=PATIENCE).raise_for_status()
            for _ in range(ROUNDS):
                for uploads, figures in results.items():
                    programs = {"gateway": gateway.process, "server": server.process}
                    figures.append(_run(gateway.port, uploads, seconds, programs))
                    for file in server.packages.glob("published-*"):
                        file.unlink()
    return _section(seconds, results)


def _run(port: int, uploads: str, seconds: float, programs: Mapping[str, subprocess.Popen[bytes] | None]) -> Figures:
    """Read for so long while files are published."""
    ended = multiprocessing.Event()
    answers: multiprocessing.SimpleQueue[tuple[int, float]] = multiprocessing.SimpleQueue()
    publishers = multiprocessing.Process(target=_publish, args=(port, uploads, ended, answers))
    publishers.start()
    with multiprocessing.Pool(1) as pool:
        if uploads != NONE:
            time.sleep(1)  # until every upload is on its way
        before = {name: _cpu(program) for name, program in programs.items()}
        figures: Figures = pool.apply(_read, (port, seconds))
        for name, program in programs.items():
            figures.cpu[name] = (_cpu(program) - before[name]) / seconds
    ended.set()
    acknowledged, cpu = answers.get()
    publishers.join()
    figures.acknowledged = acknowledged
    figures.cpu["publishers"] = cpu
    return figures


def _read(port: int, seconds: float) -> Figures:
    """Ask for pages and wheels in turn at a fixed rate; the time of an answer counts from when it was due."""
    # What is measured is the registry: this process must not wait for its turn. Not everybody may ask for that.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    figures = Figures()
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE) for _ in range(CONNECTIONS)]
    headers = {"Authorization": basic(*READER)}
    paths = _paths()
    begun = time.perf_counter()
    cpu = time.process_time()
    for n in range(int(seconds * RATE)):
        due = begun + n / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        path = paths[n % len(paths)]
        connection = connections[n // 2 % CONNECTIONS]
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status}")
        (figures.pages if path.startswith("/simple/") else figures.wheels).append(time.perf_counter() - due)
    for connection in connections:
        connection.close()
    figures.cpu["reader"] = (time.process_time() - cpu) / seconds
    return figures


def _publish(port: int, uploads: str, ended: Event, answers: multiprocessing.SimpleQueue[tuple[int, float]]) -> None:
    """Publish so many files at a time until the end; say how many were acknowledged and what it cost."""
    acknowledged: list[str] = []

    def publish(number_: int) -> None:
        block = os.urandom(BLOCK)
        while not ended.is_set():
            name = f"published-{number_}.{len(acknowledged)}.{time.monotonic_ns()}.tar.gz"
            if _upload(port, name, block, LINE / UPLOADS if uploads == PACED else math.inf, ended):
                acknowledged.append(name)

    threads = [
        threading.Thread(target=publish, args=(number_,)) for number_ in range(UPLOADS if uploads != NONE else 0)
    ]
    begun, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    ended.wait()
    answers.put((len(acknowledged), (time.process_time() - cpu) / (time.perf_counter() - begun)))
    for thread in threads:
        thread.join()


def _upload(port: int, name: str, block: bytes, rate: float, ended: Event) -> bool:
    """Publish one file at a bounded rate; no if the end came first."""
    boundary = "b" * 32
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--{boundary}\r\n'
        f'Content-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    blocks = UPLOAD_BYTES // BLOCK

    def parts() -> Iterator[bytes]:
        begun = time.perf_counter()
        yield head
        for n in range(blocks):
            time.sleep(max(0.0, begun + n * BLOCK / rate - time.perf_counter()))
            if ended.is_set():
                raise InterruptedError
            yield block
        yield tail

    headers = {
        "Authorization": basic(*PUBLISHER),
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + blocks * BLOCK + len(tail)),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10 * PATIENCE)
    try:
        connection.request("POST", "/", parts(), headers)
        answer = connection.getresponse()
        text = answer.read()
    except InterruptedError:
        return False
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise RuntimeError(f"{name}: {answer.status} {text.decode()}")
    return True


def _wheel(project: int) -> str:
    return f"project_{project:03}-1.0-py3-none-any.whl"


def _paths() -> list[str]:
    return [path for n in range(PROJECTS) for path in (f"/simple/project-{n:03}/", f"/packages/{_wheel(n)}")]


def _cpu(program: subprocess.Popen[bytes] | None) -> float:
    """The CPU seconds of a program and of the workers that it has started."""
    if program is None:
        raise RuntimeError("a program does not run")
    return cpu_seconds([program.pid, *children(program.pid)])


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _section(seconds: float, results: Mapping[str, Sequence[Figures]]) -> Section:
    section = Section(
        "Reading while publishing",
        f"{PROJECTS} pages and as many wheels of {WHEEL_BYTES:,} bytes, private, asked for in turn at {RATE} requests "
        f"a second over {CONNECTIONS} connections, whether the answers come or not; the time of an answer counts from "
        f"when its request was due. Meanwhile {UPLOADS} files of {UPLOAD_BYTES:,} bytes are published at a time, "
        f"together at {LINE // 1_000_000} MB/s, or as fast as loopback takes them. {ROUNDS} rounds of {seconds:g} s in "
        "which the three take turns; medians of the rounds, in milliseconds.\n\n"
        "Everything shares the CPUs; the reader goes before all others (SCHED_FIFO, where that is allowed), so that "
        "it does not measure how long it waits itself. CPU: seconds of CPU time a second.",
        [
            *("uploads", "page p50", "page p99", "wheel p50", "wheel p99", "acknowledged"),
            *("CPU gateway", "CPU server", "CPU publishers", "CPU reader"),
        ],
    )
    p99: dict[tuple[str, str], float] = {}
    for uploads, rounds in results.items():
        row = [uploads]
        for what in ("pages", "wheels"):
            for share in (0.5, 0.99):
                value = median([_percentile(getattr(each, what), share) for each in rounds])
                row.append(number(value * 1000))
            p99[what, uploads] = value
        row.append(str(round(sum(each.acknowledged for each in rounds))))
        row += [
            number(median([each.cpu[who] for each in rounds])) for who in ("gateway", "server", "publishers", "reader")
        ]
        section.rows.append(row)
    for what, name in (("pages", "page"), ("wheels", "wheel")):
        ratio = p99[what, PACED] / p99[what, NONE]
        section.targets.append(Target(f"p99 of a {name} while others publish {PACED}, against none", ratio, LIMIT))
    section.notes.append(
        "Seen once with strace, not in this run: a worker of nginx keeps the body of an upload in a file without a "
        "name and takes 10 to 30 ms to close one of 100 MB, for which its other requests wait."
    )
    return section
