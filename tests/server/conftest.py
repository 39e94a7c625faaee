from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import webtest

from programs import Server
from server.index.findings import Findings
from server.index.watch import Watch
from server.pod import application
from server.pod.settings import Settings
from server.volume.health import Volume
from server.volume.notice import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., Server]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("packages", "auth"):
        (tmp_path / name).mkdir()
    return Settings(
        packages_directory=tmp_path / "packages",
        pages_directory=tmp_path / "pages",
        credentials_directory=tmp_path / "auth",
    )


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without threads: what they would notice, the test says itself."""
    monkeypatch.setattr(Volume, "start", lambda _: None)
    monkeypatch.setattr(Watch, "start", lambda _: None)
    monkeypatch.setattr(Findings, "start", lambda _: None)
    monkeypatch.setattr(Notice, "start", lambda _: None)
    # Without a handler of its own, or the application would add one to the process's logger.
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


@pytest.fixture
def app(settings: Settings, quiet: None) -> object:  # noqa: ARG001 - it is there for what it does
    return webtest.TestApp(application.create(settings))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers, by name and with environment variables, and kills them at the end of the test."""
    servers: list[Server] = []

    def start(name: str = "server", **environment: str) -> Server:
        servers.append(Server(tmp_path / name, environment))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()
