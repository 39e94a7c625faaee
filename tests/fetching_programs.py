"""Start what a registry on an object store has beside its server: rclone, the program that fetches, and a store."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from cdk8s_pypiserver import ObjectStoreSpec, PyPIServerSpec, RemoteSpec
from certificates import mount
from gateway_programs import Gateway, Setup
from manifests import pod_of, synthesize
from programs import PATIENCE, RUNTIME, Server, free_port, wait_for
from refusing_store import RefusingStore
from remote_programs import KEYS, s3, s3_options, told
from server.store.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from remote_programs import RemoteStore

BUCKET, FOLDER = "bucket", "pypiserver"
NEW_KEYS = {"access_key_id": "another", "secret_access_key": "secret-of-another"}
"""What the Secret has after it was changed."""


class Way:
    """A way to a store, which can be held up or cut in the middle of what comes back."""

    def __init__(self, port: int) -> None:
        self.hold_at: int | None = None
        """After so many bytes of a connection nothing more comes until `go` is set."""
        self.cut_at: int | None = None
        """After so many bytes of a connection it is cut, once."""
        self.go = threading.Event()
        self.received = 0
        """How many bytes have come back over all connections."""
        self._to = port
        self._listener = socket.create_server(("localhost", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    store = socket.create_connection(("localhost", self._to), PATIENCE)
                except OSError:
                    client.close()
                    continue
                threading.Thread(target=self._carry, args=(client, store, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(store, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        count = 0
        with source, target, contextlib.suppress(OSError):
            source.settimeout(None)
            while data := source.recv(16384):
                count += len(data) if back else 0
                self.received += len(data) if back else 0
                if self.hold_at is not None and count > self.hold_at:
                    self.go.wait(PATIENCE)
                if self.cut_at is not None and count > self.cut_at:
                    self.cut_at = None
                    break
                target.sendall(data)
            for each in (source, target):
                each.shutdown(socket.SHUT_RDWR)


class Program:
    """A process of its own with a log, which answers at a port when it has started."""

    def __init__(self, directory: Path, name: str, *, port: int, path: str = "") -> None:
        self.directory = directory
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._asked = f"{self.url}/{path}"
        directory.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Its environment."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """What it has written so far, over all its starts."""
        path = self.directory / f"{self.name}.log"
        return path.read_text() if path.exists() else ""

    @property
    def peak(self) -> int:
        """The most bytes of memory that it has had."""
        assert self.process
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def start(self) -> Self:
        """Start it and wait until it answers."""
        with (self.directory / f"{self.name}.log").open("ab") as log:
            process = self.process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def answers() -> bool:
            assert process.poll() is None, f"{self.name} ended with {process.returncode}:\n{self.log}"
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(self._asked, timeout=PATIENCE).ok
            return False

        wait_for(answers, self._asked)
        return self

    def kill(self) -> None:
        """Kill it, with SIGKILL."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def spec_of(store: RemoteStore, way: Way | RefusingStore | None = None) -> ObjectStoreSpec:
    """A registry's store in a bucket of this one."""
    (store.directory / BUCKET).mkdir(exist_ok=True)
    options = s3_options(store)
    if way:
        options["endpoint"] = f"http://localhost:{way.port}"
    return ObjectStoreSpec(remote=RemoteSpec(type="s3", path=BUCKET, options=options, plain_http=True))


class Rclone(Program):
    """The container `rclone` of the pod, with its arguments and its environment, at another port.

    Its configuration is written unless somebody else does that.
    """

    def __init__(self, directory: Path, spec: ObjectStoreSpec, *, configured: bool = True) -> None:
        super().__init__(directory, "rclone", port=free_port())
        self.file = directory / "rclone.conf"
        if configured:
            secret = directory / "secret"
            secret.mkdir()
            mount(secret, {name: value.encode() for name, value in KEYS.items()})
            Keys(secret, self.file, spec.remote.type, self.url).write()
        (self._container,) = (
            each
            for each in pod_of(synthesize(PyPIServerSpec(storage=spec)))["initContainers"]
            if each["name"] == "rclone"
        )

    def command(self) -> list[str]:
        return ["rclone", *(each.replace("5572", str(self.port)) for each in self._container["args"])]

    def environment(self) -> dict[str, str]:
        return {**told(self._container["env"], {}), "RCLONE_CONFIG": str(self.file)}


