"""When requests are many: one line stands for some of them, and what is counted stays true on average."""

from __future__ import annotations

import contextlib
import math
import re
import socket
from typing import TYPE_CHECKING

import pytest
import requests

from cdk8s_pypiserver import GatewaySpec
from cdk8s_pypiserver.base.config_files import runtime_files
from gateway_programs import Gateway, Setup, basic, read_all
from manifests import ROOT
from monitored import Counter, Line, Lines, connect, counts, parse
from programs import PATIENCE, Server, free_port, needs, upload, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SHIPPED = runtime_files("gateway")["http-metrics.conf"]
(RATE,) = re.findall(r"rate=\d+r/s", SHIPPED)
(SAMPLE,) = re.findall(r"[0-9.]+% \d+;", SHIPPED)
BURST = 200
PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
WHEEL = "demo-1.0-py3-none-any.whl"
PAGE = "/simple/demo/"
ON_A_CONNECTION = 1000
"""Requests after which nginx closes one (its default)."""
# One in ten instead of few: as many requests as a test can send tell more of ten than of a thousand.
TENTH = {SAMPLE: "10% 10;", RATE: "rate=1r/s"}
# Nothing is below the rate, and nothing of what is above gets a line by chance.
FLOODED = {SAMPLE: "0.01% 10000;", RATE: "rate=1r/m", f"burst={BURST}": "burst=1"}


@contextlib.contextmanager
def _registry(directory: Path, changes: Mapping[str, str]) -> Iterator[tuple[Gateway, Server, Lines]]:
    setup = Setup(metrics=True, spec=GatewaySpec(max_upload="1Mi"))
    with Server(directory / "server") as server, Lines() as lines:
        gateway = Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=setup,
        )
        connect(gateway, log_port=lines.port, port=free_port(), changes=changes)
        with gateway:
            assert upload(gateway.url, WHEEL, b"wheel", PUBLISHER).ok
            assert gateway.get(PAGE, *READER).ok
            lines.take(2)
            yield gateway, server, lines


def _flood(gateway: Gateway, path: str, connections: int, user: tuple[str, str] | None = None) -> int:
    """Send requests as fast as they are answered; return how many."""
    authorization = f"Authorization: {basic(*user)}\r\n" if user else ""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n".encode()
    for _ in range(connections):
        with gateway.connect() as connection:
            connection.sendall(request * ON_A_CONNECTION)
            read_all(connection)
    return connections * ON_A_CONNECTION


def _weight(lines: list[Line]) -> int:
    return sum(line.weight for line in lines)


def test_a_weight_is_what_its_chance_demands() -> None:
    percent, weight = SAMPLE.rstrip(";").split("% ")
    assert float(percent) * int(weight) == pytest.approx(100)


def test_the_document_says_what_is_shipped() -> None:
    rate, weight = int(RATE[5:-3]), int(SAMPLE.rstrip(";").split()[1])
    document = " ".join((ROOT / "docs/monitoring.md").read_text("utf-8").split())
    assert f"Up to {rate} requests a second a pod, and bursts of {BURST} beyond, each request is counted" in document
    assert f"one in {weight:,}, chosen by chance, counts for {weight:,}" in document
    assert f"off by about √({weight:,}/N)" in document


def test_a_burst_is_counted_one_by_one(tmp_path: Path) -> None:
    with _registry(tmp_path, {}) as (gateway, _, lines):
        for number in range(BURST - 10):
            gateway.get(*((PAGE, *READER) if number % 2 else (PAGE,)))
        counted = lines.take(BURST - 10)
        assert {line.weight for line in counted} == {1}
        half = (BURST - 10) // 2
        assert (
            sorted((line.status, line.verdict) for line in counted)
            == [("2xx", "hit")] * half + [("4xx", "none")] * half
        )


@pytest.mark.parametrize(
    ("path", "user", "status"),
    [(PAGE, READER, "2xx"), (PAGE, None, "4xx"), ("/demo", None, "3xx")],
    ids=["pages", "without a password", "redirects"],
)
def test_a_flood_is_estimated_without_bias(
    tmp_path: Path, path: str, user: tuple[str, str] | None, status: str
) -> None:
    with _registry(tmp_path, TENTH) as (gateway, _, lines):
        counted: list[Line] = []
        sent = 0
        for _ in range(12):
            sent += _flood(gateway, path, 1, user)
            counted += lines.take()
        assert {line.status for line in counted} == {status}
        single = sum(line.weight == 1 for line in counted)
        assert single < sent / 2
        # Of so many each has a line of weight 10 with a chance of a tenth: the bound is at 7 standard deviations.
        assert abs(_weight(counted) - sent) < 7 * math.sqrt((sent - single) * 9)
        assert gateway.error_log == ""


