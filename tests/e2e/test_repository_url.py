"""The overlays as they are committed: from the address of a git repository, and as the API server judges them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACE = "e2e-url"
BRANCH = "e2e"


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A namespace as the overlays make it: one that enforces, and warns of, what is not "restricted"."""
    registry = cluster.Registry(NAMESPACE, cluster.ROOT / "dist/namespace", tmp_path_factory.mktemp("namespace"))
    registry.clear()
    registry.apply()
    yield NAMESPACE
    registry.remove()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a repository whose branch is what is checked out here."""
    directory = tmp_path_factory.mktemp("repository") / "registry.git"
    if not shutil.which("git") or subprocess.run(["git", "-C", cluster.ROOT, "rev-parse"], check=False).returncode:
        pytest.skip("this is not a git work tree")
    subprocess.run(["git", "clone", "--quiet", "--bare", f"file://{cluster.ROOT}", directory], check=True)
    head = subprocess.check_output(["git", "-C", cluster.ROOT, "rev-parse", "HEAD"], text=True).strip()
    subprocess.run(["git", "-C", directory, "branch", "--force", BRANCH, head], check=True)
    return f"file://{directory}"


def in_namespace(directory: Path, overlay: str, namespace: str) -> Path:
    """Write a kustomization that only moves an overlay to the namespace."""
    # A PersistentVolume is in none, and one of this name that somebody uses cannot be changed.
    rename = [{"op": "replace", "path": "/metadata/name", "value": namespace}]
    patch = {
        "target": {"kind": "PersistentVolume"},
        "patch": json.dumps(rename),
        "options": {"allowNameChange": True},
    }
    content = {"namespace": namespace, "resources": [overlay], "patches": [patch]}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return directory


@pytest.mark.parametrize("overlay", ["local", "hetzner-s3", "ha"])
def test_rendering_a_repository_url(overlay: str, repository: str) -> None:
    """Nobody needs a clone, and gets what a clone gives."""
    kinds: set[str] = set()
    for folder in (overlay, f"{overlay}/volume"):
        remote = cluster.kubectl("kustomize", f"{repository}//overlays/{folder}?ref={BRANCH}")
        kinds |= {each["kind"] for each in yaml.safe_load_all(remote)}
    assert {"Namespace", "PersistentVolumeClaim", "Deployment", "Service"} <= kinds


def test_applying_a_repository_url(repository: str, namespace: str, tmp_path: Path) -> None:
    """`kubectl apply -k` takes the address of the repository."""
    url = f"{repository}//overlays/local?ref={BRANCH}"
    # "created" or, on a cluster where somebody uses the overlay, "configured".
    assert "deployment.apps/pypiserver " in cluster.kubectl("apply", "--dry-run=client", "--kustomize", url)
    # The API server looks for the namespace also in a dry run.
    directory = in_namespace(tmp_path, url, namespace)
    done = cluster.run("apply", "--dry-run=server", "--kustomize", directory)
    assert done.returncode == 0, done.stderr
    assert "deployment.apps/pypiserver created (server dry run)" in done.stdout


@pytest.mark.parametrize(
    "overlay", [f"{name}{part}" for name in ("local", "hetzner-s3", "ha") for part in ("", "/volume")]
)
def test_the_api_server_accepts_without_a_warning(overlay: str, namespace: str, tmp_path: Path) -> None:
    """Nothing in the shipped overlays is refused, deprecated or less than "restricted"."""
    shipped = os.path.relpath(cluster.OVERLAYS / overlay, tmp_path)
    done = cluster.run("apply", "--dry-run=server", "--kustomize", in_namespace(tmp_path, shipped, namespace))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_warning_would_be_seen(namespace: str) -> None:
    """The test above fails for a pod that asks for more than "restricted" allows."""
    container = {"name": "any", "image": "example.org/any", "securityContext": {"privileged": True}}
    template = {"metadata": {"labels": {"app": "any"}}, "spec": {"containers": [container]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "any", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": "any"}}, "template": template},
    }
    done = cluster.run("apply", "--dry-run=server", "--filename", "-", stdin=json.dumps(deployment))
    assert "Warning: would violate PodSecurity" in done.stderr
