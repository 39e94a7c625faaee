"""The overlay `object-store` on a store that speaks S3: pods that keep nothing, and a store that goes away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import requests

from e2e import cluster, objects, samples
from e2e.load import busy
from e2e.loading import load_on
from e2e.test_readers import more_and_fewer, readers_of, scale
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry

SUFFIX = "object-store"
TOLD = 15
"""Seconds after which an upload is refused whose store is away (docs/storage.md)."""


@pytest.fixture(scope="module")
def place() -> objects.Place:
    return objects.Place.new()


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], keys: tuple[str, str], place: objects.Place) -> Registry:
    patches = (place.through(f"e2e-{SUFFIX}") if place.plain else place).patches()
    made = deploy(SUFFIX, objects.OVERLAY, patches, components=[objects.POLICY], accounts=True, settled=False)
    # A registry without its keys does not start, and does when they are there.
    assert made.ready_pods() == []
    if place.plain:
        objects.Way(made, place)
    objects.give_keys(made, keys)
    return made


@pytest.fixture
def way(registry: Registry, place: objects.Place) -> objects.Way:
    """The way to the store that all pods take."""
    if not place.plain:
        pytest.skip("E2E_S3_ENDPOINT is reached by HTTPS, and nobody can be in between")
    return objects.Way(registry, place)


def test_what_clients_do(registry: Registry, sample_directory: Path, tmp_path: Path) -> None:
    made = [samples.make(sample_directory, "stored"), samples.make(sample_directory, "stored-source", kind="sdist")]
    done = registry.client(cluster.PUBLISHER).twine([each.path for each in made])
    assert done.returncode == 0, done.stdout + done.stderr
    client = registry.client(cluster.READER)
    for each in made:
        eventually(lambda s=each: client.lists(s.normalised, s.path.name), "the listing", objects.LISTED * busy())  # type: ignore[misc]
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
    eventually(lambda: client.lists(sample.normalised, sample.path.name), "the listing", objects.LISTED * busy())


def test_more_and_fewer_readers_fail_no_read(
    registry: Registry, sample_directory: Path, note: Callable[[str], None]
) -> None:
    sample = samples.make(sample_directory, "scaled")
    assert registry.client(cluster.PUBLISHER).twine([sample.path]).returncode == 0
    client = registry.client(cluster.READER)
    eventually(lambda: client.lists(sample.normalised, sample.path.name), "the listing", objects.LISTED * busy())
    more_and_fewer(registry, ["/simple/", f"/simple/{sample.normalised}/", f"/packages/{sample.path.name}"], note)


def test_a_store_that_is_away(
    registry: Registry, way: objects.Way, sample_directory: Path, note: Callable[[str], None]
) -> None:
    """Publishing says so, and can be repeated; what was asked for before is served on, and every page."""
    scale(registry, 2)
    kept, late = samples.make(sample_directory, "kept-in-caches"), samples.make(sample_directory, "late")
    publisher = registry.client(cluster.PUBLISHER)
    assert publisher.twine([kept.path]).returncode == 0
    for pod in readers_of(registry):
        client = registry.client(cluster.READER, pod)
        eventually(lambda c=client: c.lists(kept.normalised, kept.path.name), "the listing", objects.LISTED * busy())  # type: ignore[misc]
        assert client.get(f"packages/{kept.path.name}").ok
    paths = ["/simple/", f"/simple/{kept.normalised}/", f"/packages/{kept.path.name}"]
    with load_on(registry, paths, uploads=0) as load:
        way.close()
        begun = time.monotonic()
        answer = publisher.upload(late.path.name, late.path.read_bytes())
        told = time.monotonic() - begun
        assert answer.status_code == requests.codes.service_unavailable
        assert "store" in answer.reason
        assert answer.headers["Retry-After"]
        way.open()
        begun = time.monotonic()
        eventually(lambda: publisher.upload(late.path.name, late.path.read_bytes()).ok, "an upload", 60, 0.5)
        back = time.monotonic() - begun
    note(f"{answer.reason!r} after {told:.1f} s, published {back:.1f} s after the store was back; {load}")
    assert told < TOLD * busy()
    assert load.failures == []
    no_loss(publisher.get(f"packages/{late.path.name}").content == late.path.read_bytes(), late.path.name)
