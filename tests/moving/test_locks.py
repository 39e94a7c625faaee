"""Lock files, as uv writes them of projects whose packages are on an index of the test."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from copying import File, Index, copy, counted
from gateway_programs import make_sdist, make_wheel, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = """\
[project]
name = "site"
version = "1"
requires-python = ">=3.10"
dependencies = ["lib", "winonly; sys_platform == 'win32'", "sourced"]
[project.optional-dependencies]
fast = ["native"]
[dependency-groups]
dev = ["tool"]
"""
LIB = "lib-1.0-py3-none-any.whl"
TOOL = "tool-1.0-py3-none-any.whl"
WINDOWS = "winonly-1.0-py3-none-any.whl"
SOURCED = "sourced-1.0.tar.gz"
LINUX = "native-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"
NEWER = "native-1.0-cp312-cp312-manylinux_2_34_x86_64.whl"
MACOS = "native-1.0-cp312-cp312-macosx_11_0_arm64.whl"
OF_WINDOWS = "native-1.0-cp313-cp313-win_amd64.whl"
EVERYTHING = {LIB, TOOL, WINDOWS, SOURCED, LINUX, NEWER, MACOS, OF_WINDOWS, "lib-1.0.tar.gz"}
ON_LINUX = ("--python", "3.12", "--platform", "manylinux_2_28_x86_64")
KINDS = ("uv.lock", "pylock.toml", "requirements.txt", "poetry.lock")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Return an index with a package of each kind."""
    made = tmp_path_factory.mktemp("made")
    files = {}
    for name in ("lib", "tool", "winonly"):
        path = make_wheel(made, name, "1.0")
        files[path.name] = File(path.read_bytes())
    for name in (LINUX, NEWER, MACOS, OF_WINDOWS):
        files[name] = File(make_wheel(made, "native", "1.0", padding=name.encode()).read_bytes())
    for name in ("lib", "sourced"):
        path = make_sdist(made, name, "1.0")
        files[path.name] = File(path.read_bytes())
    # Of a version that the lock files do not name.
    files["lib-0.9-py3-none-any.whl"] = File(make_wheel(made, "lib", "0.9").read_bytes())
    with Index(files) as running:
        yield running


