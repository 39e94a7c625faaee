from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest

from programs import htpasswd_line
from server.access.credentials import Credentials
from server.access.verdicts import Verdicts
from server.audit.trail import Trail

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("password", "status"), [("right", 204), ("wrong", 401)])
def test_who_asks_for_many_projects_at_once_has_the_password_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, status: int
) -> None:
    (tmp_path / "readers").write_text(htpasswd_line("uma", "right"))
    checks = []
    real = Credentials.check

    def check(self: Credentials, given: bytes, digest: str) -> bool:
        checks.append(given)
        return real(self, given, digest)

    monkeypatch.setattr(Credentials, "check", check)
    verdicts = Verdicts(Credentials(tmp_path), Trail(None))
    header = f"Basic {base64.b64encode(f'uma:{password}'.encode()).decode()}"

    async def ask() -> set[int]:
        questions = (verdicts.verdict("reader", header, "192.0.2.1", by_project=True) for _ in range(50))
        return {verdict.status.value for verdict in await asyncio.gather(*questions)}

    assert asyncio.run(ask()) == {status}
    assert checks == [password.encode()]
