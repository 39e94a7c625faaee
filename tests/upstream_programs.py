"""Start a whole registry that leads to public indexes: server, gateway, and the program that asks the indexes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urljoin

import requests

from gateway_programs import Gateway, Setup, multipart
from programs import PATIENCE, RUNTIME, Server, free_port, wait_for
from public_pages import JSON
from vitals import MEBIBYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

    from certificates import Authority
    from public_index import PublicIndex

AGENT = "cdk8s-pypiserver"
"""What the program says it is: whoever else asks a public index is a client that has gone past the registry."""
PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")


def described(index: PublicIndex, name: str = "public", **changed: object) -> dict[str, object]:
    """How the configuration names an index."""
    return {
        "name": name,
        "url": index.url,
        "file_hosts": [index.file_host],
        "credentials": index.credentials is not None,
        "ca": index.url.startswith("https:"),
        "plain_http": index.url.startswith("http:"),
        **changed,
    }


class Upstream:
    """The program beside the server.

    `directory` gets its configuration, what belongs to the indexes, and `upstream.log`.
    """

    def __init__(
        self,
        directory: Path,
        cache: Path,
        indexes: Sequence[Mapping[str, object]],
        **configuration: Any,  # noqa: ANN401 - of JSON
    ) -> None:
        self.directory = directory
        self.cache = cache
        self.configuration = directory / "upstream.json"
        self.credentials = directory / "credentials"
        self.authorities = directory / "authorities"
        for each in (self.cache, self.credentials, self.authorities):
            each.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.content: dict[str, Any] = {
            "indexes": list(indexes),
            "private_names": [],
            "merge": [],
            "shadowing": "refused",
            "minimum_age_days": 0,
            "no_minimum_age": [],
            "allow": [],
            "deny": [],
            "page_seconds": 600,
            "cache_bytes": 2**30,
            "proxy": None,
        }
        self.configure(**configuration)

    def configure(self, **changed: Any) -> None:  # noqa: ANN401
        """Write the configuration; it counts from the next start on."""
        self.content |= changed
        self.configuration.write_text(json.dumps(self.content))

    def authenticate(self, index: str, credentials: tuple[str, str]) -> None:
        """Put the Secret of an index."""
        (self.credentials / index).mkdir(exist_ok=True)
        for name, value in zip(("username", "password"), credentials, strict=True):
            (self.credentials / index / name).write_text(value)

    def trust(self, index: str, authority: Authority) -> None:
        """Put the certificate of an authority."""
        (self.authorities / index).mkdir(exist_ok=True)
        (self.authorities / index / "ca.crt").write_bytes(authority.path.read_bytes())

    @property
    def log(self) -> str:
        """What it has written so far, over all its starts."""
        path = self.directory / "upstream.log"
        return path.read_text() if path.exists() else ""

    def lines(self, pattern: str) -> list[str]:
        """The lines of its log that have a pattern."""
        return [line for line in self.log.splitlines() if re.search(pattern, line)]

    @property
    def peak(self) -> int:
        """The most bytes of memory that it has had."""
        assert self.process
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    @property
    def files(self) -> list[Path]:
        """The files that are kept."""
        return [path for path in (self.cache / "files").rglob("*") if path.is_file()]

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        environment = {
            "PATH": os.environ["PATH"],
            # As container runtimes have it for a user whom the image does not know.
            "HOME": "/",
            "PYTHONPATH": str(RUNTIME),
            "PYTHONDONTWRITEBYTECODE": "1",
            "UPSTREAM_CONFIGURATION": str(self.configuration),
            "UPSTREAM_CACHE": str(self.cache),
            "UPSTREAM_PORT": str(self.port),
            "UPSTREAM_CREDENTIALS": str(self.credentials),
            "UPSTREAM_AUTHORITIES": str(self.authorities),
        }
        with (self.directory / "upstream.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server.upstream.main"],
                env=environment,
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
            assert process.poll() is None, f"the upstream ended with {process.returncode}:\n{self.log}"
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(f"{self.url}/health", timeout=PATIENCE).ok
            return False

        wait_for(answers, f"{self.url}/health")
        return self

    def kill(self) -> None:
        """Kill it, with SIGKILL."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def metrics(self) -> dict[str, float]:
        """The samples of its metrics."""
        lines = requests.get(f"{self.url}/metrics", timeout=PATIENCE).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


