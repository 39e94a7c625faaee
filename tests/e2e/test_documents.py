"""The README's commands, typed one after the other into a shell, in a namespace that must not exist before."""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from typing import TYPE_CHECKING

import pytest

from documents import blocks
from e2e import cluster, samples
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

NAMESPACE = "pypiserver"
INDEX = "http://localhost:8080/simple/my-package/"
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


def test_commands_of_the_readme(checkout: Path) -> None:
    shown = [text for kind, text in blocks(ROOT / "README.md") if kind == "bash cluster"]
    environment = {
        **os.environ,
        "PATH": f"{checkout / 'venv' / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(checkout / "venv"),
    }
    # What follows the README's last command asks, until the new Secret has reached the pod, who may read.
    script = "set -eu\ntrap 'kill $(jobs -p)' EXIT\n" + "".join(shown)
    script += f"while sleep 1; do codes=$({AS_BOB}); echo $codes; [ \"$codes\" = '200 401 ' ] && exit 0; done\n"
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=420
    )
    assert done.returncode == 0, done.stdout + done.stderr
    installed = subprocess.run(
        [checkout / "venv" / "bin" / "python", "-c", "import my_package"], check=False, capture_output=True
    )
    assert installed.returncode == 0
