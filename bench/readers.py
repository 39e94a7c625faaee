"""Clients that read, and how long each answer took them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import random
import time
from dataclasses import dataclass, field

from gateway_programs import basic
from programs import PATIENCE

READER = ("reader", "reader-password")
PROJECTS = 100
WHEEL_BYTES = 50_000
RATE = 100
"""Requests that are sent each second, one after the other, whether the last one was answered in time or not."""
CONNECTIONS = 8
"""So that all workers of the gateway answer."""
CLIENTS = 200
PAUSE = 2.0
"""Seconds that one of many clients rests between two installations, at most."""
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
"""As pip sends it."""


@dataclass
class Figures:
    """Seconds that answers took, and seconds of CPU time that a second of it cost each program."""

    pages: list[float] = field(default_factory=list)
    wheels: list[float] = field(default_factory=list)
    acknowledged: float = 0
    refused: float = 0
    cpu: dict[str, float] = field(default_factory=dict)


def wheel(project: int) -> str:
    """The name of a project's wheel."""
    return f"project_{project:03}-1.0-py3-none-any.whl"


def page_path(project: int) -> str:
    """Where its page is."""
    return f"/simple/project-{project:03}/"


def wheel_path(project: int) -> str:
    """Where its wheel is."""
    return f"/packages/{wheel(project)}"


def steadily(port: int, seconds: float) -> Figures:
    """Ask for pages and wheels in turn at a fixed rate; the time of an answer counts from when it was due."""
    _go_first()
    figures = Figures()
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE) for _ in range(CONNECTIONS)]
    headers = {"Authorization": basic(*READER)}
    begun = time.perf_counter()
    cpu = time.process_time()
    for n in range(int(seconds * RATE)):
        due = begun + n / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        project = n // 2 % PROJECTS
        path, times = (wheel_path(project), figures.wheels) if n % 2 else (page_path(project), figures.pages)
        connection = connections[n // 2 % CONNECTIONS]
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path}: {answer.status}")
        times.append(time.perf_counter() - due)
    for connection in connections:
        connection.close()
    figures.cpu["reader"] = (time.process_time() - cpu) / seconds
    return figures


def as_a_crowd(port: int, seconds: float) -> Figures:
    """Install as many clients do: each opens a connection, asks for a page and its wheel, and rests for a while."""
    _go_first()
    figures = Figures()
    cpu = time.process_time()

    async def all_of_them() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(_install_until(end, port, figures) for _ in range(CLIENTS)))

    asyncio.run(all_of_them())
    figures.cpu["reader"] = (time.process_time() - cpu) / seconds
    return figures


def _go_first() -> None:
    # What is measured is the registry: this process must not wait for its turn. Not everybody may ask for that.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


async def _install_until(end: float, port: int, figures: Figures) -> None:
    while True:
        await asyncio.sleep(random.uniform(0, PAUSE))  # noqa: S311 - no secret
        if time.perf_counter() >= end:
            return
        project = random.randrange(PROJECTS)  # noqa: S311 - no secret
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for path, times in ((page_path(project), figures.pages), (wheel_path(project), figures.wheels)):
                await _get(reader, writer, path)
                now = time.perf_counter()
                times.append(now - begun)
                begun = now
        finally:
            writer.close()


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*READER)}\r\nAccept: {ACCEPT}\r\n\r\n"
    writer.write(head.encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not answer.startswith(b"http/1.1 200 "):
        raise RuntimeError(f"{path}: {answer!r}")
    await reader.readexactly(int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
