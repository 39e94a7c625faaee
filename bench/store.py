"""Packages of an object store: read, published and started with, beside rclone's own commands and a volume."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from fetching_programs import Pod
from gateway_programs import Gateway, Setup, make_wheel, multipart
from load import Load, described
from processes import children
from programs import PATIENCE, Server, upload, wait_for
from report import Scale, Section, Target, median, number, spread
from server.store.rows import File, written
from vitals import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STORE, VOLUME, RCLONE = "object store", "volume", "rclone"
CACHED, FIRST, PUBLISH, START = "kept wheel", "first read", "publish", "start"
WHEELS = 100
WHEEL_BYTES = 50_000
ROUNDS, SECONDS = 7, 2.0
LARGE = 100 * MEBIBYTE
FILES = 100_000
STARTS = 3
START_PATIENCE, SURVEY_PATIENCE = 120.0, 1800.0
NEARLY, FIRST_SHARE, TWICE = 0.9, 0.7, 2.0
READY_SECONDS, MEMORY_MIB = 15.0, 200.0
"""The limits."""
PUBLISHER = ("publisher", "publisher-password")


def measure(scale: Scale) -> Section:
    """Measure all of it, the store and its baseline in turn."""
    rounds = min(scale.rounds, ROUNDS)
    figures: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        pod = stack.enter_context(Pod(directory, Setup(anonymous=True), cache_bytes=20 * LARGE))
        urls = {STORE: pod.gateway.url, VOLUME: stack.enter_context(_on_volume(directory / "volume"))}
        _fill(list(urls.values()), directory)
        paths = [f"/packages/{_wheel(each)}" for each in range(WHEELS)]
        for _ in range(rounds):
            for name, url in urls.items():
                rate = Load(url, paths).run(min(scale.seconds, SECONDS), directory)
                figures.setdefault((CACHED, name), []).append(rate)
        for each in range(rounds):
            file = make_wheel(directory, "large", f"1.{each}", os.urandom(LARGE))
            for what, taken in (*_published(pod, file), *_read(pod, file)):
                figures.setdefault(what, []).append(taken)
            file.unlink()
    starts = [_start(min(FILES, max(scale.sizes))) for _ in range(STARTS)]
    return _section(figures, starts, min(FILES, max(scale.sizes)))


@contextlib.contextmanager
def _on_volume(directory: Path) -> Iterator[str]:
    with (
        Server(directory / "server") as server,
        Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=Setup(anonymous=True),
        ) as gateway,
    ):
        yield gateway.url


def _wheel(each: int) -> str:
    return f"project_{each:03}-1.0-py3-none-any.whl"


def _fill(urls: Sequence[str], directory: Path) -> None:
    """Publish the small wheels, which are kept by that, and make sure that all are the same."""
    for each in range(WHEELS):
        file = make_wheel(directory, f"project_{each:03}", "1.0", os.urandom(WHEEL_BYTES))
        content = file.read_bytes()
        for url in urls:
            upload(url, file.name, content, PUBLISHER).raise_for_status()
            answer = requests.get(f"{url}/packages/{file.name}", timeout=PATIENCE)
            _require(answer.content == content, f"{url} has another {file.name}")
        file.unlink()


def _run(pod: Pod, *arguments: str | Path) -> float:
    """Run rclone as a command, with what the pod's is told, and return how long it took."""
    begun = time.perf_counter()
    subprocess.run(
        ["rclone", *map(str, arguments)],
        check=True,
        env=pod.rclone.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun


def _published(pod: Pod, file: Path) -> list[tuple[tuple[str, str], float]]:
    body, content_type = multipart(file)
    theirs = _run(pod, "copyto", file, f"{pod.place}/of-rclone/{file.name}")
    begun = time.perf_counter()
    answer = requests.post(
        f"{pod.gateway.url}/", body, auth=PUBLISHER, headers={"Content-Type": content_type}, timeout=START_PATIENCE
    )
    ours = time.perf_counter() - begun
    answer.raise_for_status()
    return [((PUBLISH, STORE), ours), ((PUBLISH, RCLONE), theirs)]


def _read(pod: Pod, file: Path) -> list[tuple[tuple[str, str], float]]:
    # As the cache does when others need the room.
    kept = pod.server.packages / file.name
    kept.unlink(missing_ok=True)
    theirs = _run(pod, "cat", f"{pod.place}/{file.name}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    begun = time.perf_counter()
    # curl, since Python's client takes as long as the rest.
    command = ["curl", "--silent", "--fail", "--output", "/dev/null", f"{pod.gateway.url}/packages/{file.name}"]
    subprocess.run(command, check=True)
    ours = time.perf_counter() - begun
    wait_for(kept.exists, "the file in the cache")
    _require(hashlib.sha256(kept.read_bytes()).hexdigest() == digest, f"another {file.name} is kept")
    return [((FIRST, STORE), ours), ((FIRST, RCLONE), theirs)]


def _start(files: int) -> tuple[float, float]:
    """Seconds until a server is ready that finds so many objects, and MiB of all programs after the first survey."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        pod = Pod(Path(temporary))
        catalogue = pod.objects / ".pypiserver/catalogue"
        catalogue.mkdir(parents=True)
        lines = []
        for each in range(files):
            path = pod.objects / f"project_{each // 10:05}-1.{each % 10}-py3-none-any.whl"
            path.write_bytes(b"x")
            changed = int(path.stat().st_mtime)
            lines.append(File(path.name, 1, changed, f"{each:064x}", f"{each:064x}", ">=3.10", changed))
        with gzip.open(catalogue / "snapshot-000000000001.jsonl.gz", "wb") as snapshot:
            snapshot.writelines(written(lines, "bench/pypiserver"))
        for program in (pod.store, pod.rclone, pod.fetching):
            stack.enter_context(program)
        begun = time.perf_counter()
        server = pod.server.launch()
        stack.callback(pod.server.kill)
        wait_for(lambda: _is_ready(pod.server), "the server", START_PATIENCE)
        seconds = time.perf_counter() - begun
        stack.enter_context(pod.gateway)
        _require(_figure(pod.server, "pypiserver_packages") == files, "not all objects are listed")
        wait_for(lambda: _figure(pod.server, "pypiserver_store_survey_timestamp_seconds"), "a survey", SURVEY_PATIENCE)
        programs = (server, pod.rclone.process, pod.fetching.process, pod.gateway.process)
        pids = [program.pid for program in programs if program]
        return seconds, sum(map(_resident, [*pids, *(child for pid in pids for child in children(pid))]))


def _figure(server: Server, name: str) -> float:
    page = requests.get(f"{server.url}/-/metrics", timeout=PATIENCE).text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))


def _require(found: bool, otherwise: str) -> None:
    if not found:
        raise RuntimeError(otherwise)


def _is_ready(server: Server) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{server.url}/-/ready", timeout=PATIENCE).ok
    return False


def _resident(pid: int) -> float:
    # Of what several processes have in common each has its part.
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _section(figures: Mapping[tuple[str, str], list[float]], starts: list[tuple[float, float]], files: int) -> Section:
    section = Section(
        "Object store",
        "The store is `rclone serve s3` over a directory; the registry on it is nginx, gunicorn, the program that "
        f"fetches and rclone with the shipped files, reads open. Kept wheels: {WHEELS} of {WHEEL_BYTES:,} bytes, "
        f"{described()}, beside the same wheels on a volume, requests a second. First reads and publishing: files of "
        f"{LARGE // MEBIBYTE} MiB that are not in the cache, seconds, beside `rclone cat` and `rclone copyto` of the "
        f"same files as commands of their own. Start: from the launch of the server to its being ready, {files:,} "
        f"objects and their catalogue in the store; rclone runs already; the memory is that of all programs of the pod "
        f"once the bucket has been listed. Medians of {ROUNDS} rounds, of {STARTS} "
        "starts.",
        ["", STORE, "beside it"],
    )
    for work, other in ((CACHED, VOLUME), (FIRST, RCLONE), (PUBLISH, RCLONE)):
        section.rows.append([f"{work} ({other})", *(number(median(figures[work, name])) for name in (STORE, other))])
    section.rows.append([START, f"{number(median([seconds for seconds, _ in starts]))} s", ""])

    def ratios(work: str, above: str, below: str) -> list[float]:
        return [one / other for one, other in zip(figures[work, above], figures[work, below], strict=True)]

    cached, first, publish = (
        ratios(CACHED, STORE, VOLUME),
        ratios(FIRST, RCLONE, STORE),
        ratios(PUBLISH, STORE, RCLONE),
    )
    section.targets += [
        Target("kept wheels against a volume", median(cached), NEARLY, at_least=True),
        Target("speed of first reads against rclone cat", median(first), FIRST_SHARE, at_least=True),
        Target("time of a publish against rclone copyto", median(publish), TWICE),
        Target(f"start with {files:,} objects", median([seconds for seconds, _ in starts]), READY_SECONDS, unit="s"),
        Target("memory of the pod after a listing", median([memory for _, memory in starts]), MEMORY_MIB, unit="MiB"),
    ]
    section.notes.append(
        f"In single rounds: kept wheels {spread(cached)}, first reads {spread(first)}, publishing {spread(publish)}."
    )
    return section
