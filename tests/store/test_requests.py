"""What asking costs rclone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from programs import PATIENCE
from server.store.remote import Remote
from store_programs import BUCKET

if TYPE_CHECKING:
    from pathlib import Path

    from store_programs import Place

ASKED = 20


def test_rclone_keeps_no_statistics_of_each_request(place: Place, tmp_path: Path) -> None:
    """It forgets the oldest of 1000, which may be those of a transfer that goes on."""
    rclone = place.rclone()
    remote = Remote(rclone.url, f"store:{BUCKET}/pypi", tmp_path)
    for _ in range(ASKED):
        remote.names("")
        remote.find("nothing")
        remote.remove("nothing")
    answer = requests.post(f"{rclone.url}/core/group-list", json={}, timeout=PATIENCE)
    assert len(answer.json()["groups"] or ()) <= 1
