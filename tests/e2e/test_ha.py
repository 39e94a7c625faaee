"""The overlay `ha`: several pods on one file system, which go on serving while pods and nodes come and go."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from e2e import cluster, samples
from e2e.loading import load_on
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.clients import Client
    from e2e.cluster import Pod, Registry
    from e2e.lost_node import LosableNode
    from e2e.samples import Sample

HA = cluster.OVERLAYS / "ha"
HOST = "pypi.e2e.example"
STATED_BOUND = 2.0
"""Seconds within which every pod lists what another has published, besides the file system's attribute cache."""
ATTRIBUTE_CACHE = float(os.environ.get("E2E_ATTRIBUTE_CACHE_SECONDS", "0"))
RACES = 50
MARK = "e2e"
"""Label of the pods: `kubectl drain` must not take other people's registries, whose names and labels are the same."""


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], shared_class: str) -> Registry:
    label = {"op": "add", "path": f"/spec/template/metadata/labels/{MARK}", "value": "ha"}
    # Nobody comes through the Ingress here, so it may name a controller and an issuer that do not exist.
    patches = [
        cluster.storage(shared_class),
        cluster.exposure(HOST, "none", "none"),
        cluster.Patch("Deployment", [label]),
        # What a small cluster's nodes can bring a pod to beside the load that asks it.
        cluster.Patch(
            "HorizontalPodAutoscaler",
            [{"op": "replace", "path": "/spec/metrics/0/resource/target/averageValue", "value": "100m"}],
        ),
    ]
    return deploy("ha", HA, patches, accounts=True)


@pytest.fixture
def pods(registry: Registry) -> list[Pod]:
    """The pods, when nothing is on its way to change them; the autoscaler makes two of the first one."""
    return settled(registry)


def settled(registry: Registry) -> list[Pod]:
    """Wait for at least two pods, and until all are ready and none is leaving."""
    eventually(lambda: len(registry.ready_pods()) >= 2, "two pods", 120, 0.5)
    return registry.wait_until_settled()


@pytest.fixture(scope="module")
def published(registry: Registry, sample_directory: Path) -> list[Sample]:
    """What the load asks for: a small and a large file."""
    settled(registry)
    made = [samples.make(sample_directory, "small"), samples.make(sample_directory, "medium", size=1_000_000)]
    done = registry.client(cluster.PUBLISHER).twine(sample.path for sample in made)
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture(scope="module")
def paths(published: list[Sample]) -> list[str]:
    """Paths that the load asks for."""
    pages = [f"/simple/{sample.normalised}/" for sample in published]
    return ["/simple/", *pages, *(f"/packages/{sample.path.name}" for sample in published)]


@pytest.mark.usefixtures("published")
def test_pods_are_spread_over_nodes(nodes: list[str], pods: list[Pod]) -> None:
    """A lost node does not take every pod."""
    assert len({pod.node for pod in pods}) == min(len(nodes), len(pods))


def test_another_pod_lists_an_upload(registry: Registry, pods: list[Pod], note: Callable[[str], None]) -> None:
    """What one pod has taken, every other lists and serves within the stated time."""
    one, other = (registry.client(cluster.PUBLISHER, pod) for pod in pods[:2])
    waited = []
    for n in range(10):
        # Two versions of a project: the other pod must also see that a page it has made is no longer true.
        name, content = f"seen_{n // 2}-1.{n}-py3-none-any.whl", f"content {n}".encode()
        assert not other.lists(f"seen-{n // 2}", name)
        assert one.upload(name, content).ok
        acknowledged = time.monotonic()

        def seen(project: str = f"seen-{n // 2}", name: str = name) -> bool:
            return other.lists(project, name)

        eventually(seen, f"{name} in the other pod's index", 60, 0.02)
        waited.append(time.monotonic() - acknowledged)
        no_loss(other.get(f"packages/{name}").content == content, name)
        assert f"seen-{n // 2}" in other.get("simple/").text
    note(f"median {sorted(waited)[len(waited) // 2]:.2f} s, longest {max(waited):.2f} s")
    assert max(waited) <= STATED_BOUND + ATTRIBUTE_CACHE


