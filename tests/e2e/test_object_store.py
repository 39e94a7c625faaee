"""The overlay `object-store` on a store that speaks S3: pods that keep nothing, and a store that goes away."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Object, Registry

OVERLAY = cluster.OVERLAYS / "object-store"
POLICY = cluster.ROOT / "dist/components/network-policy-object-store"
SECRET = f"{cluster.NAME}-s3"
FETCHES, RCLONE = "store", "rclone"
"""The containers."""
LISTED_SECONDS = 10


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], keys: tuple[str, str]) -> Registry:
    made = deploy("object-store", OVERLAY, _of_the_site(), components=[POLICY], accounts=True, settled=False)
    named = zip(("access_key_id", "secret_access_key"), keys, strict=True)
    literals = [f"--from-literal={name}={key}" for name, key in named]
    # A registry without its keys does not start, and does when they are there.
    assert made.ready_pods() == []
    made.kubectl("create", "secret", "generic", SECRET, *literals)
    made.wait_until_settled(300)
    return made


def _of_the_site() -> list[cluster.Patch]:
    """The store, a folder of this run's own, and the way to it; nobody comes through the Ingress here."""
    endpoint = os.environ.get("E2E_S3_ENDPOINT", "http://s3.lab-s3.svc.cluster.local:9000")
    bucket = os.environ.get("E2E_S3_BUCKET", "packages")
    place = f"store:{bucket}/e2e-{uuid.uuid4().hex[:8]}"
    rclone: Object = {"name": RCLONE, "env": [{"name": "RCLONE_CONFIG_STORE_ENDPOINT", "value": endpoint}]}
    readers = [{"name": name, "env": [{"name": "STORE_PATH", "value": place}]} for name in (cluster.SERVER, FETCHES)]
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": cluster.NAME},
        "spec": {"template": {"spec": {"containers": readers, "initContainers": [rclone]}}},
    }
    way = [{"op": "add", "path": "/spec/egress/-", "value": {"to": [{"namespaceSelector": {}}]}}]
    return [
        cluster.Patch(cluster.WORKLOADS, workload),
        cluster.Patch("NetworkPolicy", way, cluster.NAME),
        cluster.exposure("pypi.e2e.example", "none", "none"),
    ]


def test_what_clients_do(registry: Registry, sample_directory: Path, tmp_path: Path) -> None:
    made = [samples.make(sample_directory, "stored"), samples.make(sample_directory, "stored-source", kind="sdist")]
    done = registry.client(cluster.PUBLISHER).twine([each.path for each in made])
    assert done.returncode == 0, done.stdout + done.stderr
    client = registry.client(cluster.READER)
    for each in made:
        eventually(lambda s=each: client.lists(s.normalised, s.path.name), "the listing", LISTED_SECONDS)  # type: ignore[misc]
    for install, target in ((client.pip_install, tmp_path / "pip"), (client.uv_install, tmp_path / "uv")):
        done = install(made, target)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [each.project for each in made if not each.installed_whole(target)] == []
    again = registry.client(cluster.PUBLISHER).upload(made[0].path.name, made[0].path.read_bytes() + b"other")
    assert again.status_code == 409


def test_pods_keep_nothing(registry: Registry, sample_directory: Path) -> None:
    large = samples.make(sample_directory, "kept-in-the-store", size=30 * samples.MEBIBYTE)
    assert registry.client(cluster.PUBLISHER).twine([large.path]).returncode == 0
    before = {pod.uid for pod in registry.pods()}
    registry.kubectl("delete", "pods", "--selector", f"app.kubernetes.io/name={cluster.NAME}", "--wait=false")
    eventually(lambda: registry.pods() and not before & {pod.uid for pod in registry.pods()}, "new pods", 240, 1)
    registry.wait_until_settled(240)
    client = registry.client(cluster.READER)
    answer = client.get(f"packages/{large.path.name}")
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(large.path.read_bytes()).digest()


def test_rclone_that_dies_is_started_anew(registry: Registry, sample_directory: Path) -> None:
    registry.attempt("kill 1", container=RCLONE)
    sample = samples.make(sample_directory, "after-rclone")
    publisher = registry.client(cluster.PUBLISHER)

    def published() -> bool:
        return publisher.upload(sample.path.name, sample.path.read_bytes()).status_code in {200, 409}

    eventually(published, "rclone to be started anew", 60, 1)
    client = registry.client(cluster.READER)
    eventually(lambda: client.lists(sample.normalised, sample.path.name), "the listing", LISTED_SECONDS)
