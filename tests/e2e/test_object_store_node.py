"""The node of an object store's writer is lost: who reads notices nothing, and nobody writes in its place unasked."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e import cluster, objects, samples
from e2e.loading import churn_on
from e2e.test_kills import lists_the_truth
from e2e.test_readers import AWAY, move_writer, pods_of, readers_of, scale, writer_of
from e2e.upkeep import metrics
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry
    from e2e.lost_node import LosableNode

KEYS = ("key-of-the-registry", "secret-of-the-registry")
LEFT_ALONE = 30.0
"""Seconds for which nobody says what is to become of the lost writer, after the cluster has given it up."""
CHANGES = {"uploads", "yanks", "refusals"}
"""What the writer answers; all else is the readers'."""


@pytest.fixture(params=["the pod is deleted by force", "the node is back"])
def how(request: pytest.FixtureRequest) -> str:
    """How it goes on."""
    return str(request.param)


@pytest.fixture
def suffix(how: str) -> str:
    """Of the namespace: one each, as the names that are published are the same ones."""
    return f"store-lost-{how.split()[1]}"


@pytest.fixture
def place(suffix: str) -> objects.Place:
    return objects.OwnStore.place(f"e2e-{suffix}")


@pytest.fixture
def registry(deploy: Callable[..., Registry], store_image: str, suffix: str, place: objects.Place) -> Registry:
    made = deploy(suffix, objects.OVERLAY, place.patches(), components=[objects.POLICY], accounts=True, settled=False)
    # Of its own: the cluster's may be on the node that is lost.
    objects.OwnStore(made, store_image, KEYS)
    objects.give_keys(made, KEYS)
    return made


def read_elsewhere(registry: Registry, nodes: list[str]) -> None:
    """Have two readers on other nodes than the last: what a Service sends to a lost node is lost in every mode."""
    cluster.kubectl("cordon", nodes[-1])
    try:
        scale(registry, 2)
        for pod in readers_of(registry):
            if pod.node == nodes[-1]:
                registry.kubectl("delete", "pod", pod.name, seconds=400)
        registry.wait_until_settled(300)
    finally:
        cluster.kubectl("uncordon", nodes[-1])
    assert nodes[-1] not in {pod.node for pod in readers_of(registry)}


def who_writes(registry: Registry, place: objects.Place) -> dict[str, Any]:
    """What the store says of who writes there; a reader is asked, which is there when the writer is not."""
    command = f"rclone cat store:{place.path}/.pypiserver/writer"
    found: dict[str, Any] = json.loads(
        registry.exec(command, container=objects.RCLONE, pod=f"pod/{readers_of(registry)[0].name}")
    )
    return found


@pytest.mark.alone
def test_a_lost_writer_costs_no_read_and_no_file(  # noqa: PLR0913, PLR0917
    registry: Registry,
    place: objects.Place,
    nodes: list[str],
    crashing_node: LosableNode,
    sample_directory: Path,
    how: str,
    note: Callable[[str], None],
) -> None:
    read_elsewhere(registry, nodes)
    lost = move_writer(registry, nodes)
    kept = samples.make(sample_directory, "kept")
    publisher = registry.client(cluster.PUBLISHER, readers_of(registry)[0])
    assert publisher.twine([kept.path]).returncode == 0
    first = who_writes(registry, place)
    name = "after-1.0.tar.gz"
    # Every byte of what is published in these minutes is read in the end.
    with churn_on(registry, kept.path.name, removals=False, lag=objects.LISTED, pause=1) as churn:
        crashing_node.crash()
        crashed = time.monotonic()
        eventually(crashing_node.is_missed, "the node to be missed", 120, 0.5)
        # The pod is told to go, and nobody can say that it has.
        eventually(lambda: any(pod.leaving for pod in pods_of(registry, "writer")), "the eviction", 400, 0.5)
        given_up = time.monotonic()
        while time.monotonic() - given_up < LEFT_ALONE:
            assert [pod.uid for pod in pods_of(registry, "writer")] == [lost.uid]
            answer = publisher.upload(name, b"content")
            assert (answer.status_code, answer.reason, answer.headers["Retry-After"]) == (503, AWAY, "10")
        assert who_writes(registry, place) == first
        if how == "the node is back":
            crashing_node.bring_back()
        else:
            registry.kubectl("delete", "pod", lost.name, "--grace-period=0", "--force")
        decided = time.monotonic()
        eventually(lambda: publisher.upload(name, b"content").ok, "the next writer", 240, 0.5)
        published = time.monotonic()
        eventually(lambda: churn.quiet_since(5), "requests that no longer fail", 120, 0.5)
        second = who_writes(registry, place)
        # What is left of the earlier one on its node does not come back to life.
        crashing_node.bring_back()
        eventually(lambda: churn.quiet_since(15), "requests that do not fail", 120, 0.5)
    note(
        f"{how}: given up {given_up - crashed:.0f} s after the crash, published again {published - decided:.0f} s "
        f"after that was decided: {churn}"
    )
    assert not churn.wrong
    assert [each for each in churn.failures if each["kind"] not in CHANGES] == []
    later = writer_of(registry)
    assert later.uid != lost.uid
    assert [pod.uid for pod in pods_of(registry, "writer")] == [later.uid]
    assert second["token"] != first["token"]
    assert who_writes(registry, place) == second
    assert "pypiserver_store_fenced 0\n" in metrics(registry, pod=f"pod/{later.name}")
    for pod in registry.wait_until_settled():
        lists_the_truth(registry.client(cluster.PUBLISHER, pod), churn, objects.LISTED)
    expected = {each: file["digest"] for each, file in churn.names("stored").items()}
    assert expected
    found = place.digests(registry)
    assert found.keys() >= {kept.path.name, name}
    for each in (kept.path.name, name):
        del found[each]
    no_loss(found == expected, f"in the bucket or not: {found.items() ^ expected.items()}")
