"""Large files and many clients: nothing fails, nothing restarts, and memory does not grow with what is sent."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples
from e2e.loading import crowd_on
from e2e.memory import Memory
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Pod, Registry

LARGE = bool(os.environ.get("E2E_LARGE"))
WHEEL = 2_200_000_000 if LARGE else 300_000_000
"""Bytes of the large wheel; a signed 32-bit number is not enough for the first."""
UPLOAD = 100_000_000 if LARGE else 10_000_000
UPLOADS = 20
"""At once, as many as an unchanged registry takes."""
INSTALLERS = 200
PIPS = 20
GROWTH = 16 * samples.MEBIBYTE
"""By how much a large wheel may take more memory than a small one."""


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry]) -> Registry:
    gateway = {"name": "gateway", "env": [{"name": "MAX_UPLOAD", "value": "3Gi"}]}
    pod = {"template": {"spec": {"containers": [gateway]}}}
    limit = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "pypiserver"}, "spec": pod}
    patch = cluster.Patch("Deployment", limit, "pypiserver")
    return deploy("scale", cluster.OVERLAYS / "local", [patch], accounts=True)


@pytest.fixture
def pod(registry: Registry) -> Pod:
    """The pod, when nothing is on its way to change it."""
    (only,) = registry.wait_until_settled()
    return only


def test_memory_does_not_grow_with_the_size(
    registry: Registry, pod: Pod, sample_directory: Path, note: Callable[[str], None]
) -> None:
    """A large wheel is published and installed with the memory that a small one takes."""
    client = registry.client(cluster.PUBLISHER, pod)

    def peaks(project: str, size: int) -> dict[str, int]:
        sample = samples.make(sample_directory, project, size=size)
        target = sample_directory / "target"
        with Memory(registry.namespace, pod) as memory:
            published = client.twine([sample.path])
            assert published.returncode == 0, published.stdout
            installed = client.pip_install([sample], target)
            assert installed.returncode == 0, installed.stdout
        assert sample.installed_whole(target)
        sample.path.unlink()
        shutil.rmtree(target)
        note(f"{size:,} bytes: {memory}")
        return memory.peak

    small, large = peaks("slight", 1_000_000), peaks("heavy", WHEEL)
    assert max(large[container] - small[container] for container in small) <= GROWTH
    assert registry.pods() == [pod], "something has restarted"


def test_many_clients_at_once(
    registry: Registry, pod: Pod, sample_directory: Path, note: Callable[[str], None]
) -> None:
    """200 clients install, of which 20 are pip itself, while 20 publish: every request is answered as it should be."""
    made = [samples.make(sample_directory, f"one-of-many-{n}", size=200_000) for n in range(5)]
    client = registry.client(cluster.PUBLISHER, pod)
    assert client.twine(sample.path for sample in made).returncode == 0
    pips = [registry.client(cluster.READER, pod) for _ in made]
    projects = [sample.normalised for sample in made]
    with (
        Memory(registry.namespace, pod) as memory,
        crowd_on(registry, projects, installers=INSTALLERS - PIPS, uploads=UPLOADS, size=UPLOAD) as crowd,
        ThreadPoolExecutor(PIPS) as pool,
    ):
        installed = list(pool.map(lambda pip: pip.pip_install(made, pip.home / "target"), pips))
        eventually(crowd.published, "the end of the uploads", 300, 1)
    note(f"{UPLOADS} uploads of {UPLOAD:,} bytes, {PIPS} pips with {len(made)} wheels each: {crowd}; {memory}")
    assert [done.stdout for done in installed if done.returncode or "Retrying" in done.stdout] == []
    assert crowd.failures == []
    assert len(crowd.acknowledged) == UPLOADS
    page = client.get("simple/crowd/").text
    for name, digest in crowd.acknowledged.items():
        no_loss(f"{name}#sha256={digest}" in page, name)
    sums = registry.exec("cd /data/packages && sha256sum crowd-*", seconds=120)
    no_loss(dict(line.split()[::-1] for line in sums.splitlines()) == crowd.acknowledged, sums)
    assert registry.pods() == [pod], "something has restarted"


def test_a_pod_that_is_deleted_finishes_its_upload(
    registry: Registry, pod: Pod, note: Callable[[str], None], large_sample: samples.Sample
) -> None:
    """A client that is in the middle of an upload does not notice that the pod has been told to end."""
    client = registry.client(cluster.PUBLISHER, pod)
    begun, replaced = threading.Event(), threading.Event()
    content = large_sample.path.read_bytes()

    def progress(sent: int) -> None:
        if sent > len(content) // 4:
            begun.set()
        if sent > len(content) // 2:
            # Not over before there is another pod, however long that takes.
            replaced.wait(0.1)

    with ThreadPoolExecutor(1) as pool:
        # It goes on for longer than the pod waits before it stops to accept connections.
        upload = pool.submit(
            client.upload, large_sample.path.name, content, bytes_per_second=len(content) / 15, progress=progress
        )
        assert begun.wait(60)
        registry.kubectl("delete", "pod", pod.name, "--wait=false")
        (successor,) = eventually(lambda: [each for each in registry.ready_pods() if each.uid != pod.uid], "a new pod")
        assert not upload.done(), "the upload was too fast to prove anything"
        replaced.set()
        answer = upload.result()
    note(f"answered {answer.status_code} {answer.reason}")
    assert answer.ok
    other = registry.client(cluster.PUBLISHER, successor)
    eventually(lambda: other.lists(large_sample.normalised, large_sample.path.name), "the upload in the new pod", 5)
    assert other.get(f"packages/{large_sample.path.name}").content == content
