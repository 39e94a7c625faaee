"""The web servers that the registry is compared with."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from programs import PATIENCE, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def running(command: list[str], directory: Path, url: str) -> Iterator[str]:
    """Run a web server until it is not needed any more."""
    with (directory / "output.log").open("ab") as output:
        # In a session of its own, as the registry: Linux shares the CPU among sessions.
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output, start_new_session=True)

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended:\n{(directory / 'output.log').read_text('utf-8')}")
            with contextlib.suppress(requests.ConnectionError):
                requests.get(url, timeout=PATIENCE)
                return True
            return False

        try:
            # devpi-server takes many seconds where others work too.
            wait_for(answers, url, patience=120)
            yield url
        finally:
            process.terminate()
            process.wait(PATIENCE)


@contextlib.contextmanager
def seed(directory: Path, packages: Path, passwords: Path, authenticated: str) -> Iterator[str]:
    """The command line of the seed chart, which picks waitress and the cached back end by itself."""
    for needed in ("waitress", "watchdog"):
        # Without them pypi-server takes a slower web server and back end.
        importlib.import_module(needed)
    home = directory / authenticated.replace(",", "-")
    # In a folder of its own: watchdog is told of every file that another server opens in the one that it watches.
    shutil.copytree(packages, home / "packages", copy_function=os.link)
    port = free_port()
    program = str(Path(sys.executable).with_name("pypi-server"))
    command = [program, "run", "-p", str(port), "-i", "127.0.0.1", "-a", authenticated, "-P", str(passwords)]
    with running([*command, str(home / "packages")], home, f"http://127.0.0.1:{port}") as url:
        yield url
