"""A claim that a Helm release made, taken over where it is: the commands of docs/moving.md."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from documents import blocks
from e2e import cluster, samples
from e2e.cluster import PUBLISHER
from manifests import ROOT, relative

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.cluster import Object

pytestmark = pytest.mark.e2e

NAMESPACE = "e2e-adopting"
DOCUMENT = ROOT / "docs/moving.md"
LABELS = {
    "app.kubernetes.io/name": "pypiserver",
    "app.kubernetes.io/instance": "pypiserver",
    "app.kubernetes.io/managed-by": "Helm",
}


@pytest.fixture
def namespace() -> Iterator[str]:
    """Return a namespace that is there only for this test."""
    assert not cluster.exists("namespace", NAMESPACE)
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield NAMESPACE
    cluster.remove_namespace(NAMESPACE)


def test_a_claim_is_adopted_with_its_packages(namespace: str, tmp_path: Path) -> None:
    cluster.kubectl("--namespace", namespace, "apply", "--filename", "-", stdin=yaml.safe_dump_all(_release()))
    cluster.kubectl("--namespace", namespace, "rollout", "status", "deployment/pypiserver", "--timeout=120s")
    sample = samples.make(tmp_path, "kept", "1.0")
    pod = cluster.get("--namespace", namespace, "pods")["items"][0]["metadata"]["name"]
    cluster.kubectl("--namespace", namespace, "cp", sample.path, f"{pod}:/packages/{sample.path.name}")
    volume = _claim(namespace)["spec"]["volumeName"]

    kinds, texts = zip(*blocks(DOCUMENT), strict=True)
    place = kinds.index("bash adopting")
    commands, text = texts[place : place + 2]
    assert kinds[place + 1] == "yaml kustomization"
    script = "set -eu\n" + commands.replace("-n pypiserver ", f"-n {namespace} ")
    done = subprocess.run(
        ["bash", "-c", script], env=dict(os.environ), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.get("--namespace", namespace, "deployments,services")["items"] == []

    kustomization = yaml.safe_load(text)
    folder = tmp_path / "registry"
    folder.mkdir()
    kustomization["namespace"] = namespace
    kustomization["resources"] = [relative(folder, ROOT / "overlays/any" / path) for path in kustomization["resources"]]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    cluster.kubectl("--namespace", namespace, "apply", "--filename", "-", stdin=yaml.safe_dump(cluster.credentials()))
    cluster.kubectl("apply", "--kustomize", folder)
    registry = cluster.Registry(namespace, folder, tmp_path)
    try:
        registry.wait_until_settled()
        client = registry.client(PUBLISHER)
        assert client.get(f"packages/{sample.path.name}").content == sample.path.read_bytes()
        new = samples.make(tmp_path, "kept", "2.0")
        answer = client.upload(new.path.name, new.path.read_bytes())
        assert answer.ok, answer.text
        assert _claim(namespace)["spec"]["volumeName"] == volume
    finally:
        registry.close()
        # It was told to keep what is in it.
        cluster.run(
            "patch", "persistentvolume", volume, "--patch", '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'
        )


def _claim(namespace: str) -> Object:
    return cluster.get("--namespace", namespace, "persistentvolumeclaim", "pypiserver")


def _release() -> list[Object]:
    """What the chart makes, as far as it matters: another user's files on a claim of one node."""
    registry = yaml.safe_load((ROOT / "dist/local/Deployment.pypiserver.yaml").read_text())
    (image,) = (
        container["image"]
        for container in registry["spec"]["template"]["spec"]["containers"]
        if container["name"] == cluster.SERVER
    )
    container = {
        "name": "pypiserver",
        "image": image,
        "command": ["sh", "-c", "sleep 3600"],
        "volumeMounts": [{"name": "packages", "mountPath": "/packages"}],
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
    }
    pod = {
        "securityContext": {"fsGroup": 1000},
        # With none, the pod is gone from the API before its volume is unmounted, and the kubelet gives a volume to
        # another group only if nobody has it mounted.
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "packages", "persistentVolumeClaim": {"claimName": "pypiserver"}}],
    }
    metadata = {"name": "pypiserver", "labels": LABELS}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": LABELS, "ports": [{"name": "http", "port": 8080}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "sh.helm.release.v1.pypiserver.v1", "labels": {"owner": "helm", "name": "pypiserver"}},
        },
    ]
