"""The layout that imports and wheels depend on."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cdk8s_pypiserver
from cdk8s_pypiserver import exports
from manifests import ROOT

PACKAGE = ROOT / "constructs" / "cdk8s_pypiserver"
# What runs elsewhere, and what is no part of a synth.
APART = {"runtime", "images", "moving", "schema", "tokens", "users"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if not APART & set(path.relative_to(PACKAGE).parts))


def test_the_source_root_is_no_package() -> None:
    """With an __init__.py it would hide the `constructs` distribution that cdk8s needs."""
    assert not (ROOT / "constructs" / "__init__.py").exists()
    assert not (ROOT / "imports" / "__init__.py").exists()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_reads_time_chance_or_environment(module: Path) -> None:
    """What is synthesized depends on the spec alone; the writer's one exception is what the cdk8s command line asks."""
    names = {node.attr for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Attribute)}
    forbidden = {"random", "time", "now", "uuid4", "getenv"} | (
        {"environ"} if module != PACKAGE / "kustomize" / "app.py" else set()
    )
    assert names & forbidden == set()


@pytest.mark.parametrize(
    ("loaded", "left"),
    [
        ("from cdk8s_pypiserver import PyPIServer", "moving"),
        ("import cdk8s_pypiserver.__main__", "base.model"),
        ("import cdk8s_pypiserver.images.command", "exports"),
        ("import cdk8s_pypiserver.moving.command", "exports"),
        ("import cdk8s_pypiserver.tokens.command", "exports"),
        ("import cdk8s_pypiserver.users.command", "exports"),
    ],
)
def test_constructs_and_commands_do_not_load_each_other(loaded: str, left: str) -> None:
    """Who synthesizes waits for no HTTP client, and who copies needs no Node.js."""
    code = f"{loaded}; import sys; print([name for name in sys.modules if name.startswith('cdk8s_pypiserver.')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "cdk8s_pypiserver." in done.stdout
    assert f"cdk8s_pypiserver.{left}" not in done.stdout


def test_what_is_loaded_first_needs_no_node() -> None:
    """An app has Node.js started meanwhile."""
    first, mark, _ = (PACKAGE / "exports.py").read_text().partition("# isort: split")
    code = f"{first.replace('from .', 'from cdk8s_pypiserver.')}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert mark
    assert "cdk8s_pypiserver.base.model" in loaded
    assert "jsii" not in loaded


def test_every_public_name_is_to_be_had() -> None:
    assert {"PyPIServer", "LocalVolumeSpec"} <= set(exports.__all__)
    for name in exports.__all__:
        assert getattr(cdk8s_pypiserver, name) is getattr(exports, name)
    with pytest.raises(AttributeError, match="'cdk8s_pypiserver' has no attribute 'PyPiServer'"):
        cdk8s_pypiserver.PyPiServer  # type: ignore[attr-defined]  # noqa: B018 - to ask for it is the test


def test_the_wheel_holds_both_packages_and_the_shipped_files(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "cdk8s_pypiserver",
        "cdk8s_pypiserver_imports",
    }
    shipped = {path for path in (PACKAGE / "runtime").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {path.suffix for path in shipped} >= {".py", ".conf", ".mtail"}
    assert {f"cdk8s_pypiserver/{path.relative_to(PACKAGE)}" for path in shipped} <= names
    assert {"cdk8s_pypiserver/py.typed", "cdk8s_pypiserver/base/images.lock"} <= names


def test_constraints_pin_versions_and_name_no_address() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        assert name
        assert version, line
        assert "/" not in line