def test_one_of_two_racing_uploads_wins(registry: Registry, pods: list[Pod], note: Callable[[str], None]) -> None:
    """Of two files of one name that reach two pods at once, one is published and the other refused, always."""
    racers = [registry.client(cluster.PUBLISHER, pod) for pod in pods[:2]]
    begin = threading.Barrier(2)
    wins = [0, 0]

    def upload(number: int, name: str) -> requests.Response:
        content = content_of(number, name)
        begin.wait(30)
        return racers[number].upload(name, content)

    with ThreadPoolExecutor(2) as pool:
        for n in range(RACES):
            name = f"race-1.{n}.tar.gz"
            answers = list(pool.map(upload, (0, 1), (name, name)))
            codes = [answer.status_code for answer in answers]
            assert sorted(codes) == [requests.codes.ok, requests.codes.conflict], (name, codes)
            winner = codes.index(requests.codes.ok)
            wins[winner] += 1
            for racer in racers:
                no_loss(racer.get(f"packages/{name}").content == content_of(winner, name), name)
    note(f"{wins[0]} to {wins[1]}")
    last = f"race-1.{RACES - 1}.tar.gz"
    eventually(lambda: all(racer.lists("race", last) for racer in racers), "the last one in the index of both")


def content_of(number: int, name: str) -> bytes:
    """What each racer sends: large enough for the two writes to overlap."""
    return f"{number} {name} ".encode() * 20_000


def test_a_changed_limit_rolls_the_pods(
    registry: Registry, pods: list[Pod], published: list[Sample], tmp_path: Path
) -> None:
    """What a site states in site.env takes effect with `kubectl apply` alone."""
    for part in ("dist", "overlays"):
        shutil.copytree(cluster.ROOT / part, tmp_path / part)
    site = tmp_path / "overlays/ha/site.env"
    content = site.read_text()
    assert "max-upload=1Gi" in content
    site.write_text(content.replace("max-upload=1Gi", "max-upload=1Mi"))
    shipped, registry.overlay = registry.overlay, tmp_path / "overlays/ha"
    try:
        registry.apply()
        after = registry.wait_until_settled()
        assert not {pod.template for pod in pods} & {pod.template for pod in after}
        client = registry.client(cluster.PUBLISHER, after[0])
        answer = client.upload("too_large-1.0.tar.gz", bytes(2_000_000))
        assert answer.status_code == requests.codes.request_entity_too_large
        assert client.get(f"packages/{published[0].path.name}").ok
    finally:
        registry.overlay = shipped
        registry.apply()
        registry.wait_until_settled()


def test_a_rollout_fails_no_request(
    registry: Registry, pods: list[Pod], paths: list[str], note: Callable[[str], None]
) -> None:
    """Reading and publishing go on while every pod is replaced."""
    with load_on(registry, paths) as load:
        registry.kubectl("rollout", "restart", f"deployment/{cluster.NAME}")
        after = registry.wait_until_settled(300)
    note(str(load))
    assert not {pod.uid for pod in pods} & {pod.uid for pod in after}
    assert load.failures == []
    assert min(load.total.values()) > 0


@pytest.mark.usefixtures("nodes")
def test_pods_are_spread_after_a_rollout(pods: list[Pod]) -> None:
    """The pods of a new template are spread among themselves, wherever those they replace have been."""
    assert len({pod.node for pod in pods}) >= 2


def test_evictions_leave_a_pod(registry: Registry, pods: list[Pod], note: Callable[[str], None]) -> None:
    """Whoever empties nodes can not take the last pod."""
    answers = [evict(registry, pod) for pod in pods]
    note(f"{len(pods)} pods: {answers}")
    assert answers[0] == "taken"
    assert answers[-1] == "TooManyRequests"
    assert any(pod.ready for pod in registry.pods())
    registry.wait_until_settled()


def evict(registry: Registry, pod: Pod) -> str:
    """Ask for an eviction as `kubectl drain` does; return `taken` or the reason against it."""
    metadata = {"name": pod.name, "namespace": registry.namespace}
    path = f"/api/v1/namespaces/{registry.namespace}/pods/{pod.name}/eviction"
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    done = cluster.run("create", "--raw", path, "--filename", "-", stdin=body)
    if done.returncode == 0:
        return "taken"
    assert "disruption budget" in done.stderr, done.stderr
    return "TooManyRequests" if "TooManyRequests" in done.stderr else done.stderr