@pytest.fixture(scope="module")
def locks(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a project with its lock files."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "pyproject.toml").write_text(PROJECT)
    where = ("--default-index", f"{index.url}/simple/")
    everything = ("--all-extras", "--all-groups", "--no-emit-project", "--quiet")
    for command in (
        ("lock", *where),
        ("export", *where, *everything, "--format", "pylock.toml", "--output-file", "pylock.toml"),
        ("export", *where, *everything, "--format", "requirements.txt", "--output-file", "requirements.txt"),
    ):
        done = run(directory, "uv", *command)
        assert done.returncode == 0, done.stdout
    with (directory / "poetry.lock").open("w") as file:
        for project in ("lib", "tool", "winonly", "sourced", "native"):
            names = [name for name in index.files if name.startswith(f"{project}-1.0")]
            entries = [f'{{file = "{name}", hash = "sha256:{_sha256(index, name)}"}}' for name in names]
            file.write(f'[[package]]\nname = "{project}"\nversion = "1.0"\nfiles = [{", ".join(entries)}]\n')
            if project == "winonly":
                file.write('groups = ["main"]\nmarkers = "sys_platform == \'win32\'"\n')
        file.write('[metadata]\nlock-version = "2.1"\n')
    return directory


def _sha256(index: Index, name: str) -> str:
    return hashlib.sha256(index.files[name].content).hexdigest()


def carried(directory: Path) -> set[str]:
    """The packages in a directory."""
    return {path.name for path in directory.iterdir()} - {"manifest.jsonl"}


@pytest.mark.parametrize("lock", KINDS)
def test_all_that_is_locked(lock: str, locks: Path, index: Index, tmp_path: Path) -> None:
    where = () if lock in {"uv.lock", "pylock.toml"} else ("--index", f"{index.url}/simple/")
    done = copy(tmp_path, locks / lock, tmp_path / "carry", *where)
    assert (done.status, done.table) == (0, counted(copied=len(EVERYTHING))), done.said
    assert carried(tmp_path / "carry") == EVERYTHING


@pytest.mark.parametrize("lock", KINDS)
def test_what_one_environment_installs(lock: str, locks: Path, index: Index, tmp_path: Path) -> None:
    done = copy(tmp_path, locks / lock, tmp_path / "carry", "--index", f"{index.url}/simple/", *ON_LINUX)
    assert (done.status, done.table) == (0, counted(copied=4)), done.said
    assert carried(tmp_path / "carry") == {LIB, TOOL, SOURCED, LINUX}


@pytest.mark.parametrize("lock", KINDS)
def test_what_several_environments_install(lock: str, locks: Path, index: Index, tmp_path: Path) -> None:
    platforms = ("--platform", "macosx_14_0_arm64", "--platform", "manylinux_2_35_x86_64")
    arguments = ("--index", f"{index.url}/simple/", "--python", "3.12", *platforms)
    done = copy(tmp_path, locks / lock, tmp_path / "carry", *arguments)
    assert done.status == 0, done.said
    assert carried(tmp_path / "carry") == {LIB, TOOL, SOURCED, NEWER, MACOS}


@pytest.mark.parametrize("lock", ["uv.lock", "requirements.txt", "poetry.lock"])
def test_what_an_environment_cannot_install_fails(lock: str, locks: Path, index: Index, tmp_path: Path) -> None:
    arguments = ("--index", f"{index.url}/simple/", "--python", "3.12", "--platform", "win_amd64")
    done = copy(tmp_path, locks / lock, tmp_path / "carry", *arguments)
    assert done.status == 1
    assert "failed: native: there is no file of it for Python 3.12 on win_amd64" in done.said
    assert carried(tmp_path / "carry") == {LIB, TOOL, SOURCED, WINDOWS}


def test_pylock_of_an_environment_without_a_file_is_refused(locks: Path, tmp_path: Path) -> None:
    arguments = ("--python", "3.12", "--platform", "win_amd64")
    done = copy(tmp_path, locks / "pylock.toml", tmp_path / "carry", *arguments)
    assert done.status == 2
    assert "No wheel found matching the provided tags for package 'native'" in done.said
    assert not (tmp_path / "carry").exists()


def test_the_seed_installs_without_the_index(locks: Path, tmp_path: Path) -> None:
    copy(tmp_path, locks / "uv.lock", tmp_path / "carry", *ON_LINUX)
    requirements = (locks / "requirements.txt").read_text()
    # pip would have to build what has no wheel.
    wanted = re.sub(r"sourced==1\.0.*?(?=\n\S|\Z)", "", re.sub(r"\\\n", " ", requirements), flags=re.DOTALL)
    (tmp_path / "wanted.txt").write_text(wanted)
    offline = ("--no-index", "--find-links", str(tmp_path / "carry"), "--only-binary", ":all:", "--no-deps")
    checked = ("--require-hashes", "-r", "wanted.txt", "-d", "got")
    done = run(tmp_path, "pip", "download", *offline, *_of_pip(ON_LINUX), *checked)
    assert done.returncode == 0, done.stdout
    assert {path.name for path in (tmp_path / "got").iterdir()} == {LIB, TOOL, LINUX}


def _of_pip(options: tuple[str, ...]) -> list[str]:
    # pip does not know that what runs with an older glibc runs with a newer one.
    return [each.replace("--python", "--python-version").replace("2_28", "2_17") for each in options]


@pytest.mark.parametrize("lock", ["requirements.txt", "poetry.lock"])
def test_a_lock_file_without_addresses_needs_an_index(lock: str, locks: Path, tmp_path: Path) -> None:
    text = (locks / lock).read_text()
    (tmp_path / lock).write_text(re.sub(r"^(-i|--index-url|--default-index).*\n", "", text, flags=re.MULTILINE))
    done = copy(tmp_path, lock, tmp_path / "carry")
    assert done.status == 2
    assert "argument --index: '' has to be given" in done.said


def test_the_index_of_a_requirements_file(locks: Path, index: Index, tmp_path: Path) -> None:
    text = (locks / "requirements.txt").read_text()
    (tmp_path / "requirements.txt").write_text(f"--index-url {index.url}/simple/\n{text}")
    done = copy(tmp_path, "requirements.txt", tmp_path / "carry", "--only", "lib")
    assert (done.status, done.table) == (0, counted(copied=2)), done.said


def test_what_is_on_no_index_is_told(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "site"\nversion = "1"\nsource = { virtual = "." }\n'
        '[[package]]\nname = "forked"\nversion = "1"\nsource = { git = "https://git.example/forked" }\n'
    )
    done = copy(tmp_path, "uv.lock", tmp_path / "carry")
    assert (done.status, done.table) == (1, counted(failed=1)), done.said
    assert "failed: forked: it comes from git, which is no index" in done.said


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("pylock.toml", "lock-version = ", "is no TOML"),
        ("pylock.toml", "lock-version = '1.0'\n", "cannot be used"),
        ("uv.lock", "version = 1\n", "is not of the form of its name"),
        ("uv.lock", "[[package]]\nname = 1\n", "is not of the form of its name"),
        ("poetry.lock", "[package]\nname = 1\n", "is not of the form of its name"),
        ("requirements.txt", "lib==1.0\n", "lib has no --hash"),
        ("requirements.txt", "lib==1.0 --hash=sha256:12 \\\n  ; nonsense ==\n", "cannot be read"),
        ("requirements.txt", "-r others.txt\n", "leads to another file (-r others.txt)"),
        ("Pipfile.lock", "{}", "is no lock file that is known"),
    ],
)
def test_what_is_no_lock_file_is_refused(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    done = copy(tmp_path, name, tmp_path / "carry", "--index", "http://127.0.0.1:1/simple/")
    assert done.status == 2, done.said
    assert done.said.startswith(f"copy: error: argument SOURCE: '{name}' ")
    assert says in done.said
    assert not (tmp_path / "carry").exists()
