"""What a pod that copies leaves behind for whoever looks at it when its log is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cdk8s_pypiserver.moving import __main__ as program
from gateway_programs import make_wheel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    monkeypatch.setattr(program, "TERMINATION_LOG", path)
    return path


def source(directory: Path) -> None:
    (directory / "source").mkdir()
    make_wheel(directory / "source", "acme", "1.0")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Path) -> int:
    monkeypatch.setattr("sys.argv", ["moving", "copy", *map(str, arguments)])
    return program.main()


def test_a_run_that_did_all_leaves_its_table(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source(tmp_path)
    assert run(monkeypatch, tmp_path / "source", tmp_path / "target") == 0
    said = capsys.readouterr().out
    assert re.search(r"^copied +1 ", said, re.MULTILINE)
    assert log.read_text() == said


def test_one_that_did_not_leaves_that_to_its_log(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "nowhere", tmp_path / "target") != 0
    assert "nowhere" in capsys.readouterr().err
    assert log.read_text() == ""


def test_where_there_is_no_such_log_the_table_is_printed(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log.unlink()
    source(tmp_path)
    assert run(monkeypatch, tmp_path / "source", tmp_path / "target") == 0
    assert re.search(r"^copied +1 ", capsys.readouterr().out, re.MULTILINE)
    assert not log.exists()
