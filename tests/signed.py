"""A real file of PyPI with its real attestation, and the program that verifies such."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from programs import PATIENCE, RUNTIME, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

NAME = "pypi_attestations-0.0.19.tar.gz"
PROJECT = "pypi-attestations"
SHA256 = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3"
ATTESTATION: dict[str, Any] = json.loads(
    (Path(__file__).parent / "attestations" / f"{NAME}.publish.attestation").read_text()
)
"""Of the release job of pypi-attestations, whose own tests have this file (Apache-2.0, see NOTICE)."""
SIGNER = {"kind": "GitHub", "repository": "trailofbits/pypi-attestations", "workflow": "release.yml"}
OTHER = {**SIGNER, "repository": "trailofbits/other"}


def rules(publisher: Mapping[str, str], *projects: str, required: bool = True) -> dict[str, Any]:
    """What the file of the rules says of one publisher."""
    return {"publishers": [{"projects": list(projects or [PROJECT]), "publisher": publisher, "required": required}]}


def write_rules(directory: Path, said: object) -> Path:
    """The file."""
    path = directory / "attestations.json"
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    return path


def changed(*path: str, value: object) -> dict[str, Any]:
    """The attestation with another value at a place."""
    made = copy.deepcopy(ATTESTATION)
    of = made
    for part in path[:-1]:
        of = of[part]
    of[path[-1]] = value
    return made


def download(directory: Path) -> Path:
    """Fetch the file by pip."""
    wanted = directory / "requirements.txt"
    wanted.write_text(f"{PROJECT}==0.0.19 --hash=sha256:{SHA256}\n")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        f"--no-binary={PROJECT}",
    ]
    subprocess.run([*pip, f"--dest={directory}", f"--requirement={wanted}"], check=True)
    (found,) = directory.glob(NAME)
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SHA256
    return found


class Verifier:
    """The program that verifies attestations, in a directory of its own; the port survives a restart."""

    def __init__(self, directory: Path, *before: str, **environment: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.before = before
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONPATH": str(RUNTIME),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ATTESTATIONS_PORT": str(self.port),
            "LIBRARIES": str(directory),
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.directory / "log").read_text()

    def launch(self) -> Self:
        """Start it without waiting for what verifies."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.attesting.main", *self.before],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def ask(self, attestations: Sequence[object], *publishers: Mapping[str, str]) -> requests.Response:
        """Ask it as the server does."""
        question = {"attestations": attestations, "publishers": publishers}
        return requests.post(f"{self.url}/verify", json=question, timeout=PATIENCE)

    def wait(self) -> Self:
        """Wait until it verifies."""

        def verifies() -> bool:
            assert self.process
            assert self.process.poll() is None, self.log
            with contextlib.suppress(requests.ConnectionError):
                return self.ask([ATTESTATION], SIGNER).status_code != 503
            return False

        wait_for(verifies, "a verifier that is up")
        return self

    def children(self) -> list[int]:
        """Ids of the processes that it has started."""
        assert self.process
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(each) for task in tasks for each in task.read_text().split()]

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Have it hang."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and what it has started."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        """Start it, and wait until it verifies."""
        return self.launch().wait()

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        self.kill()
