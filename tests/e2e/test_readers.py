"""The overlay `hetzner-s3`: readers that go on while the one pod that writes is away, and never two that write."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import requests

from e2e import cluster, samples
from e2e.killing import Killer
from e2e.loading import load_on
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster import Pod, Registry
    from e2e.loading import Load
    from e2e.lost_node import LosableNode
    from e2e.samples import Sample

OVERLAY = cluster.OVERLAYS / "hetzner-s3"
WRITER = f"{cluster.NAME}-writer"
MARK = "e2e"
STATED_BOUND = 7.0
"""Seconds within which every reader lists what was published: the 5 s of a listing, and one listing."""
AWAY = "Nothing can be published while the writer is away; packages can be read. Try again"
SETTLED = 6.0
"""Seconds that a new writer waits for what an earlier one has left."""


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], shared_class: str) -> Registry:
    label = {"op": "add", "path": f"/spec/template/metadata/labels/{MARK}", "value": "readers"}
    # Of a volume in the bucket's place, and nobody comes through the Ingress here.
    patches = [
        *cluster.without_bucket(shared_class),
        cluster.exposure("pypi.e2e.example", "none", "none"),
        cluster.Patch(cluster.WORKLOADS, [label]),
    ]
    # Enforced where the cluster does: readers look the writer up and reach it, and nobody reaches anything else.
    policy = cluster.ROOT / "dist/components/network-policy-readers"
    made = deploy("readers", OVERLAY, patches, components=[policy], accounts=True, settled=False)
    made.wait_until_settled(300)
    return made


def scale(registry: Registry, readers: int) -> None:
    """Have the autoscaler keep this many readers."""
    bounds = json.dumps({"spec": {"minReplicas": readers, "maxReplicas": readers}})
    registry.kubectl("patch", "horizontalpodautoscaler", f"{cluster.NAME}-readers", "--patch", bounds)
    eventually(lambda: len(readers_of(registry)) == readers == len(pods_of(registry, "reader")), "readers", 240, 0.5)


def pods_of(registry: Registry, role: str) -> list[Pod]:
    """The pods of a role, those that are leaving too."""
    return [pod for pod in registry.pods() if pod.role == role]


def readers_of(registry: Registry) -> list[Pod]:
    """The readers that serve."""
    return [pod for pod in pods_of(registry, "reader") if pod.ready]


def writer_of(registry: Registry) -> Pod:
    """The writer, when it is ready."""

    def found() -> list[Pod]:
        return [pod for pod in pods_of(registry, "writer") if pod.ready]

    return eventually(found, "the writer", 240, 0.5)[0]


@pytest.fixture(scope="module")
def published(registry: Registry, sample_directory: Path) -> list[Sample]:
    """What the load asks for: a small and a large file."""
    made = [samples.make(sample_directory, "small"), samples.make(sample_directory, "medium", size=1_000_000)]
    done = registry.client(cluster.PUBLISHER).twine(sample.path for sample in made)
    assert done.returncode == 0, done.stdout
    for pod in readers_of(registry):
        client = registry.client(cluster.READER, pod)
        for sample in made:
            eventually(lambda c=client, s=sample: c.lists(s.normalised, s.path.name), "every reader to list it", 60)  # type: ignore[misc]
    return made


@pytest.fixture(scope="module")
def paths(published: list[Sample]) -> list[str]:
    """Paths that the load asks for."""
    pages = [f"/simple/{sample.normalised}/" for sample in published]
    return ["/simple/", *pages, *(f"/packages/{sample.path.name}" for sample in published)]


def failed_reads(load: Load) -> list[dict[str, object]]:
    """Reads that have failed, and uploads with anything but the reason that clients are to come again."""
    return [each for each in load.failures if each["kind"] != "uploads" or "503" not in str(each["failure"])]


@pytest.mark.usefixtures("published")
def test_every_reader_takes_uploads_and_lists_them(registry: Registry, note: Callable[[str], None]) -> None:
    scale(registry, 3)
    clients = [registry.client(cluster.PUBLISHER, pod) for pod in readers_of(registry)]
    waited = []
    for number, client in enumerate(clients):
        name, content = f"through_{number}-1.0.tar.gz", f"content {number}".encode()
        assert client.upload(name, content).ok
        acknowledged = time.monotonic()
        for other in clients:
            eventually(lambda o=other, n=number, f=name: o.lists(f"through-{n}", f), "a listing", 60, 0.05)  # type: ignore[misc]
        waited.append(time.monotonic() - acknowledged)
        no_loss(all(other.get(f"packages/{name}").content == content for other in clients), name)
        assert client.upload(name, content).status_code == requests.codes.conflict
    note(f"listed by all three after {min(waited):.1f} to {max(waited):.1f} s")
    assert max(waited) <= STATED_BOUND


def test_readers_write_nothing(registry: Registry) -> None:
    for pod in readers_of(registry):
        said = registry.attempt("touch /data/packages/x 2>&1; echo ended", pod=f"pod/{pod.name}")
        assert "Read-only file system" in said


def test_more_and_fewer_readers_fail_no_read(registry: Registry, paths: list[str], note: Callable[[str], None]) -> None:
    more_and_fewer(registry, paths, note)


def more_and_fewer(registry: Registry, paths: list[str], note: Callable[[str], None]) -> None:
    """Have one reader, three and one again while clients publish and ask for paths, none of which may fail."""
    scale(registry, 1)
    with load_on(registry, paths) as load:
        for readers in (3, 1):
            scale(registry, readers)
    note(str(load))
    assert load.failures == []
    assert min(load.total.values()) > 0


def test_a_rollout_fails_no_read(registry: Registry, paths: list[str], note: Callable[[str], None]) -> None:
    """Of both, one after the other; uploads are told to come again while the writer is replaced."""
    scale(registry, 2)
    for workload in (f"deployment/{cluster.NAME}", f"statefulset/{WRITER}"):
        before = {pod.uid for pod in registry.pods()}
        with load_on(registry, paths) as load:
            registry.kubectl("rollout", "restart", workload)
            after = registry.wait_until_settled(300)
        note(f"{workload}: {load}, uploads {gap(load):.0f} s away")
        assert before != {pod.uid for pod in after}
        assert failed_reads(load) == []
        if workload.startswith("deployment"):
            assert load.failures == []


def gap(load: Load) -> float:
    """Seconds from the first upload that failed to the last."""
    moments = [float(str(failure["begun"])) for failure in load.failures if failure["kind"] == "uploads"]
    return max(moments) - min(moments) if moments else 0.0


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """What kills containers."""
    made = Killer()
    yield made
    made.remove()


@pytest.mark.parametrize("how", ["its server is killed", "its gateway is killed", "deleted", "deleted by force"])
def test_a_writer_that_goes_fails_no_read(
    registry: Registry, killer: Killer, paths: list[str], how: str, note: Callable[[str], None]
) -> None:
    writer = writer_of(registry)
    with load_on(registry, paths) as load:
        if how.endswith("killed"):
            killer.kill(registry, writer, cluster.SERVER if "server" in how else cluster.GATEWAY)
        else:
            forced = ("--grace-period=0", "--force") if how.endswith("force") else ()
            registry.kubectl("delete", "pod", writer.name, *forced, seconds=400)
            eventually(lambda: [pod for pod in pods_of(registry, "writer") if pod.ready], "the next writer", 300, 0.5)
        eventually(lambda: load.quiet_since(5), "uploads that no longer fail", 120, 0.5)
    note(f"{how}: {load}, uploads {gap(load):.0f} s away")
    assert failed_reads(load) == []


def test_publishing_without_a_writer(registry: Registry, published: list[Sample]) -> None:
    """It is said in the status line, which is all that many clients show, and when to come again."""
    registry.kubectl("scale", "statefulset", WRITER, "--replicas=0")
    eventually(lambda: not pods_of(registry, "writer"), "no writer", 400, 0.5)
    try:
        # A reader that starts meanwhile serves too.
        registry.kubectl("rollout", "restart", f"deployment/{cluster.NAME}")
        registry.kubectl("rollout", "status", f"deployment/{cluster.NAME}", "--timeout=180s", seconds=190)
        for pod in readers_of(registry):
            client = registry.client(cluster.PUBLISHER, pod)
            answer = client.upload("none-1.0.tar.gz", b"content")
            assert (answer.status_code, answer.reason, answer.headers["Retry-After"]) == (503, AWAY, "10")
            assert client.get(f"packages/{published[0].path.name}").ok
    finally:
        registry.kubectl("scale", "statefulset", WRITER, "--replicas=1")
        registry.wait_until_settled(300)
    assert registry.client(cluster.PUBLISHER).upload("none-1.0.tar.gz", b"content").ok


@pytest.fixture
def writer_on_the_last_node(registry: Registry, nodes: list[str]) -> Pod:
    scale(registry, 2)
    return move_writer(registry, nodes)


def move_writer(registry: Registry, nodes: list[str]) -> Pod:
    """Have the writer on the last of the nodes, and return it."""
    if writer_of(registry).node != nodes[-1]:
        cluster.kubectl("cordon", *nodes[:-1])
        try:
            registry.kubectl("delete", "pod", f"{WRITER}-0", seconds=400)
            eventually(lambda: writer_of(registry).node == nodes[-1], "the writer on the last node", 240)
        finally:
            cluster.kubectl("uncordon", *nodes[:-1])
    return writer_of(registry)


@pytest.mark.alone
def test_draining_the_node_of_the_writer_fails_no_read(
    registry: Registry,
    nodes: list[str],
    writer_on_the_last_node: Pod,
    paths: list[str],
    note: Callable[[str], None],
) -> None:
    try:
        with load_on(registry, paths) as load:
            cluster.kubectl(
                *("drain", nodes[-1], "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=400s"),
                *("--pod-selector", f"{MARK}=readers"),
                seconds=420,
            )
            registry.wait_until_settled(300)
            eventually(lambda: load.quiet_since(5), "uploads that no longer fail", 120, 0.5)
    finally:
        cluster.kubectl("uncordon", nodes[-1])
    note(f"{load}, uploads {gap(load):.0f} s away")
    assert writer_of(registry).uid != writer_on_the_last_node.uid
    assert failed_reads(load) == []


@pytest.mark.alone
def test_a_lost_node_has_no_second_writer(
    registry: Registry,
    writer_on_the_last_node: Pod,
    crashing_node: LosableNode,
    published: list[Sample],
    note: Callable[[str], None],
) -> None:
    """Nobody knows whether it still writes: so nobody takes its place until somebody says that it may be."""
    lost = writer_on_the_last_node
    survivor = next(pod for pod in readers_of(registry) if pod.node != crashing_node.name)
    client = registry.client(cluster.PUBLISHER, survivor)
    crashing_node.crash()
    crashed = time.monotonic()

    def reads() -> bool:
        return client.get(f"packages/{published[0].path.name}").ok and client.get("simple/").ok

    eventually(crashing_node.is_missed, "the node to be missed", 120, 0.5)
    # The pod is told to go, and nobody can say that it has.
    eventually(lambda: any(pod.leaving for pod in pods_of(registry, "writer")), "the eviction", 400, 0.5)
    while time.monotonic() - crashed < 90:
        assert reads()
        assert [pod.uid for pod in pods_of(registry, "writer")] == [lost.uid]
        assert client.upload("lost-1.0.tar.gz", b"content").status_code == requests.codes.service_unavailable
    registry.kubectl("delete", "pod", lost.name, "--grace-period=0", "--force")
    forced = time.monotonic()
    answered = eventually(
        lambda: client.upload("lost-1.0.tar.gz", b"content").ok and time.monotonic() - forced,
        "the next writer",
        240,
        0.5,
    )
    assert writer_of(registry).uid != lost.uid
    assert reads()
    assert "waiting 6 s for what an earlier writer has left" in registry.logs(f"pod/{WRITER}-0")
    note(f"published again {answered:.0f} s after the forced deletion")


def test_of_two_writers_at_once_the_earlier_acknowledges_nothing(
    registry: Registry, note: Callable[[str], None]
) -> None:
    """A pod that is deleted by force has a successor at once, and may run on for a while beside it."""
    earlier = writer_of(registry)
    # Past the Service, which no longer leads there.
    direct = registry.client(cluster.PUBLISHER, earlier)
    answers: dict[str, int] = {}
    ended = threading.Event()

    def publish() -> None:
        number = 0
        while not ended.is_set():
            name = f"forced_{number}-1.0.tar.gz"
            number += 1
            try:
                answers[name] = direct.upload(name, name.encode()).status_code
            except requests.RequestException:
                answers[name] = 0

    thread = threading.Thread(target=publish)
    thread.start()
    eventually(lambda: len(answers) > 3, "some uploads", 60)
    registry.kubectl("delete", "pod", earlier.name, "--grace-period=0", "--force")
    later = eventually(
        lambda: [pod for pod in pods_of(registry, "writer") if pod.ready and pod.uid != earlier.uid],
        "another",
        240,
        0.5,
    )
    ended.set()
    thread.join(60)
    client = registry.client(cluster.PUBLISHER, later[0])
    stored = [name for name, status in answers.items() if status == requests.codes.ok]
    note(f"{len(stored)} of {len(answers)} acknowledged: {sorted(set(answers.values()))}")
    for name in stored:
        project = name.partition("-")[0].replace("_", "-")
        with suppress(AssertionError):
            eventually(lambda p=project, n=name: client.lists(p, n), f"{name} in the index", 30)  # type: ignore[misc]
        no_loss(client.lists(project, name), f"{name} in the index")
        no_loss(client.get(f"packages/{name}").content == name.encode(), name)
