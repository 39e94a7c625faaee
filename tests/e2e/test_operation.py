"""Upgrade, rollback, uninstall and what comes after it: the commands of docs/operation.md, section by section."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from documents import blocks
from e2e import cluster, samples
from e2e.clients import Account
from e2e.waiting import eventually
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

NAMESPACE = "e2e-operation"
GATEWAY_FILE = "dist/local/pypiserver-gateway/nginx.conf"
OLD = "# of the former version\n"
DEPLOYMENT = "dist/local/Deployment.pypiserver.yaml"
SECTIONS = ("upgrade", "rollback", "former files", "prune", "uninstall")


@pytest.fixture(scope="module")
def commands() -> dict[str, str]:
    """The sections of the document, in their order, for the namespace of this test."""
    found = blocks(ROOT / "docs/operation.md")
    run = [text.replace("-n pypiserver ", f"-n {NAMESPACE} ") for kind, text in found if kind == "bash operation"]
    (packages,) = (text for kind, text in found if kind == "bash packages")
    return {**dict(zip(SECTIONS, run, strict=True)), "packages": packages}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as users of the overlay have it, of which the former version has another nginx.conf."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("dist", "overlays"):
        shutil.copytree(ROOT / name, folder / name)
    for path in folder.glob("overlays/local/**/kustomization.yaml"):
        path.write_text(path.read_text().replace("\nnamespace: pypiserver\n", f"\nnamespace: {NAMESPACE}\n"))
    assert not cluster.exists("namespace", NAMESPACE)
    yield folder
    cluster.remove_namespace(NAMESPACE)


def test_operation(checkout: Path, commands: dict[str, str], tmp_path: Path) -> None:
    new = {name: (checkout / name).read_text() for name in (GATEWAY_FILE, DEPLOYMENT)}
    former = {GATEWAY_FILE: OLD + new[GATEWAY_FILE], DEPLOYMENT: _former(new[DEPLOYMENT])}
    _write(checkout, former)
    _run(checkout, "kubectl apply -k overlays/local/volume")
    _run(checkout, "kubectl apply -k overlays/local")
    registry = cluster.Registry(NAMESPACE, checkout / "overlays/local", tmp_path)
    registry.wait_until_settled()
    sample = samples.make(tmp_path, "kept", "1.0")
    password = registry.exec("cat /data/packages/.pypiserver/initial-password").strip()
    publisher = Account(user="publisher", password=password)
    try:
        assert registry.client(publisher).upload(sample.path.name, sample.path.read_bytes()).ok
        assert OLD in _nginx_conf(registry)

        _write(checkout, new)
        _run(checkout, commands["upgrade"])
        assert OLD not in _nginx_conf(registry)

        _run(checkout, commands["rollback"])
        assert OLD in _nginx_conf(registry)
        _write(checkout, former)
        pods = _pods(registry)
        _run(checkout, commands["former files"])
        _write(checkout, new)
        assert _pods(registry) == pods
        # Nothing of the former version is in the way, or stays.
        _run(checkout, commands["upgrade"])
        assert OLD not in _nginx_conf(registry)
        assert "FORMER" not in registry.exec("env")
        maps = _maps(registry)
        _run(checkout, commands["prune"])
        assert _maps(registry) == maps, "both revisions can be come back to"
        # A map of no revision goes.
        registry.kubectl("create", "configmap", "pypiserver-gateway-0000000000", "--from-literal=a=b")
        registry.kubectl("label", "configmap", "pypiserver-gateway-0000000000", "app.kubernetes.io/name=pypiserver")
        registry.kubectl("patch", "configmap", "pypiserver-gateway-0000000000", "--patch", '{"immutable":true}')
        _run(checkout, commands["prune"])
        assert _maps(registry) == maps

        registry.close()
        _run(checkout, commands["uninstall"])
        left = registry.get("all,configmaps,serviceaccounts", "--selector", "app.kubernetes.io/name=pypiserver")
        assert [item["kind"] for item in left["items"] if item["kind"] not in {"Pod", "ConfigMap"}] == []
        _run(checkout, "kubectl apply -k overlays/local")
        registry.wait_until_settled()
        assert OLD not in _nginx_conf(registry)
        path = f"packages/{sample.path.name}"
        assert registry.client(publisher).get(path).content == sample.path.read_bytes()
        registry.close()

        _run(checkout, commands["uninstall"])
        _run(checkout, commands["packages"])
        eventually(lambda: not cluster.exists("namespace", NAMESPACE), "the end of the namespace", 420, 2)
    finally:
        registry.close()


def _former(deployment: str) -> str:
    """The Deployment with another kind of probe, and with a variable of its own."""
    document = yaml.safe_load(deployment)
    gateway, server = document["spec"]["template"]["spec"]["containers"]
    server["env"].append({"name": "FORMER", "value": "yes"})
    del gateway["livenessProbe"]["tcpSocket"]
    gateway["livenessProbe"]["httpGet"] = {"path": "/health", "port": 8080}
    return str(yaml.safe_dump(document))


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def _pods(registry: cluster.Registry) -> set[str]:
    found = registry.get("pods", "--selector", "app.kubernetes.io/name=pypiserver")
    return {item["metadata"]["uid"] for item in found["items"] if "deletionTimestamp" not in item["metadata"]}


def _nginx_conf(registry: cluster.Registry) -> str:
    return registry.exec("cat /etc/pypiserver/gateway/nginx.conf", container=cluster.GATEWAY)


def _maps(registry: cluster.Registry) -> set[str]:
    found = registry.get("configmaps", "--selector", "app.kubernetes.io/name=pypiserver")
    return {item["metadata"]["name"] for item in found["items"]}


def _run(folder: Path, script: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -eu\n{script}"],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
