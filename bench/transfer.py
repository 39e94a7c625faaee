"""`copy` from one registry to another, beside what wget fetches and curl publishes of the same files."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from gateway_programs import Registry, make_wheel, registry
from line import Line
from processes import children, cpu_seconds
from programs import PATIENCE
from report import Scale, Section, Target, median, number, spread
from vitals import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JOBS = 8
"""As many as `copy` does at once unless it is told otherwise."""
SMALL, LARGE = 60, 4
SIZES = [100 * MEBIBYTE] * LARGE + [MEBIBYTE + each * 4 * MEBIBYTE // (SMALL - 1) for each in range(SMALL)]
"""Of the wheels; the large ones come first, by their names."""
ROUNDS = 5
READER, PUBLISHER = ("reader", "reader-password"), ("publisher", "publisher-password")
LOGINS = {
    **{f"COPY_SOURCE_{key}": value for key, value in zip(("USERNAME", "PASSWORD"), READER, strict=True)},
    **{f"COPY_TARGET_{key}": value for key, value in zip(("USERNAME", "PASSWORD"), PUBLISHER, strict=True)},
}
WGET = f"wget --quiet --auth-no-challenge --user={READER[0]} --password={READER[1]}"
CURL = f"curl --silent --show-error --fail --user {':'.join(PUBLISHER)} --form :action=file_upload"
FROM_SOURCE, FROM_TARGET = "`wget` from the source", "`wget` from the target"
PUBLISHED, BY_HAND, COPIED = "`curl` to the target", "`wget`, then `curl`, file by file", "`copy`"
LINE = 25_000_000
"""Bytes a second each way, of the lines between the clients and each of the two registries: 200 Mbit/s."""
FROM_SOURCE_BY_LINE, FROM_TARGET_BY_LINE, COPIED_BY_LINE = (
    f"{each}, over a line" for each in (FROM_SOURCE, FROM_TARGET, COPIED)
)
LIMIT = 0.8


@dataclass(frozen=True)
class Run:
    """One way to move all files, once."""

    seconds: float
    client: float
    """CPU seconds of the programs that ask."""
    servers: float
    """CPU seconds of the registries that were asked."""


def measure(scale: Scale) -> Section:
    """Move the files in all ways, in turn."""
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        packages = home / "source/server/packages"
        packages.mkdir(parents=True)
        files = [make_wheel(packages, f"acme_{at:03}", "1.0", os.urandom(size)) for at, size in enumerate(SIZES)]
        with registry(home / "source") as source:
            _warm(source, files)
            for _ in range(min(scale.rounds, ROUNDS)):
                for name, run in _round(source, files, home).items():
                    runs.setdefault(name, []).append(run)
    return _section(runs)


def _warm(source: Registry, files: Sequence[Path]) -> None:
    """Have the pages made and the files in memory, which the first to ask would pay for."""
    for file in files:
        project = file.name.partition("-")[0].replace("_", "-")
        for path in (f"simple/{project}/", f"packages/{file.name}"):
            requests.get(f"{source.gateway.url}/{path}", auth=READER, timeout=PATIENCE).raise_for_status()


def _round(source: Registry, files: Sequence[Path], home: Path) -> dict[str, Run]:
    names = [file.name for file in files]
    fetched = home / "fetched"
    fetched.mkdir(exist_ok=True)
    fetch = f'{WGET} --output-document="{fetched}/$0" "{{url}}/packages/$0"'
    publish = f'{CURL} --form "content=@{{folder}}/$0" "{{url}}/" >/dev/null'
    from_source = fetch.format(url=source.gateway.url)
    runs = {FROM_SOURCE: _each(from_source, names, [source])}
    with registry(home / "target") as target:
        runs[PUBLISHED] = _each(publish.format(url=target.gateway.url, folder=files[0].parent), names, [target])
    shutil.rmtree(home / "target")
    _empty(fetched)
    with registry(home / "target") as target:
        both = f"{from_source} && {publish.format(url=target.gateway.url, folder=fetched)}"
        runs[BY_HAND] = _each(both, names, [source, target])
    shutil.rmtree(home / "target")
    _empty(fetched)
    with registry(home / "target") as target:
        runs[COPIED] = _copied(source.gateway.url, target.gateway.url, [source, target], home)
        _warm(target, files)
        runs[FROM_TARGET] = _each(fetch.format(url=target.gateway.url), names, [target])
    shutil.rmtree(home / "target")
    _empty(fetched)
    with registry(home / "target") as target, _line(source) as to_source, _line(target) as to_target:
        runs[FROM_SOURCE_BY_LINE] = _each(fetch.format(url=to_source), names, [source])
        _empty(fetched)
        runs[COPIED_BY_LINE] = _copied(to_source, to_target, [source, target], home)
        _warm(target, files)
        runs[FROM_TARGET_BY_LINE] = _each(fetch.format(url=to_target), names, [target])
    shutil.rmtree(home / "target")
    _empty(fetched)
    return runs


def _copied(source: str, target: str, asked: Sequence[Registry], home: Path) -> Run:
    command = [sys.executable, "-m", "cdk8s_pypiserver", "copy", f"{source}/simple/", f"{target}/", f"--jobs={JOBS}"]
    return _timed(command, asked, home=home)


@contextlib.contextmanager
def _line(registry: Registry) -> Iterator[str]:
    port = urlsplit(registry.gateway.url).port or 0
    with Line(port, bandwidth=LINE, sending=LINE).opened() as line:
        yield f"http://127.0.0.1:{line.port}"


def _empty(directory: Path) -> None:
    for file in directory.iterdir():
        file.unlink()


def _each(script: str, names: Sequence[str], asked: Sequence[Registry]) -> Run:
    """Run a script for each of the names, so many at a time."""
    return _timed(["xargs", f"-P{JOBS}", "-I{}", "sh", "-c", script, "{}"], asked, given="\n".join(names))


def _timed(command: Sequence[str], asked: Sequence[Registry], *, given: str = "", home: Path | None = None) -> Run:
    environment = {**os.environ, **LOGINS, "HOME": str(home)} if home else None
    servers, client = _cpu(asked), resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(command, check=False, input=given, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - client.ru_utime - client.ru_stime
    return Run(seconds, taken, _cpu(asked) - servers)


def _cpu(asked: Sequence[Registry]) -> float:
    programs = [each for one in asked for each in (one.gateway.process, one.server.process) if each]
    return cpu_seconds([pid for each in programs for pid in (each.pid, *children(each.pid))])


def _section(runs: Mapping[str, Sequence[Run]]) -> Section:
    size = sum(SIZES) / MEBIBYTE
    section = Section(
        "Copying a registry",
        f"{LARGE} wheels of 100 MiB and {SMALL} of 1 to 5 MiB, {size:.0f} MiB, from one private registry to an empty "
        f"one, each with its gateway, by `python -m cdk8s_pypiserver copy` with {JOBS} files at once; beside it `wget` "
        f"and `curl`, {JOBS} at once too, which fetch the same files, publish them, and do both with each file, "
        "without comparing a hash or reading a page. Everything writes to one disk, and each publish is synced before "
        f"it is acknowledged. Over a line: to each of the registries, {LINE * 8 // 10**6} Mbit/s each way. "
        f"{len(runs[COPIED])} rounds in which all take turns, with a new target each time; CPU: "
        "seconds of CPU time.",
        ["", "seconds (median)", "lowest to highest", "MiB/s", "CPU client", "CPU registries"],
    )
    on_the_machine = (FROM_SOURCE, FROM_TARGET, PUBLISHED, BY_HAND, COPIED)
    for name in (*on_the_machine, FROM_SOURCE_BY_LINE, FROM_TARGET_BY_LINE, COPIED_BY_LINE):
        seconds = [run.seconds for run in runs[name]]
        section.rows.append(
            [
                *(name, number(median(seconds)), spread(seconds), number(size / median(seconds))),
                *(number(median([getattr(run, who) for run in runs[name]])) for who in ("client", "servers")),
            ]
        )
    slower = _slower(runs[FROM_SOURCE], runs[FROM_TARGET])
    by_line = _slower(runs[FROM_SOURCE_BY_LINE], runs[FROM_TARGET_BY_LINE])
    shares = {
        name: [other / run.seconds for run, other in zip(runs[COPIED], others, strict=True)]
        for name, others in (
            ("by hand", [run.seconds for run in runs[BY_HAND]]),
            ("publishing", [run.seconds for run in runs[PUBLISHED]]),
            ("fetching", slower),
        )
    }
    lines = [fetch / copy.seconds for fetch, copy in zip(by_line, runs[COPIED_BY_LINE], strict=True)]
    section.targets += [
        Target("Speed of a copy, as a share of that by hand", median(shares["by hand"]), LIMIT, at_least=True),
        Target("Speed of a copy over lines, as a share of the slower `wget`", median(lines), LIMIT, at_least=True),
    ]
    taken = median([fetch / publish.seconds for fetch, publish in zip(slower, runs[PUBLISHED], strict=True)])
    fetching, publishing = (number(median(shares[name])) for name in ("fetching", "publishing"))
    section.notes.append(
        f"On one machine a copy goes at {fetching} times the speed at which `wget` fetches from the slower of the two "
        f"registries, and at {publishing} times that at which the target takes the files from `curl`, which is "
        f"{number(taken)} times the first: it writes, hashes and syncs them, on the same cores."
    )
    section.notes.append(
        f"In single rounds, as a share of that by hand: {spread(shares['by hand'])}; over lines: {spread(lines)}."
    )
    return section


def _slower(one: Sequence[Run], other: Sequence[Run]) -> list[float]:
    return [max(run.seconds for run in pair) for pair in zip(one, other, strict=True)]
