"""Run the program of retention as a process, against a registry whose files are as old as a test wants."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests

from cdk8s_pypiserver import RetentionRuleSpec, RetentionSpec
from gateway_programs import Gateway, Registry, Setup, make_sdist, make_wheel
from programs import PATIENCE, RUNTIME, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Self

DAY = 86400
REMOVAL = {"ALLOW_REMOVAL": "yes"}
PUBLISHER = ("publisher", "publisher-password")
READER = ("reader", "reader-password")
EVERYTHING = {"most_versions": 1000, "most_percent": 100}
"""Bounds that are none in a test."""


@dataclass
class Done:
    """How a run ended."""

    status: int
    said: str
    termination: str

    @property
    def going(self) -> list[str]:
        """The versions that go, or would."""
        return self._under("Would go", "Will go", "Would be yanked", "Will be yanked")

    @property
    def spared(self) -> list[str]:
        """The versions that a rule would take."""
        return self._under("Stay, though")

    @property
    def removed(self) -> list[str]:
        """The versions that went."""
        words = ("removed: ", "yanked: ")
        return sorted(line.partition(": ")[2].partition(" (")[0] for line in self.lines if line.startswith(words))

    @property
    def lines(self) -> list[str]:
        return self.said.splitlines()

    def _under(self, *heads: str) -> list[str]:
        found, inside = [], False
        for line in self.lines:
            inside = line.startswith(heads) or (inside and line.startswith("  "))
            if inside and line.startswith("  "):
                found.append(line.strip().partition(" (")[0])
        return sorted(found)


class Runner:
    """The Job's pod: its files and its environment, and the program as a process."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        parts = urlsplit(url)
        self.port = parts.port or 0
        self.login: tuple[str, str] | None = PUBLISHER
        self.environment = {
            "PATH": os.environ["PATH"],
            # As container runtimes have it for a user whom the image does not know.
            "HOME": "/",
            "PYTHONPATH": str(RUNTIME),
            "PYTHONDONTWRITEBYTECODE": "1",
            "REGISTRY_HOST": parts.hostname or "",
            "RULES_FILE": str(home / "rules.json"),
            "LOCKS_DIRECTORY": str(home / "locks"),
            "CREDENTIALS_DIRECTORY": str(home / "credentials"),
            "CREDENTIALS_SECRET": "team-publisher",
            "CERTIFICATES": str(home / "ca.crt"),
            "TERMINATION_LOG": str(home / "termination-log"),
        }

    def launch(self, *rules: RetentionRuleSpec, tls: bool = False, **fields: Any) -> subprocess.Popen[str]:  # noqa: ANN401
        """Start a run by these rules; `fields` are those of the spec."""
        given = {"dry_run": False, "patience_seconds": 1, **EVERYTHING, **fields}
        spec = RetentionSpec(rules=list(rules), **given)
        for folder in ("locks", "credentials"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        configuration = spec.configuration(port=self.port, tls=tls, tls_name=spec.tls_name)
        (self.home / "rules.json").write_text(json.dumps(configuration))
        (self.home / "termination-log").write_text("")
        for name, value in zip(("username", "password"), self.login or (), strict=False):
            (self.home / "credentials" / name).write_text(value)
        return subprocess.Popen(
            [sys.executable, "-m", "retention.main"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> Done:
        """Wait for a run."""
        said, _ = process.communicate(timeout=3 * PATIENCE)
        return Done(process.returncode, said, (self.home / "termination-log").read_text())

    def run(self, *rules: RetentionRuleSpec, tls: bool = False, **fields: Any) -> Done:  # noqa: ANN401
        """Make a run by these rules."""
        return self.ended(self.launch(*rules, tls=tls, **fields))


def put(packages: Path, name: str, version: str, days: float = 100, *, sdist: bool = False) -> Path:
    """Put a package onto the volume that was uploaded so many days ago."""
    packages.mkdir(parents=True, exist_ok=True)
    path = (make_sdist if sdist else make_wheel)(packages, name, version)
    age(path, days)
    return path


def age(path: Path, days: float) -> None:
    """Make a file so many days old."""
    then = time.time() - days * DAY
    os.utime(path, (then, then))


@contextlib.contextmanager
def registry_of(
    directory: Path,
    files: Mapping[str, float],
    setup: Setup | None = None,
    *,
    removal: bool = True,
    expected: Mapping[str, str] | None = None,
) -> Iterator[tuple[Registry, Runner]]:
    """Start a registry of wheels, `name-version` with the days since their upload, and what runs against it."""
    packages = directory / "server/packages"
    for each, days in files.items():
        name, _, version = each.partition("-")
        put(packages, name, version, days)
    allowed = REMOVAL if removal else {}
    setup = setup or Setup(environment=allowed)
    with (
        Server(directory / "server", {**allowed, **(expected or {})}) as server,
        Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=setup,
        ) as gateway,
    ):
        yield Registry(gateway, server), Runner(directory / "job", gateway.url)


def there(registry: Registry) -> list[str]:
    """The packages on the volume as `name-version`."""
    names = (path.name for path in registry.server.packages.iterdir() if path.is_file())
    return sorted(name.removesuffix("-py3-none-any.whl").removesuffix(".tar.gz") for name in names)


class Asked(NamedTuple):
    """A request on its way to a registry."""

    method: str
    path: str
    form: dict[str, str]

    def is_removal(self, version: str = "") -> bool:
        """Whether it asks for the removal of this version, or of any."""
        return self.form.get(":action") == "remove_pkg" and version in ("", self.form.get("version"))


@dataclass
class Between:
    """Passes on what is asked of a registry; `hook` is called before, and may answer with a status instead."""

    url: str
    hook: Callable[[Asked], int | None] = lambda _: None
    date: str | None = None
    """What every answer has as its Date."""
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> Self:
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                between.pass_on(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def removals(self) -> list[str]:
        """The versions whose removal was asked for."""
        return [each.form["version"] for each in self.asked if each.is_removal()]

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        asked = Asked(handler.command, handler.path, form)
        status, content = self.hook(asked), b""
        self.asked.append(asked)
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        if status is None:
            headers = {
                name: handler.headers[name]
                for name in ("Authorization", "Accept", "Content-Type")
                if name in handler.headers
            }
            answer = requests.request(
                handler.command,
                self.url + handler.path,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=PATIENCE,
            )
            status, content = answer.status_code, answer.content
            reason = answer.reason
        else:
            reason = "of the test"
        with contextlib.suppress(OSError):
            handler.send_response_only(status, reason)
            if self.date != "":
                handler.send_header("Date", self.date or date)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