class Fetching(Program):
    """The container `store` of the pod: the program that fetches packages into the cache at `packages`."""

    def __init__(  # noqa: PLR0913 - there is as much around it
        self,
        directory: Path,
        packages: Path,
        *,
        rclone: str,
        path: str,
        server_port: int,
        cache_bytes: int = 2**30,
        port: int | None = None,
        told: Mapping[str, str] = {},
    ) -> None:
        super().__init__(directory, "fetching", port=port or free_port(), path="health")
        self.packages = packages
        self.cache_bytes = cache_bytes
        self._told = {"STORE_URL": rclone, "STORE_PATH": path, "SERVER_PORT": str(server_port), **told}

    def command(self) -> list[str]:
        return [sys.executable, "-m", "server.store.main"]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            # As container runtimes have it for a user whom the image does not know.
            "HOME": "/",
            "PYTHONPATH": str(RUNTIME),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PACKAGES_DIRECTORY": str(self.packages),
            "CACHE_BYTES": str(self.cache_bytes),
            "FETCHING_PORT": str(self.port),
            **self._told,
        }

    @property
    def kept(self) -> set[str]:
        """The names of the packages in the cache."""
        return {path.name for path in self.packages.iterdir() if not path.name.startswith(".")}

    @property
    def unfinished(self) -> list[Path]:
        """The files that are not whole yet."""
        return list((self.packages / ".pypiserver/fetching").iterdir())

    def metrics(self) -> dict[str, float]:
        """The samples of its metrics."""
        lines = requests.get(f"{self.url}/metrics", timeout=PATIENCE).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name.removeprefix("pypiserver_fetching_"): float(value) for name, _, value in pairs}


def settings_of(spec: ObjectStoreSpec, rclone: Rclone) -> dict[str, str]:
    """What the server is told of its store."""
    return {
        **spec.settings(),
        "STORE_URL": rclone.url,
        "STORE_PATH": spec.remote.fs("store", FOLDER),
        "REGISTRY_NAME": FOLDER,
        "REGISTRY_NAMESPACE": "team",
        "STORE_POLL_SECONDS": "0.2",
        "ALLOW_REMOVAL": "yes",
    }


class Pod:
    """A registry whose packages are in a store: gateway, server, the program that fetches, and rclone.

    The store takes two pairs of keys, and `door`, if it is to be before it, refuses what it is told to.
    """

    def __init__(
        self, directory: Path, setup: Setup | None = None, cache_bytes: int = 2**30, *, with_door: bool = False
    ) -> None:
        self._stack = contextlib.ExitStack()
        self.store = s3(directory / "s3", "--auth-key", ",".join(NEW_KEYS.values()))
        self.door = RefusingStore(self.store.port)
        self.secret = directory / "secret"
        self.secret.mkdir()
        self.give(KEYS)
        spec = spec_of(self.store, self.door if with_door else None)
        self.place = spec.remote.fs("store", FOLDER)
        self.objects = self.store.directory / BUCKET / FOLDER
        self.rclone = Rclone(directory / "rclone", spec, configured=False)
        port = free_port()
        self.server = Server(directory / "server", {**settings_of(spec, self.rclone), "FETCHING_PORT": str(port)})
        self.fetching = Fetching(
            directory / "fetching",
            self.server.packages,
            rclone=self.rclone.url,
            path=self.place,
            server_port=self.server.port,
            cache_bytes=cache_bytes,
            port=port,
            told={
                "SECRET_DIRECTORY": str(self.secret),
                "RCLONE_FILE": str(self.rclone.file),
                "STORE_TYPE": spec.remote.type,
            },
        )
        self.gateway = Gateway(
            directory / "gateway",
            self.server.port,
            verdicts_port=self.server.verdicts_port,
            packages=self.server.packages,
            pages=self.server.pages,
            fetching_port=port,
            setup=replace(setup or Setup(), store=True),
        )

    def give(self, keys: Mapping[str, str]) -> None:
        """Have the Secret of the store show these keys."""
        mount(self.secret, {name: value.encode() for name, value in keys.items()})

    def __enter__(self) -> Self:
        with self._stack:
            for program in (self.store, self.door, self.rclone, self.fetching, self.server, self.gateway):
                self._stack.enter_context(program)
            # None of them outlives one that does not start.
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


__all__ = ["BUCKET", "FOLDER", "KEYS", "Fetching", "Pod", "Program", "Rclone", "Way", "s3", "settings_of", "spec_of"]
