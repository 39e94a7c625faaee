"""What the command line cannot mean is refused before anything is written or sent."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from copying import READER, File, Index, copy, wheel
from programs import free_port

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "http://127.0.0.1:1/simple/"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--jobs", "0"], "argument --jobs: '0' has to be 1 or more"),
        (["--jobs", "many"], "argument --jobs: 'many' is no number"),
        (["--retries", "-1"], "argument --retries: "),
        (["--timeout", "0"], "argument --timeout: '0' has to be 1 or more"),
        (["--limit-rate", "10X"], "argument --limit-rate: '10X' is no number of bytes, such as 500K or 10M"),
        (["--limit-rate", "0"], "argument --limit-rate: '0' is no number of bytes"),
        (["--only", "../x"], "argument --only: '../x' is no pattern for the name of a project"),
        (["--only", ""], "argument --only: '' is no pattern"),
        (["--python", "3"], "argument --python: '3' is no version of Python, such as 3.12"),
        (["--platform", "linux"], "argument --platform: 'linux' is no platform tag"),
        (["--python", "3.12", "--platform", "win32"], "argument --python: '3.12' is for a lock file as SOURCE"),
        (["--index", INDEX], f"argument --index: '{INDEX}' is for a lock file as SOURCE"),
        (["--target-index", INDEX], f"argument --target-index: '{INDEX}' is for a registry as TARGET"),
    ],
)
def test_options(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = copy(tmp_path, INDEX, tmp_path / "carry", *arguments)
    assert done.status == 2
    assert says in done.said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere", "argument SOURCE: 'nowhere' is no URL, no directory, no file and no rclone:REMOTE:PATH"),
        ("ftp://127.0.0.1/simple/", "argument SOURCE: 'ftp://127.0.0.1/simple/' is no URL of a server"),
        ("http:///simple/", "argument SOURCE: 'http:///simple/' is no URL of a server"),
        ("http://127.0.0.1:port/", "argument SOURCE: 'http://127.0.0.1:port/' is no URL"),
        ("http://127.0.0.1:1/?token=secret", "argument SOURCE: 'http://127.0.0.1:1/' has a query"),
    ],
)
def test_sources(source: str, says: str, tmp_path: Path) -> None:
    done = copy(tmp_path, source, tmp_path / "carry")
    assert done.status == 2
    assert says in done.said
    assert "secret" not in done.said
    assert list(tmp_path.iterdir()) == []


def test_sources_that_are_away_or_no_index(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/simple/"
    away = copy(tmp_path, nowhere, tmp_path / "carry", "--retries", "0")
    assert away.status == 2
    assert f"argument SOURCE: '{nowhere}' has an index that cannot be read: " in away.said
    assert "Connection refused" in away.said
    with Index({}) as source:
        wrong = copy(tmp_path, f"{source.url}/other/", tmp_path / "carry")
        source.password = "Basic another"
        login = copy(tmp_path, f"{source.url}/simple/", tmp_path / "carry", environment=READER)
    assert (wrong.status, login.status) == (2, 2)
    assert f"argument SOURCE: '{source.url}/other/' has no page of all projects (404): name each by " in wrong.said
    assert "401 Unauthorized: the user or the password is wrong" in login.said
    assert list(tmp_path.iterdir()) == []


def test_targets(tmp_path: Path) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    (tmp_path / "file").write_text("")
    with Index({name: File(content)}) as source:
        address = f"{source.url}/simple/"
        for target, says in {
            "file": "argument TARGET: 'file' is no directory",
            "missing/carry": "argument TARGET: 'missing/carry' cannot be made: there is no such parent",
            address: f"argument TARGET: '{address}' is SOURCE",
        }.items():
            done = copy(tmp_path, address, target)
            assert (done.status, says in done.said) == (2, True), done.said
        assert source.ranges(name) == []
    same = copy(tmp_path, "made", "made/../made")
    assert (same.status, "is SOURCE" in same.said) == (2, True), same.said


def test_lock_files_need_python_and_platform(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    done = copy(tmp_path, "requirements.txt", tmp_path / "carry", "--python", "3.12")
    assert done.status == 2
    assert "argument --python: '3.12' needs --platform too" in done.said


def test_without_the_extra(tmp_path: Path) -> None:
    """Whoever has only what the constructs need is told what is missing, and how to get it."""
    code = "import sys; sys.modules['pypi_simple'] = None; from cdk8s_pypiserver.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "copy", INDEX, str(tmp_path / "carry")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "copy: error: there is no pypi_simple here: install the extra 'copy' of cdk8s-pypiserver\n"
