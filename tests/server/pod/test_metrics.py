from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from server.index.listing import Listing
from server.pod.metrics import Metrics
from server.pod.notes import VolumeNotes
from server.pod.upkeep import Upkeep
from server.volume.problems import Problems

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_volume_that_does_not_answer_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an old figure nor one of a mount that is dead: an alert would go by it."""
    problems: list[str] = []
    upkeep = Upkeep(VolumeNotes(tmp_path), {})
    metrics = Metrics(tmp_path, Listing(), Problems(), lambda: problems[0] if problems else None, upkeep)
    metrics.look()
    assert "pypiserver_volume_free_bytes" in metrics.page()
    problems.append("The package volume has not answered for 4 s")
    assert "pypiserver_volume_answers 0" in metrics.page()
    assert "pypiserver_volume_free_bytes" not in metrics.page()
    problems.clear()

    def fail(_: Path) -> os.statvfs_result:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "statvfs", fail)
    metrics.look()
    assert "pypiserver_volume_answers 1" in metrics.page()
    assert "pypiserver_volume_free_bytes" not in metrics.page()
