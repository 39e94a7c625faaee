"""dist/ is what the sources make, whole and tracked."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cdk8s_pypiserver.base.config_files import command_files
from cdk8s_pypiserver.kustomize.documents import HEADER
from cdk8s_pypiserver.kustomize.folder import LIST
from manifests import DIST, ROOT

RUNTIME = ROOT / "constructs/cdk8s_pypiserver/runtime"
CDK8S_CLI = "cdk8s-cli@2.207.60"
FILES = sorted(path for path in DIST.rglob("*") if path.is_file() and path.name != LIST)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_dist_is_what_the_sources_make(tmp_path: Path) -> None:
    shutil.copy(ROOT / "app.py", tmp_path)
    subprocess.run([sys.executable, "app.py"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    made = _contents(tmp_path / "dist")
    committed = _contents(DIST)
    stale = [name for name in sorted(made.keys() | committed.keys()) if made.get(name) != committed.get(name)]
    assert stale == [], "edited by hand or not regenerated: run `make synth`, which shows the difference"


def test_every_generated_file_says_so() -> None:
    """The files of ConfigMaps are those of runtime/ and of the command, as they are there; JSON knows no comments."""
    runtime = {path.read_text() for path in RUNTIME.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    runtime |= {*command_files().values()}
    texts = {path: path.read_text() for path in FILES if path.suffix != ".json"}
    assert [path for path, text in texts.items() if not text.startswith(HEADER) and text not in runtime] == []


def test_nothing_generated_is_untracked_or_ignored() -> None:
    for folder in ("dist", "tests/__snapshots__", "imports"):
        assert _git("ls-files", "--others", "--exclude-standard", "--", folder).split() == []
        ignored = _git("ls-files", "--others", "--ignored", "--exclude-standard", "--", folder).split()
        assert [name for name in ignored if "__pycache__" not in name] == []


def test_no_kustomization_bundles_the_charts() -> None:
    assert not (DIST / "kustomization.yaml").exists()


@pytest.mark.skipif(not shutil.which("npx"), reason="there is no npx")
def test_the_cdk8s_command_line_makes_the_same(tmp_path: Path) -> None:
    command_line = ["npx", "--yes", CDK8S_CLI]
    if subprocess.run([*command_line, "--version"], check=False, capture_output=True).returncode:
        pytest.skip(f"npx cannot install {CDK8S_CLI}")
    shutil.copy(ROOT / "app.py", tmp_path)
    settings = (ROOT / "cdk8s.yaml").read_text().replace(".venv/bin/python", sys.executable)
    (tmp_path / "cdk8s.yaml").write_text(settings.split("importDirectory")[0])
    subprocess.run([*command_line, "synth"], cwd=tmp_path, check=True, capture_output=True)
    assert _contents(tmp_path / "dist") == _contents(DIST)
    assert _contents(tmp_path / "build" / "cdk8s") == _contents(DIST)


def _contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
