"""The overlay `object-store` on a store that speaks S3: pods that keep nothing, and a store that goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e import cluster, objects, samples
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry

LISTED_SECONDS = 10


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], keys: tuple[str, str]) -> Registry:
    patches = objects.Place.new().patches()
    made = deploy("object-store", objects.OVERLAY, patches, components=[objects.POLICY], accounts=True, settled=False)
    # A registry without its keys does not start, and does when they are there.
    assert made.ready_pods() == []
    objects.give_keys(made, keys)
    return made


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
    assert answer.ok, answer.reason
    no_loss(answer.content == large.path.read_bytes(), large.path.name)


def test_rclone_that_dies_is_started_anew(registry: Registry, sample_directory: Path) -> None:
    registry.attempt("kill 1", container=objects.RCLONE)
    sample = samples.make(sample_directory, "after-rclone")
    publisher = registry.client(cluster.PUBLISHER)

    def published() -> bool:
        return publisher.upload(sample.path.name, sample.path.read_bytes()).status_code in {200, 409}

    eventually(published, "rclone to be started anew", 60, 1)
    client = registry.client(cluster.READER)
    eventually(lambda: client.lists(sample.normalised, sample.path.name), "the listing", LISTED_SECONDS)
