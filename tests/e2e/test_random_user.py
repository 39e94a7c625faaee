"""Pods whose user is a number that no image knows, in the group of root: what OpenShift gives each namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry

USER = 1000650000
SECURITY = {
    "fsGroup": USER,
    "runAsGroup": 0,
    "runAsNonRoot": True,
    "runAsUser": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry]) -> Registry:
    change = [{"op": "replace", "path": "/spec/template/spec/securityContext", "value": SECURITY}]
    monitoring = cluster.ROOT / "dist/components/monitoring"
    components = [monitoring] if cluster.exists("crd", "servicemonitors.monitoring.coreos.com") else []
    patches = [cluster.Patch(cluster.WORKLOADS, change)]
    return deploy("random-user", cluster.OVERLAYS / "local", patches, components=components, accounts=True)


def test_it_publishes_and_serves(registry: Registry, sample_directory: Path, tmp_path: Path) -> None:
    for container in (cluster.SERVER, cluster.GATEWAY):
        assert registry.exec("id -u; id -g", container=container).split() == [str(USER), "0"]
    sample = samples.make(sample_directory, "of-a-stranger")
    publisher = registry.client(cluster.PUBLISHER)
    assert publisher.twine([sample.path]).returncode == 0
    installed = registry.client(cluster.READER).pip_install([sample], tmp_path / "installed")
    assert installed.returncode == 0, installed.stdout
    assert sample.installed_whole(tmp_path / "installed")
    (pod,) = registry.ready_pods()
    registry.kubectl("delete", "pod", pod.name)
    registry.wait_until_settled()
    assert registry.client(cluster.READER).get(f"packages/{sample.path.name}").content == sample.path.read_bytes()
