"""What the trail writes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from server.audit.trail import STRANGERS_A_SECOND, Trail

if TYPE_CHECKING:
    import pytest


def test_a_flood_of_refused_logins_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list[str]()
    written, now = Trail(lines.append), [7.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for number in range(2 * STRANGERS_A_SECOND):
        written.login_refused(401, user=None, address=f"192.0.2.{number}", asked_for="reader")
    assert len(lines) == STRANGERS_A_SECOND
    now[0] += 1
    for _ in range(2):
        written.login_refused(403, user="alice", address="192.0.2.7", asked_for="publisher")
    first, second = map(json.loads, lines[STRANGERS_A_SECOND:])
    assert first["left_out"] == STRANGERS_A_SECOND
    assert "left_out" not in second
    assert (second["user"], second["status"]) == ("alice", 403)