@pytest.fixture
def spread_pods(registry: Registry, nodes: list[str]) -> list[Pod]:
    """Pods of which at least one is on the last node, wherever earlier tests have left them."""

    def spread() -> list[Pod]:
        pods = settled(registry)
        if any(pod.node == nodes[-1] for pod in pods) and any(pod.node != nodes[-1] for pod in pods):
            return pods
        registry.kubectl("delete", "pod", pods[0].name)
        return []

    return eventually(spread, "pods on several nodes", 180)


@pytest.mark.alone
def test_draining_a_node_fails_no_request(
    registry: Registry, nodes: list[str], spread_pods: list[Pod], paths: list[str], note: Callable[[str], None]
) -> None:
    """A node that is emptied for maintenance takes no request with it."""
    moved = [pod.name for pod in spread_pods if pod.node == nodes[-1]]
    try:
        with load_on(registry, paths) as load:
            begun = time.monotonic()
            cluster.kubectl(
                *("drain", nodes[-1], "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=200s"),
                *("--pod-selector", f"{MARK}=ha"),
                seconds=220,
            )
            took = time.monotonic() - begun
            after = settled(registry)
    finally:
        cluster.kubectl("uncordon", nodes[-1])
    note(f"{len(moved)} of {len(spread_pods)} pods moved in {took:.0f} s: {load}")
    assert nodes[-1] not in {pod.node for pod in after}
    assert load.failures == []


@pytest.mark.alone
def test_a_crashed_node(
    registry: Registry,
    crashing_node: LosableNode,
    spread_pods: list[Pod],
    paths: list[str],
    note: Callable[[str], None],
) -> None:
    """The pods on other nodes go on, and the Service leads to them alone once the cluster knows."""
    survivor = next(pod for pod in spread_pods if pod.node != crashing_node.name)
    client = registry.client(cluster.PUBLISHER, survivor)
    with load_on(registry, paths, timeout=3) as load:
        crashed = time.time()
        crashing_node.crash()
        published = 0

        def recovered() -> bool:
            nonlocal published
            publish_and_read(client, published)
            published += 1
            return crashing_node.is_missed() and load.quiet_since(10)

        eventually(recovered, "requests that no longer fail", 240, 0.5)
        clean = max((failure["begun"] + failure["seconds"] for failure in load.failures), default=crashed) - crashed
        replaced = eventually(
            lambda: (
                len([pod for pod in registry.ready_pods() if pod.node != crashing_node.name]) > 1
                and time.time() - crashed
            ),
            "as many pods as before",
            240,
            0.5,
        )
    note(
        f"the other pod has taken and served {published} uploads without a failure; the last failure through the "
        f"Service {clean:.0f} s and two pods ready {replaced:.0f} s after the crash: {load}"
    )


def publish_and_read(client: Client, number: int) -> None:
    """Publish a file and read it, which must not fail even once."""
    name, content = f"crash-1.{number}.tar.gz", f"content {number}".encode()
    answer = client.upload(name, content)
    assert answer.ok, f"{answer.status_code} {answer.reason}"
    no_loss(client.lists("crash", name), name)
    no_loss(client.get(f"packages/{name}").content == content, name)


@pytest.mark.alone
def test_load_adds_pods(registry: Registry, pods: list[Pod], paths: list[str], note: Callable[[str], None]) -> None:
    """The autoscaler adds pods under load. It comes last, since it takes them away only after minutes."""
    if cluster.run("get", "--raw", "/apis/metrics.k8s.io/v1beta1").returncode:
        pytest.skip("the cluster has no metrics.k8s.io")
    # What the server itself answers costs most.
    described = [f"/{path.split('/')[2]}/json" for path in paths if path.startswith("/simple/") and path != "/simple/"]
    with load_on(registry, [*described, *paths], fresh=4, kept=8, uploads=1, pause=0) as load:
        begun = time.monotonic()
        eventually(lambda: len(registry.ready_pods()) > len(pods), "another ready pod", 240, 1)
        took = time.monotonic() - begun
    note(f"one more than {len(pods)} pods ready after {took:.0f} s: {load}")
    assert load.failures == []