@dataclass
class Registry:
    """One pod."""

    gateway: Gateway
    server: Server
    upstream: Upstream
    indexes: tuple[PublicIndex, ...]

    @property
    def index(self) -> PublicIndex:
        """The first index that it leads to."""
        return self.indexes[0]

    def index_url(self, user: str = "", password: str = "") -> str:
        """What a client is told."""
        access = f"{user}:{password}@" if user else ""
        return self.gateway.url.replace("://", f"://{access}") + "/simple/"

    def upload(self, file: Path) -> requests.Response:
        """Publish a file as twine does."""
        body, content_type = multipart(file)
        return self.gateway.request("POST", "/", *PUBLISHER, data=body, headers={"Content-Type": content_type})

    def remove(self, name: str, version: str) -> requests.Response:
        """Remove a file."""
        form = {":action": "remove_pkg", "name": name, "version": version}
        return requests.post(f"{self.gateway.url}/", form, auth=PUBLISHER, timeout=PATIENCE)

    def get(self, path: str, **headers: str) -> requests.Response:
        """GET, as a reader."""
        return self.gateway.get(path, *READER, **headers)

    def page(self, project: str) -> dict[str, Any]:
        """The page of a project, which has to be there, in JSON."""
        answer = self.get(f"/simple/{project}/", Accept=JSON)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        content: dict[str, Any] = answer.json()
        return content

    def names(self, project: str) -> set[str]:
        """The names of a project's files."""
        return {file["filename"] for file in self.page(project)["files"]}

    def address(self, project: str, filename: str) -> str:
        """Where the page of a project says that a file is."""
        (url,) = (file["url"] for file in self.page(project)["files"] if file["filename"] == filename)
        return str(urljoin(f"/simple/{project}/", url))

    def fetch(self, project: str, filename: str, **headers: str) -> requests.Response:
        """GET a file where the page of a project says that it is."""
        return self.get(self.address(project, filename), **headers)


Start: TypeAlias = "Callable[..., Registry]"
"""Starts a pod as `registry` does, until the end of the test."""


@contextlib.contextmanager
def registry(
    directory: Path,
    *indexes: PublicIndex,
    authority: Authority | None = None,
    setup: Setup | None = None,
    environment: Mapping[str, str] | None = None,
    **configuration: Any,  # noqa: ANN401
) -> Iterator[Registry]:
    """Start a pod that leads to these indexes.

    `setup` is that of the gateway, `environment` the server's, and the rest of the upstream's configuration.
    """
    names = ["public", *(f"public{number}" for number in range(2, len(indexes) + 1))]
    told = [described(index, name) for index, name in zip(indexes, names, strict=False)]
    (directory / "upstream").mkdir(parents=True)
    cache = directory / "gateway/cache"
    upstream = Upstream(directory / "upstream", cache, configuration.pop("indexes", told), **configuration)
    for name, index in zip(names, indexes, strict=False):
        if authority:
            upstream.trust(name, authority)
        if index.credentials:
            upstream.authenticate(name, index.credentials)
    variables = {
        "UPSTREAM_CONFIGURATION": str(upstream.configuration),
        "UPSTREAM_PORT": str(upstream.port),
        "ALLOW_REMOVAL": "yes",
        **(environment or {}),
    }
    server = Server(directory / "server", variables)
    gateway = Gateway(
        directory / "gateway",
        server.port,
        verdicts_port=server.verdicts_port,
        packages=server.packages,
        pages=server.pages,
        setup=replace(setup or Setup(), upstream=True),
        upstream_port=upstream.port,
    )
    with upstream, server, gateway:
        yield Registry(gateway, server, upstream, indexes)


MOST_MEMORY = 512 * MEBIBYTE
"""What the program may take, whatever an index sends: its container has as much."""
