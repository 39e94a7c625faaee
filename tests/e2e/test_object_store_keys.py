"""The keys of an object store rotate while clients publish and read: nobody notices, and nothing is started anew."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
import requests

from cdk8s_pypiserver.storage.object_store import CONFIGURATION
from e2e import cluster, objects, samples
from e2e.killing import running
from e2e.loading import load_on
from e2e.test_readers import readers_of
from e2e.waiting import eventually
from losses import no_loss
from server.store.keys import AGAIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry
    from e2e.samples import Sample

SUFFIX = "store-keys"
FIRST, SECOND, THIRD = ((f"key-{number}", f"secret-of-key-{number}") for number in range(3))


def bound() -> int:
    """The seconds after which no pod uses the earlier keys, as the document says."""
    (line,) = re.findall(r"`pypiserver-s3` of `object-store`.*", (cluster.ROOT / "docs/credentials.md").read_text())
    (seconds,) = re.findall(r"after (\d+) s", line)
    return int(seconds)


@pytest.fixture(scope="module")
def place() -> objects.Place:
    return objects.OwnStore.place(f"e2e-{SUFFIX}")


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], place: objects.Place) -> Registry:
    made: Registry = deploy(
        SUFFIX, objects.OVERLAY, place.patches(), components=[objects.POLICY], accounts=True, settled=False
    )
    return made


@pytest.fixture(scope="module")
def store(registry: Registry, store_image: str) -> objects.OwnStore:
    made = objects.OwnStore(registry, store_image, FIRST)
    objects.give_keys(registry, FIRST)
    return made


@pytest.fixture(scope="module")
def kept(registry: Registry, store: objects.OwnStore, sample_directory: Path) -> Sample:
    """A file that every reader has in its cache."""
    assert store
    return published(registry, sample_directory, "kept")


def published(registry: Registry, directory: Path, project: str) -> Sample:
    """A file that every reader has read, of which nobody had it before."""
    sample = samples.make(directory, project, size=1_000_000)
    assert registry.client(cluster.PUBLISHER).twine([sample.path]).returncode == 0
    for pod in readers_of(registry):
        client = registry.client(cluster.READER, pod)
        eventually(lambda c=client: c.lists(sample.normalised, sample.path.name), "the listing", 60)  # type: ignore[misc]
        no_loss(client.get(f"packages/{sample.path.name}").content == sample.path.read_bytes(), sample.path.name)
    return sample


def restarts(registry: Registry) -> dict[str, dict[str, int]]:
    """How often the containers of each pod were started anew."""
    pods = [registry.get("pod", pod.name) for pod in registry.pods()]
    return {pod["metadata"]["uid"]: {each["name"]: each["restartCount"] for each in running(pod)} for pod in pods}


def wait_until_told(registry: Registry, keys: tuple[str, str]) -> float:
    """Wait until rclone is told of these keys in every pod, and return how many seconds that took."""
    begun = time.monotonic()
    id_, _ = keys

    def told() -> bool:
        pods = [f"pod/{pod.name}" for pod in registry.pods()]
        # Not by the log: a node may turn it over or lose it.
        return all(id_ in registry.exec(f"cat {CONFIGURATION}", container=objects.FETCHES, pod=pod) for pod in pods)

    eventually(told, "rclone to be told in every pod", bound(), 0.5)
    return time.monotonic() - begun


def paths_of(sample: Sample) -> list[str]:
    return ["/simple/", f"/simple/{sample.normalised}/", f"/packages/{sample.path.name}"]


def test_keys_rotate_under_load(
    registry: Registry,
    store: objects.OwnStore,
    kept: Sample,
    sample_directory: Path,
    note: Callable[[str], None],
) -> None:
    before = restarts(registry)
    with load_on(registry, paths_of(kept)) as load:
        store.add(SECOND)
        begun = time.monotonic()
        objects.change_keys(registry, SECOND)
        told = wait_until_told(registry, SECOND)
        # What is on its way ends with the earlier ones, and rclone is told for the last time.
        eventually(lambda: time.monotonic() - begun > told + AGAIN_SECONDS[-1] + 2, "the last requests", 60, 0.5)
        store.revoke(FIRST)
        unused = time.monotonic() - begun
        published(registry, sample_directory, "later")
        eventually(lambda: load.quiet_since(0) and time.monotonic() - begun > unused + 15, "requests", 120, 1)
    note(f"told after {told:.0f} s, revoked after {unused:.0f} s: {load}")
    assert unused < bound()
    assert load.failures == []
    assert min(load.total.values()) > 0
    assert restarts(registry) == before


def test_keys_that_are_revoked_too_early_cost_publishing_alone(
    registry: Registry,
    store: objects.OwnStore,
    kept: Sample,
    sample_directory: Path,
    note: Callable[[str], None],
) -> None:
    """Until the Secret has others: who publishes is told why, and what is in the caches is read."""
    before = restarts(registry)
    publisher = registry.client(cluster.PUBLISHER)
    with load_on(registry, paths_of(kept)) as load:
        for keys in list(store.keys):
            store.revoke(keys)
        answer = publisher.upload("early-1.0.tar.gz", b"content")
        assert answer.status_code == requests.codes.service_unavailable
        assert "key" in answer.text
        assert answer.headers["Retry-After"]
        store.add(THIRD)
        begun = time.monotonic()
        objects.change_keys(registry, THIRD)
        eventually(lambda: publisher.upload("early-1.0.tar.gz", b"content").ok, "an upload", bound(), 0.5)
        back = time.monotonic() - begun
        wait_until_told(registry, THIRD)
        published(registry, sample_directory, "after-all")
        eventually(lambda: load.quiet_since(5), "uploads that no longer fail", 120, 0.5)
    note(f"{answer.text.strip()!r}; published again {back:.0f} s after the Secret had keys that count: {load}")
    assert [each for each in load.failures if each["kind"] != "uploads" or " 503 " not in str(each["failure"])] == []
    assert restarts(registry) == before
