"""What the server tells of backups and drills: what their Jobs wrote down, and by when they are due."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, Server, wait_for
from server.http.errors import RefusedError
from server.pod.notes import DIRECTORY, EXPECTED, VolumeNotes
from server.pod.samples import text_of
from server.pod.upkeep import Upkeep

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400.0


def told(upkeep: Upkeep) -> dict[str, float]:
    upkeep.look()
    return {f"{gauge.name}{gauge.labels}": gauge.value for gauge in upkeep.gauges()}


def test_nothing_is_told_where_nothing_is_expected(tmp_path: Path) -> None:
    upkeep = Upkeep(VolumeNotes(tmp_path), {"backup": 0, "drill": 0})
    upkeep.prepare()
    assert told(upkeep) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_never_happened_is_due_from_the_first_start_on(tmp_path: Path) -> None:
    Upkeep(VolumeNotes(tmp_path), {"backup": DAY}).prepare()
    os.utime(tmp_path / DIRECTORY / EXPECTED, (1000, 1000))
    later = Upkeep(VolumeNotes(tmp_path), {"backup": DAY, "drill": 7 * DAY})
    later.prepare()
    assert told(later) == {
        "pypiserver_backup_due_timestamp_seconds": 1000 + DAY,
        "pypiserver_drill_due_timestamp_seconds": 1000 + 7 * DAY,
    }


def test_what_the_job_wrote_is_told(tmp_path: Path) -> None:
    upkeep = Upkeep(VolumeNotes(tmp_path), {"backup": DAY})
    upkeep.prepare()
    path = tmp_path / DIRECTORY / "backup.json"
    done = {"succeeded": 5000.0, "ran": 5000.0, "seconds": 7.5, "packages": 3, "files": 4, "bytes": 99, "reason": ""}
    path.write_text(json.dumps(done))
    assert told(upkeep) == {
        "pypiserver_backup_last_success_timestamp_seconds": 5000,
        "pypiserver_backup_last_run_timestamp_seconds": 5000,
        "pypiserver_backup_duration_seconds": 7.5,
        "pypiserver_backup_packages": 3,
        "pypiserver_backup_files": 4,
        "pypiserver_backup_bytes": 99,
        "pypiserver_backup_due_timestamp_seconds": 5000 + DAY,
        'pypiserver_backup_failed{reason=""}': 0,
    }
    path.write_text(json.dumps({**done, "ran": 9000.0, "reason": "emptier"}))
    found = told(upkeep)
    assert found['pypiserver_backup_failed{reason="emptier"}'] == 1
    assert found["pypiserver_backup_due_timestamp_seconds"] == 5000 + DAY


def test_what_nobody_can_read_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    upkeep = Upkeep(VolumeNotes(tmp_path), {"backup": DAY})
    upkeep.prepare()
    path = tmp_path / DIRECTORY / "backup.json"
    path.write_text(json.dumps({"succeeded": 5000.0, "reason": ""}))
    before = told(upkeep)
    for text in ("{", "[]", '{"succeeded": "x"', "x" * 100_000):
        path.write_text(text)
        assert told(upkeep) == before
    assert "what became of the last backup is not known" in caplog.text
    path.write_text(json.dumps({"succeeded": "soon", "ran": float("inf"), "reason": 'a"b\n'}))
    found = told(upkeep)
    assert found['pypiserver_backup_failed{reason="ab"}'] == 1
    assert "pypiserver_backup_last_run_timestamp_seconds" not in found


def test_the_page_of_metrics_has_it(tmp_path: Path) -> None:
    with Server(tmp_path, {"BACKUP_MAX_AGE_SECONDS": "93600"}) as server:
        path = server.packages / DIRECTORY / "backup.json"
        path.write_text(json.dumps({"succeeded": 5000.0, "reason": ""}))

        def page() -> str:
            return requests.get(f"{server.url}/-/metrics", timeout=PATIENCE).text

        wait_for(lambda: "pypiserver_backup_last_success_timestamp_seconds 5000\n" in page(), "the figure")
        assert 'pypiserver_backup_failed{reason=""} 0\n' in page()
        assert "pypiserver_drill" not in page()


def test_what_a_job_of_retention_reports_is_told_and_kept(tmp_path: Path) -> None:
    upkeep = Upkeep(VolumeNotes(tmp_path), {"retention": DAY})
    upkeep.prepare()
    # Nobody waits for what has never told of itself: a dry run need not.
    assert told(upkeep) == {}
    report = {"versions": 3, "files": 4, "bytes": 99, "dry_run": 0.0, "seconds": 2.5, "reason": "", "text": "Removed 3"}
    before = time.time()
    upkeep.report("retention", json.dumps({**report, "succeeded": 5000.0, "other": 1}))
    later = Upkeep(VolumeNotes(tmp_path), {"retention": DAY})
    for each in (upkeep, later):
        found = told(each)
        assert found["pypiserver_retention_versions"] == 3
        assert found["pypiserver_retention_dry_run"] == 0
        assert found['pypiserver_retention_failed{reason=""}'] == 0
        # By the server's clock.
        assert found["pypiserver_retention_last_success_timestamp_seconds"] >= before
        assert found["pypiserver_retention_due_timestamp_seconds"] >= before + DAY
    succeeded = told(later)["pypiserver_retention_last_success_timestamp_seconds"]
    later.report("retention", json.dumps({"reason": "bounds", "text": "it would take 500"}))
    found = told(later)
    assert found['pypiserver_retention_failed{reason="bounds"}'] == 1
    assert found["pypiserver_retention_last_success_timestamp_seconds"] == succeeded
    assert found["pypiserver_retention_versions"] == 3


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1e999", "NaN", '"7"'])
def test_a_number_that_no_figure_can_have_is_left_out(number: str, tmp_path: Path) -> None:
    """Every publisher can report one: it must not take all other figures along."""
    upkeep = Upkeep(VolumeNotes(tmp_path), {"backup": DAY, "retention": DAY})
    upkeep.prepare()
    upkeep.report("retention", f'{{"reason": "", "versions": {number}, "files": 4}}')
    for kind in ("backup", "retention"):
        (tmp_path / DIRECTORY / f"{kind}.json").write_text(
            f'{{"succeeded": {number}, "versions": {number}, "files": 4}}'
        )
        found = told(upkeep)
        assert found[f"pypiserver_{kind}_files"] == 4
        assert f"pypiserver_{kind}_versions" not in found
        assert f"pypiserver_{kind}_due_timestamp_seconds" in found
    assert text_of(upkeep.gauges())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"reason": 1}', '{"reason": "Two words"}', "[" * 3000])
def test_a_report_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    upkeep = Upkeep(VolumeNotes(tmp_path), {"retention": DAY})
    upkeep.prepare()
    with pytest.raises(RefusedError):
        upkeep.report("retention", text)
    with pytest.raises(RefusedError, match="no reports of 'backup'"):
        upkeep.report("backup", '{"reason": ""}')
    assert told(upkeep) == {}
