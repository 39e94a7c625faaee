"""The only address that a team needs: real clients install public and private packages with nothing else."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway_programs import Setup, make_wheel, run
from programs import wait_for
from public_files import PublicFile
from public_index import PublicIndex
from upstream_programs import AGENT, Registry, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC = 60
PRIVATE = 3
RELEASES = 3
TOP = "public-00"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--isolated"]


def plant(index: PublicIndex) -> None:
    """Publish a tree: each project needs the two below it, and the newest release of some does not fit."""
    for number in range(PUBLIC):
        below = [each for each in (2 * number + 1, 2 * number + 2) if each < PUBLIC]
        for release in range(RELEASES):
            needs = [f"public-{each:02}>=1.0" for each in below]
            if number % 10 == 1 and release == RELEASES - 1:
                needs.append("public-59<1.0")
            index.add(f"public-{number:02}", f"1.{release}", needs=needs, requires_python=">=3.8")


def installed_pip(index: PublicIndex) -> PublicFile:
    """Publish the pip of this environment, which tools that make environments want to have."""
    distribution = metadata.distribution("pip")
    name = f"pip-{distribution.version}-py3-none-any.whl"
    folder = index.directory / "pip"
    folder.mkdir()
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and path.suffix != ".pyc" and path.is_file():
                archive.write(path, str(file))
    content = (folder / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return index.put("pip", PublicFile(name, distribution.version, digest, len(content), folder / name))


BACKEND = """
import os, zipfile
NAME = "acme_sdist-1.0"
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("acme_sdist.py", "VERSION = '1.0'")
        wheel.writestr(f"{NAME}.dist-info/METADATA", "Metadata-Version: 2.1\\nName: acme-sdist\\nVersion: 1.0\\n")
        wheel.writestr(f"{NAME}.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{NAME}.dist-info/RECORD", "")
    return name
"""
"""A build backend: what setuptools is to others."""
PROGRAM = {
    "public_program.py": "def main():\n    print('it runs')\n",
    "public_program-1.0.dist-info/entry_points.txt": "[console_scripts]\npublic-program=public_program:main\n",
}


def built(name: str, version: str, files: dict[str, str]) -> bytes:
    """A wheel with these files."""
    packed = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    described = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(packed, "w") as archive:
        lines = []
        for member, text in {**files, **described}.items():
            archive.writestr(member, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{member},sha256={digest},{len(text)}\n")
        archive.writestr(f"{info}/RECORD", "".join([*lines, f"{info}/RECORD,,\n"]))
    return packed.getvalue()


def publish_built(index: PublicIndex, name: str, files: dict[str, str]) -> None:
    content = built(name.replace("-", "_"), "1.0", files)
    path = index.directory / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    path.write_bytes(content)
    index.put(name, PublicFile(path.name, "1.0", hashlib.sha256(content).hexdigest(), len(content), path))


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with three packages of a team, which need sixty public ones."""
    directory = tmp_path_factory.mktemp("team")
    with contextlib.ExitStack() as stack:
        index = stack.enter_context(PublicIndex(directory))
        plant(index)
        installed_pip(index)
        publish_built(index, "public-backend", {"public_backend.py": BACKEND})
        publish_built(index, "public-program", PROGRAM)
        pod = stack.enter_context(
            registry(directory / "pod", index, setup=Setup(anonymous=True), private_names=["acme-*"])
        )
        for number in range(PRIVATE):
            need = f"Requires-Dist: public-{number:02}\n" + (f"Requires-Dist: acme-{number - 1}\n" if number else "")
            wheel = make_wheel(directory, f"acme_{number}", "1.0", headers=need)
            assert pod.upload(wheel).status_code == 200
            index.add(f"acme-{number}", "66.6")
        yield pod
        # Whatever a client has asked for, it has asked the registry.
        assert {each.headers["User-Agent"].partition("/")[0] for each in index.asked if each.host} <= {AGENT, *DIRECT}
        assert index.page_requests("acme-") == []


DIRECT: set[str] = set()
"""Clients that were sent to the public index itself, to compare."""