def test_each_upload_has_a_line_in_a_flood(tmp_path: Path) -> None:
    with _registry(tmp_path, FLOODED) as (gateway, server, lines):
        _flood(gateway, PAGE, 1, READER)
        lines.take()
        assert upload(gateway.url, "other-1.0.tar.gz", b"sdist", PUBLISHER).ok
        assert upload(gateway.url, "other-1.0.tar.gz", b"sdist", PUBLISHER).status_code == 409
        assert upload(gateway.url, ".other-1.0.tar.gz", b"sdist", PUBLISHER).status_code == 400
        assert upload(gateway.url, "other-2.0.tar.gz", bytes(1_100_000), PUBLISHER).status_code == 413
        server.kill()
        assert upload(gateway.url, "other-2.0.tar.gz", b"sdist", PUBLISHER).status_code == 503
        assert [(line.weight, line.upload) for line in lines.take(5)] == [
            (1, "stored"),
            (1, "conflict"),
            (1, "refused"),
            (1, "refused"),
            (1, "failed"),
        ]


@needs("mtail")
def test_a_line_counts_for_as_many_as_it_says(tmp_path: Path) -> None:
    with Counter(tmp_path) as counter, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        for line in (
            "1 project GET 2xx known hit none none 1000 0.003 null",
            "500 project GET 2xx known hit none none 2000 0.200 0.150",
            "500 other GET 5xx anonymous none none away 20 0.001 null",
            "1 publish POST 2xx known asked stored none 10 70.000 65.500",
        ):
            header = f"<190>Nov 22 20:20:20 gateway: {line}\n"
            gateway.sendto(header.encode(), ("127.0.0.1", counter.log_port))

        def counted() -> str:
            text = requests.get(f"http://127.0.0.1:{counter.port}/metrics", timeout=PATIENCE).text
            return text if "stored" in text else ""

        wait_for(counted, "the last line")
        samples = parse(counted())
    answered = counts(samples, "pypiserver_requests_total", "route")
    assert answered == {("project",): 501, ("other",): 500, ("publish",): 1}
    sent = counts(samples, "pypiserver_sent_bytes_total", "route")
    assert sent == {("project",): 1_001_000, ("other",): 10_000, ("publish",): 10}
    assert counts(samples, "pypiserver_verdicts_total", "result") == {("hit",): 501, ("asked",): 1}
    assert counts(samples, "pypiserver_uploads_total", "result") == {("stored",): 1}
    assert counts(samples, "pypiserver_errors_total", "reason") == {("away",): 500}
    duration, server = "pypiserver_request_duration_seconds", "pypiserver_server_duration_seconds"
    assert counts(samples, f"{duration}_count", "route") == {("project",): 501, ("other",): 500, ("publish",): 1}
    sums = counts(samples, f"{duration}_sum", "route")
    assert sums[("project",)] == pytest.approx(100.003)
    buckets = counts(samples, f"{duration}_bucket", "route", "le")
    limits = ("0.005", "0.025", "0.1", "0.25", "1", "5", "60", "600", "+Inf")
    assert [buckets["project", limit] for limit in limits] == [1, 1, 1, *[501] * 6]
    assert [buckets["publish", limit] for limit in limits] == [*[0] * 7, 1, 1]
    assert counts(samples, f"{server}_count", "route") == {("project",): 500, ("publish",): 1}
    assert counts(samples, f"{server}_sum", "route") == {("project",): 75, ("publish",): 65.5}


@needs("mtail")
def test_a_burst_waits_until_it_is_read(tmp_path: Path) -> None:
    line = b"<190>Nov 22 20:20:20 gateway: 1 project GET 2xx known hit none none 1000 0.003 null\n"
    with Counter(tmp_path) as counter, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        for _ in range(BURST):
            gateway.sendto(line, ("127.0.0.1", counter.log_port))
        url = f"http://127.0.0.1:{counter.port}/metrics"

        def counted() -> float:
            samples = parse(requests.get(url, timeout=PATIENCE).text)
            return sum(sample.value for sample in samples if sample.name == "pypiserver_requests_total")

        wait_for(lambda: counted() == BURST, f"{BURST} counted requests")
