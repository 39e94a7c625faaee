"""The README's commands, typed one after the other into a shell, in a namespace that must not exist before."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from typing import TYPE_CHECKING

import pytest

from documents import DOCUMENTS, blocks
from e2e import cluster, samples
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

NAMESPACE = "pypiserver"
INDEX = "http://localhost:8080/simple/my-package/"
COMMANDS = {"bash cluster", "bash url"}
AS_BOB = f"""
curl --silent --output /dev/null --write-out '%{{http_code}} ' --user "bob:$reader_password" {INDEX}
curl --silent --output /dev/null --write-out '%{{http_code}} ' --user "publisher:$password" {INDEX}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Return a folder as a reader of the README has it, with a package to upload and an environment to install into."""
    if cluster.exists("namespace", NAMESPACE):
        pytest.skip(f"the namespace {NAMESPACE} is in use on this cluster")
    for name in ("dist", "overlays"):
        shutil.copytree(ROOT / name, tmp_path / name)
    samples.make(tmp_path, "my-package", "1.0")
    venv.create(tmp_path / "venv", with_pip=True)
    yield tmp_path
    cluster.remove_namespace(NAMESPACE)


@pytest.fixture
def repository(tmp_path: Path) -> str:
    """Return the address of a repository whose branch main is what is checked out here."""
    directory = tmp_path / "repository.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", f"file://{ROOT}", directory], check=True)
    head = subprocess.check_output(["git", "-C", ROOT, "rev-parse", "HEAD"], text=True).strip()
    subprocess.run(["git", "-C", directory, "update-ref", "refs/heads/main", head], check=True)
    return f"file://{directory}"


def test_commands_of_the_documents(checkout: Path, repository: str) -> None:
    environment = {
        **os.environ,
        "PATH": f"{checkout / 'venv' / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(checkout / "venv"),
        "REPOSITORY": repository,
    }
    readme, *others = ("".join(text for kind, text in blocks(path) if kind in COMMANDS) for path in DOCUMENTS)
    # After the README's last command: until the new Secret has reached the pod, who may read.
    until = f"while sleep 1; do codes=$({AS_BOB}); echo $codes; [ \"$codes\" = '200 401 ' ] && break; done\n"
    script = "set -eu\ntrap 'kill $(jobs -p)' EXIT\n" + "".join([readme, until, *others])
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=420
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed = subprocess.run(
        [checkout / "venv" / "bin" / "python", "-c", "import my_package"], check=False, capture_output=True
    )
    assert installed.returncode == 0