def expected() -> dict[str, str]:
    """What fits: the newest but of those whose newest release needs what is not there."""
    public = {f"public-{number:02}": "1.1" if number % 10 == 1 else "1.2" for number in range(PUBLIC)}
    return {**public, **{f"acme-{number}": "1.0" for number in range(PRIVATE)}}


def installed(directory: Path) -> dict[str, str]:
    """What is in a folder of packages."""
    names = (path.name.removesuffix(".dist-info") for path in directory.rglob("*.dist-info"))
    return {name.replace("_", "-"): version for name, _, version in (each.partition("-") for each in names)}


def project(directory: Path, *needs: str, more: str = "") -> Path:
    """A project of a team."""
    directory.mkdir()
    needed = json.dumps(list(needs))
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "app"\nversion = "1.0"\nrequires-python = ">=3.10"\ndependencies = {needed}\n{more}\n'
    )
    return directory


def tool(directory: Path, *command: str, **variables: str) -> str:
    """Run a client in a project; returns what it says."""
    home = directory.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "PDM_CHECK_UPDATE": "0",
        "PDM_NO_CACHE": "1",
        **variables,
    }
    done = subprocess.run(
        command,
        check=False,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_pip_installs_all_of_it(team: Registry, tmp_path: Path) -> None:
    command = [*PIP, "install", "--no-cache-dir", "--index-url", team.index_url(), "--target", "x", "acme-2"]
    done = run(tmp_path, *command)
    assert done.returncode == 0, done.stdout
    assert installed(tmp_path / "x") == expected()


def test_uv_installs_all_of_it(team: Registry, tmp_path: Path) -> None:
    uv = ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", team.index_url()]
    done = run(tmp_path, *uv, "--target", "x", "acme-2")
    assert done.returncode == 0, done.stdout
    assert installed(tmp_path / "x") == expected()


def test_with_credentials(tmp_path: Path) -> None:
    with PublicIndex(tmp_path) as index, registry(tmp_path / "pod", index) as pod:
        index.add("public", "1.0", needs=["other"])
        index.add("other", "1.0")
        address = pod.index_url("reader", "reader-password")
        uv = ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", address]
        for name, command in {"pip": [*PIP, "install", "--no-cache-dir", "--index-url", address], "uv": uv}.items():
            done = run(tmp_path, *command, "--target", name, "public")
            assert done.returncode == 0, done.stdout
            assert installed(tmp_path / name) == {"public": "1.0", "other": "1.0"}


def test_a_source_distribution_whose_build_needs_a_public_package(team: Registry, tmp_path: Path) -> None:
    name = "acme_sdist-1.0"
    members = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: acme-sdist\nVersion: 1.0\n",
        "pyproject.toml": '[build-system]\nrequires = ["public-backend"]\nbuild-backend = "public_backend"\n',
    }
    with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as archive:
        for member, text in members.items():
            entry = tarfile.TarInfo(f"{name}/{member}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    assert team.upload(tmp_path / f"{name}.tar.gz").status_code == 200
    uv = ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", team.index_url()]
    pip = [*PIP, "install", "--no-cache-dir", "--index-url", team.index_url()]
    for client, command in {"pip": pip, "uv": uv}.items():
        done = run(tmp_path, *command, "--target", client, "acme-sdist")
        assert done.returncode == 0, done.stdout
        assert (tmp_path / client / "acme_sdist.py").exists()


def test_uv_sync_with_a_lock(team: Registry, tmp_path: Path) -> None:
    index = f'[[tool.uv.index]]\nname = "team"\nurl = "{team.index_url()}"\ndefault = true\n'
    app = project(tmp_path / "app", "acme-2", more=index)
    uv = ("uv", "--no-cache", "--no-python-downloads")
    tool(app, *uv, "lock", "--python", sys.executable)
    lock = (app / "uv.lock").read_text()
    assert str(team.index.pages.port) not in lock
    assert str(team.index.files.port) not in lock
    tool(app, *uv, "sync", "--frozen", "--no-install-project", "--python", sys.executable)
    assert installed(app / ".venv") == expected()
    # What was locked and installed once can be installed while the public index is away.
    wait_for(lambda: not list((team.upstream.cache / "unfinished").iterdir()), "the files in the cache")
    team.index.go_away()
    try:
        tool(app, *uv, "sync", "--frozen", "--reinstall", "--no-install-project", "--python", sys.executable)
    finally:
        team.index.come_back()
    assert installed(app / ".venv") == expected()


def hashes(text: str) -> set[str]:
    """The digests of all files in a lock file; pdm's own names the project it is of, with the address of its index."""
    lines = (line for line in text.splitlines() if not line.startswith("content_hash"))
    return set(re.findall(r"sha256:([0-9a-f]{64})", "\n".join(lines)))


def locked_by_uv(directory: Path, address: str) -> str:
    app = project(directory, TOP, more=f'[[tool.uv.index]]\nname = "only"\nurl = "{address}"\ndefault = true\n')
    tool(app, "uv", "--no-cache", "lock", "--python", sys.executable)
    return (app / "uv.lock").read_text()


def locked_by_pip_tools(directory: Path, address: str) -> str:
    app = project(directory, TOP)
    options = ("--generate-hashes", "--quiet", "--no-config", "--cache-dir", str(directory / "cache"))
    tool(app, "pip-compile", *options, "--index-url", address, "--no-emit-index-url", "--output-file", "lock.txt")
    return (app / "lock.txt").read_text()


def locked_by_poetry(directory: Path, address: str) -> str:
    source = f'[[tool.poetry.source]]\nname = "only"\nurl = "{address}"\npriority = "primary"\n'
    app = project(directory, TOP, more=f"[tool.poetry]\npackage-mode = false\n{source}")
    tool(app, "poetry", "lock", "--no-interaction", "--no-cache")
    return (app / "poetry.lock").read_text()


def locked_by_pdm(directory: Path, address: str) -> str:
    app = project(directory, TOP, more=f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{address}"\n')
    tool(app, "pdm", "lock")
    return (app / "pdm.lock").read_text()


LOCKING = {
    "uv": locked_by_uv,
    "pip-tools": locked_by_pip_tools,
    "poetry": locked_by_poetry,
    "pdm": locked_by_pdm,
}
INSTALLING = {
    "uv": ("uv", "--no-cache", "sync", "--frozen", "--no-install-project", "--python", sys.executable),
    "pip-tools": (*PIP, "install", "--target", ".venv", "--no-deps", "--require-hashes", "--no-cache-dir"),
    "poetry": ("poetry", "install", "--no-interaction", "--no-cache", "--no-root"),
    "pdm": ("pdm", "install", "--no-self", "--frozen-lockfile"),
}


@pytest.mark.parametrize(
    "client", [pytest.param(name, marks=[] if name == "uv" else [pytest.mark.clients]) for name in LOCKING]
)
def test_lock_files_name_the_same_hashes_and_can_be_installed(team: Registry, tmp_path: Path, client: str) -> None:
    asked = len(team.index.asked)
    directly = LOCKING[client](tmp_path / "directly", team.index.url)
    DIRECT.update(each.headers["User-Agent"].partition("/")[0] for each in team.index.asked[asked:])
    through_us = LOCKING[client](tmp_path / "through", team.index_url())
    assert len(hashes(directly)) >= PUBLIC
    assert hashes(through_us) == hashes(directly)
    asked = len(team.index.asked)
    more = ("--index-url", team.index_url(), "-r", "lock.txt") if client == "pip-tools" else ()
    tool(tmp_path / "through", *INSTALLING[client], *more)
    wanted = {name: version for name, version in expected().items() if name.startswith("public-")}
    assert wanted.items() <= installed(tmp_path / "through/.venv").items()
    assert {each.headers["User-Agent"] for each in team.index.asked[asked:]} <= {AGENT}


@pytest.mark.clients
def test_pipx_installs_a_program(team: Registry, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    places = {f"PIPX_{name}": str(tmp_path / name) for name in ("HOME", "BIN_DIR", "MAN_DIR", "SHARED_LIBS")}
    tool(tmp_path / "app", "pipx", "install", "--index-url", team.index_url(), "public-program", **places)
    assert tool(tmp_path / "app", str(tmp_path / "BIN_DIR/public-program")) == "it runs\n"
