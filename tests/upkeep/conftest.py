from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_programs import make_sdist, make_wheel
from programs import Server, upload
from upkeep_programs import Upkeep, remove, yank

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A registry with three projects, of which somebody owns one, a signature and a withdrawn version."""
    built = tmp_path / "built"
    built.mkdir()
    with Server(tmp_path / "registry", {"ALLOW_REMOVAL": "yes"}) as server:
        for number in range(8):
            path = make_wheel(built, "acme", f"1.{number}", bytes([number]) * 30_000)
            upload(server.url, path.name, path.read_bytes()).raise_for_status()
        for path in (make_wheel(built, "other", "2.0"), make_sdist(built, "third", "3.0")):
            upload(server.url, path.name, path.read_bytes()).raise_for_status()
        (server.packages / "third-3.0.tar.gz.asc").write_text("a signature")
        yank(server, "acme", "1.3", "broken")
        (server.packages / ".pypiserver/owners").mkdir()
        (server.packages / ".pypiserver/owners/acme").write_text('{"owner": "alice"}\n')
        gone = make_wheel(built, "gone", "1.0")
        upload(server.url, gone.name, gone.read_bytes()).raise_for_status()
        remove(server, "gone", "1.0")
        yield server


@pytest.fixture
def upkeep(tmp_path: Path, server: Server) -> Upkeep:
    """Runs about that registry, with a directory as the store."""
    (tmp_path / "store").mkdir()
    return Upkeep(tmp_path, server.packages, str(tmp_path / "store"))
