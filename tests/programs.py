"""Start the programs of the pod as real processes on loopback, each in a directory of its own."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

RUNTIME = Path(__file__).parents[1] / "constructs/cdk8s_pypiserver/runtime"
PATIENCE = 60.0
"""Seconds after which a polled condition counts as failed."""


def installed(name: str) -> str | None:
    """The program to test: that of the variable of its name in capitals, such as MTAIL, else of PATH."""
    return os.environ.get(name.upper()) or shutil.which(name)


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test where a program is missing; the reason tells whether `make test` would have brought it."""
    why = "`make test` brings it" if shutil.which("apt-get") else "and no apt to bring it"
    return pytest.mark.skipif(installed(name) is None, reason=f"there is no {name}, {why}")


def free_port() -> int:
    """A loopback port that nothing listens on, below those that the kernel gives to clients.

    One of those can be taken before a program listens on it, or while it is away: sooner or later by whoever tries to
    reach it, since a socket that is connected to its own port answers itself. No port is returned twice, nor to two
    workers of pytest-xdist, until all have been: a program takes its port a while later, or comes back to it.
    """
    for port in _ports:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def _ports_of_worker() -> Iterator[int]:
    """Every port of this worker, again and again, from one on that another run will hardly begin with."""
    lowest_of_clients = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = range(10_000 + worker, max(20_000, lowest_of_clients), workers)
    first = random.randrange(len(ports))  # noqa: S311
    return itertools.cycle([*ports[first:], *ports[:first]])


_ports = _ports_of_worker()


def wait_for(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Poll `condition` until it is true; an AssertionError names `what` after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(0.01)


class First:
    """A command as the first process of a container, which no signal ends that it does not handle (pid_namespaces(7)).

    `with First(command) as process:` starts it and kills it at the end.
    """

    def __init__(self, command: Sequence[str], **popen: Any) -> None:  # noqa: ANN401 - what Popen takes
        # A shell traps no signal that it is started without, as everything in the background is.
        self._command = [*_first_of_its_own(), "env", "--default-signal", *command]
        self._popen = popen

    def __enter__(self) -> Self:
        self._outside = subprocess.Popen(self._command, **self._popen)
        return self

    def __exit__(self, *_: object) -> None:
        self._outside.kill()
        self._outside.wait(PATIENCE)

    def send_signal(self, number: int) -> None:
        """Send a signal as the kubelet does, from outside."""
        outside = self._outside.pid
        (first,) = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        os.kill(int(first), number)

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit code, once it has ended."""
        return self._outside.wait(patience)


def _first_of_its_own() -> list[str]:
    # Whoever is not root becomes it in a namespace of users.
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--pid", "--fork", "--kill-child"]


@functools.cache
def has_pid_namespaces() -> bool:
    """Whether a process can be the first of a namespace here."""
    unshare = shutil.which("unshare")
    return (
        bool(unshare)
        and subprocess.run([*_first_of_its_own(), "true"], capture_output=True, check=False).returncode == 0
    )


needs_pid_namespaces = pytest.mark.skipif(not has_pid_namespaces(), reason="there are no namespaces of processes")
"""Skip a test where no process can be the first of a container."""


def htpasswd_line(user: str, password: str) -> str:
    """One line of an htpasswd file, with the cheapest bcrypt hash there is."""
    digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
    return f"{user}:{digest}\n"


def upload(
    url: str, filename: str, content: bytes = b"content", user: tuple[str, str] | None = None, **form: str
) -> requests.Response:
    """Upload a file as twine does; `form` adds to the form or replaces what is in it."""
    fields = {":action": "file_upload", "protocol_version": "1", **form}
    return requests.post(f"{url}/", data=fields, files={"content": (filename, content)}, auth=user, timeout=PATIENCE)


class Server:
    """The server of the pod: gunicorn with the shipped configuration.

    `directory` gets `packages`, `pages`, `auth`, `tmp` and `server.log`; `environment` adds to or replaces the
    variables of the contract. The port is chosen once, so that the URL survives a restart.
    Two servers with the same PACKAGES_DIRECTORY are two pods on a shared volume.
    `with Server(tmp_path) as server:` starts it, waits until it answers, and kills it at the end.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.packages = directory / "packages"
        self.pages = directory / "pages"
        self.credentials = directory / "auth"
        self.temporary = directory / "tmp"
        for each in (self.packages, self.pages, self.credentials, self.temporary):
            each.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.verdicts_port = free_port()
        self.program = RUNTIME
        self.arguments = ["--bind", f"127.0.0.1:{self.port}"]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.temporary),
            "TMPDIR": str(self.temporary),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PACKAGES_DIRECTORY": str(self.packages),
            "PAGES_DIRECTORY": str(self.pages),
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "VERDICTS_PORT": str(self.verdicts_port),
            **(environment or {}),
        }
        self.packages = Path(self.environment["PACKAGES_DIRECTORY"])
        self.pages = Path(self.environment["PAGES_DIRECTORY"])
        self.credentials = Path(self.environment["CREDENTIALS_DIRECTORY"])
        self.process: subprocess.Popen[bytes] | None = None
        self.add_user("readers", "reader", "reader-password")
        self.add_user("publishers", "publisher", "publisher-password")

    def add_user(self, role: str, user: str, password: str) -> None:
        """Append a user to the htpasswd file of `role`: "readers" or "publishers"."""
        with (self.credentials / role).open("a") as file:
            file.write(htpasswd_line(user, password))

    @property
    def log(self) -> str:
        """What the server has written so far, over all its starts."""
        path = self.directory / "server.log"
        return path.read_text() if path.exists() else ""

    @property
    def command(self) -> list[str]:
        """What the container runs."""
        configuration = str(self.program / "server/pod/gunicorn.conf.py")
        return [sys.executable, "-m", "gunicorn", "--config", configuration, *self.arguments]

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self) -> Self:
        """Start the process and wait until /health answers."""
        process = self.launch()

        def answers() -> bool:
            ended = process.poll()
            assert ended is None, f"the server ended with {ended}:\n{self.log}"
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(f"{self.url}/health", timeout=PATIENCE).ok
            return False

        wait_for(answers, f"{self.url}/health")
        return self

    def stop(self) -> None:
        """End the process as a kubelet does, with SIGTERM."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill master and worker at once, with SIGKILL."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Kill: nothing of a test survives it."""
        self.kill()
