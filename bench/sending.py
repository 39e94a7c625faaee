"""Large files that are published while something else is measured."""

from __future__ import annotations

import contextlib
import http.client
import math
import multiprocessing
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_programs import basic
from programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

PUBLISHER = ("publisher", "publisher-password")
BYTES = 100_000_000
BLOCK = 250_000
LINE = 100_000_000
"""Bytes a second that all uploads send together over a line of 1 Gbit/s, which carries somewhat more."""
NONE, PACED, UNPACED = "none", "over a line of 1 Gbit/s", "as fast as loopback"
PREFIX = "published"
PAUSE = 0.1


@dataclass
class Published:
    """What has come of it, at the end."""

    acknowledged: int = 0
    refused: int = 0
    """How many were told that too many are published at once: under load the place of the last one is free late."""
    cpu: float = 0.0
    """Seconds of CPU time a second that it took to send."""


@contextmanager
def published(port: int, pace: str, count: int) -> Iterator[Published]:
    """Publish so many files at a time, one after the other, until the end of the block."""
    ended = multiprocessing.Event()
    answers: multiprocessing.SimpleQueue[Published] = multiprocessing.SimpleQueue()
    arguments = (port, pace, count if pace != NONE else 0, ended, answers)
    process = multiprocessing.Process(target=_publish, args=arguments)
    process.start()
    outcome = Published()
    try:
        if pace != NONE:
            time.sleep(1)  # until every upload is on its way
        yield outcome
    finally:
        ended.set()
        vars(outcome).update(vars(answers.get()))
        process.join()


def _publish(port: int, pace: str, count: int, ended: Event, answers: multiprocessing.SimpleQueue[Published]) -> None:
    """Publish until the end; say how many were acknowledged and what it cost."""
    statuses: list[int] = []

    def publish(number: int) -> None:
        block = os.urandom(BLOCK)
        # The first ones are shorter, each by another part, so that the ends of uploads spread over time.
        blocks = BYTES // BLOCK * (number + 1) // count
        while not ended.is_set():
            name = f"{PREFIX}-{number}.{time.monotonic_ns()}.tar.gz"
            with contextlib.suppress(InterruptedError):
                statuses.append(
                    _upload(port, name, [block] * blocks, LINE / count if pace == PACED else math.inf, ended)
                )
            blocks = BYTES // BLOCK
            # The gateway frees the place of an upload a moment after its answer.
            ended.wait(PAUSE)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(count)]
    begun, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    ended.wait()
    seconds = time.perf_counter() - begun
    answers.put(
        Published(
            statuses.count(http.client.OK),
            statuses.count(http.client.SERVICE_UNAVAILABLE),
            (time.process_time() - cpu) / seconds,
        )
    )
    for thread in threads:
        thread.join()


def _upload(port: int, name: str, blocks: list[bytes], rate: float, ended: Event) -> int:
    """Publish one file at a bounded rate, and return the status.

    Raises:
        InterruptedError: The end came first.
    """
    boundary = "b" * 32
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name=":action"\r\n\r\nfile_upload\r\n--{boundary}\r\n'
        f'Content-Disposition: form-data; name="content"; filename="{name}"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def parts() -> Iterator[bytes]:
        begun = time.perf_counter()
        yield head
        for number, block in enumerate(blocks):
            time.sleep(max(0.0, begun + number * BLOCK / rate - time.perf_counter()))
            if ended.is_set():
                raise InterruptedError
            yield block
        yield tail

    headers = {
        "Authorization": basic(*PUBLISHER),
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + len(blocks) * BLOCK + len(tail)),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10 * PATIENCE)
    try:
        connection.request("POST", "/", parts(), headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status not in {http.client.OK, http.client.SERVICE_UNAVAILABLE}:
        raise RuntimeError(f"{name}: {answer.status} {text.decode()}")
    return answer.status
