"""An object store as the pod sees it: rclone's remote control, and the way from there to the store, which can fail."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING

from programs import PATIENCE, Server, free_port, installed, wait_for
from refusing_store import RefusingStore
from remote_programs import KEYS, RemoteStore
from server.store.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path
    from typing import Self

BUCKET = "packages"
BEHAVIOUR = {
    "RCLONE_CONFIG": "/dev/null",
    "RCLONE_RETRIES": "1",
    "RCLONE_LOW_LEVEL_RETRIES": "1",
    "RCLONE_CONTIMEOUT": "5s",
    "RCLONE_TIMEOUT": "10s",
    "RCLONE_USE_SERVER_MODTIME": "true",
    "RCLONE_S3_NO_CHECK_BUCKET": "true",
}
"""What rclone is told in the pod."""


class Way:
    """A TCP way to a port, which is open, or does to every connection what it is told to.

    The modes: `open`; `refused`; `hung`, which takes everything and answers nothing; `slow`, so many bytes a second
    each way; `cut`, which closes each connection after so many bytes towards the store.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._mode, self._bytes = "open", 0
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.be("open")

    def be(self, mode: str, number: int = 0) -> None:
        """Change what happens, to the connections that there are too."""
        self._mode, self._bytes = mode, number
        if mode == "refused":
            if self._listener:
                # Wakes the thread that accepts.
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
            self._listener = None
        elif self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        # Last, so that no new one comes in between.
        self._close()

    def let_go(self) -> None:
        """Be open from now on; the connections that there are stay."""
        self._mode = "open"

    def lead_to(self, target: int) -> None:
        """Go to another port from now on."""
        self._target = target
        self._close()

    def close(self) -> None:
        self.be("refused")

    def _close(self) -> None:
        for each in list(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._connections.add(near)
        try:
            if self._mode == "hung":
                while near.recv(65536):
                    pass
                return
            if self._mode == "refused":
                return
            with socket.create_connection(("127.0.0.1", self._target)) as far:
                self._connections.add(far)
                back = threading.Thread(target=self._pump, args=(far, near, False), daemon=True)
                back.start()
                self._pump(near, far, True)
                back.join()
                self._connections.discard(far)
        except OSError:
            pass
        finally:
            self._connections.discard(near)
            near.close()

    def _pump(self, source: socket.socket, sink: socket.socket, forth: bool) -> None:
        moved = 0
        with contextlib.suppress(OSError):
            while block := source.recv(16384):
                if self._mode == "hung":
                    continue
                if self._mode == "slow":
                    time.sleep(len(block) / self._bytes)
                moved += len(block)
                if self._mode == "cut" and forth and moved > self._bytes:
                    break
                sink.sendall(block)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Versity(RemoteStore):
    """Versity's S3 gateway over a directory: unlike rclone's it knows conditional creation."""

    def __init__(self, program: str, directory: Path) -> None:
        super().__init__("s3", directory)
        keys = {"--access": KEYS["access_key_id"], "--secret": KEYS["secret_access_key"]}
        options = [part for option in keys.items() for part in option]
        self._command = [program, *options, "--port", f"127.0.0.1:{self.port}", "posix"]


class Rclone:
    """The pod's rclone, with a remote `store`; `options` are those of that remote."""

    def __init__(self, directory: Path, options: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "rclone.log"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **BEHAVIOUR, **named(options)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        command = ["rclone", "rcd", "--rc-serve", "--rc-no-auth", f"--rc-addr=127.0.0.1:{self.port}"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), PATIENCE):
                return True
            return False

        wait_for(answers, "rclone")
        return self

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def named(options: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell rclone of a remote `store`."""
    return {f"RCLONE_CONFIG_STORE_{name.upper()}": value for name, value in options.items()}


def s3_remote(port: int, **options: str) -> dict[str, str]:
    """The options of the S3 store that listens on a port of loopback."""
    return {
        "type": "s3",
        "provider": "Other",
        "endpoint": f"http://127.0.0.1:{port}",
        "region": "us-east-1",
        "no_check_bucket": "true",
        **KEYS,
        **options,
    }


def stored_server(directory: Path, rclone: Rclone, path: str = f"{BUCKET}/pypi", **environment: str) -> Server:
    """A server whose packages are in a store; it looks for what others do often."""
    usual = {
        "PUBLISH_METHOD": "store",
        "STORE_URL": rclone.url,
        "STORE_PATH": f"store:{path}",
        "REGISTRY_NAME": "pypiserver",
        "REGISTRY_NAMESPACE": "team",
        "STORE_POLL_SECONDS": "0.2",
        "RESCAN_SECONDS": "1",
        "VOLUME_WAIT_SECONDS": "3",
    }
    return Server(directory, usual | environment)


class Place:
    """A bucket, the way to it, and the servers of pods, each with an rclone of its own.

    The store is Versity's gateway if the variable VERSITYGW names it, else rclone's.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.bucket = directory / "s3" / BUCKET
        self.bucket.mkdir(parents=True)
        gateway = installed("versitygw")
        # With the listings that rclone keeps: without, it can hang when several write at once (`rclone serve s3`).
        usual = RemoteStore("s3", directory / "s3", "--auth-key", ",".join(KEYS.values()))
        store = stack.enter_context(Versity(gateway, directory / "s3") if gateway else usual)
        self.folder = self.bucket / "pypi"
        """Where the packages are, on the store's disk."""
        self._port = store.port
        self.way = Way(store.port)
        stack.callback(self.way.close)

    @cached_property
    def hand(self) -> Remote:
        """Somebody who puts objects there and takes them away, past the registry and past `way`."""
        directory = self._directory / "hand"
        directory.mkdir()
        rclone = self._stack.enter_context(Rclone(directory, s3_remote(self._port)))
        return Remote(rclone.url, f"store:{BUCKET}/pypi", directory)

    @contextlib.contextmanager
    def refusing(self) -> Iterator[RefusingStore]:
        """What stands before the store, and can refuse what it is asked for; `way` leads to it."""
        with RefusingStore(self._port) as store:
            self.way.lead_to(store.port)
            yield store

    @cached_property
    def environment(self) -> dict[str, str]:
        """What another rclone has to know for the remote `store`, past `way`."""
        return named(s3_remote(self._port))

    def rclone(self, name: str = "server", **options: str) -> Rclone:
        directory = self._directory / name
        directory.mkdir(exist_ok=True)
        return self._stack.enter_context(Rclone(directory, s3_remote(self.way.port, **options)))

    def server(self, name: str = "server", rclone: Rclone | None = None, **environment: str) -> Server:
        """A server that does not run yet."""
        server = stored_server(self._directory / name, rclone or self.rclone(name), **environment)
        self._stack.callback(server.kill)
        return server

    def start(self, name: str = "server", **environment: str) -> Server:
        return self.server(name, None, **environment).start()
