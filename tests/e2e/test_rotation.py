"""A Secret that rotates under load: whose entry stays notices nothing, and who is gone is refused in time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from documents import blocks
from e2e import cluster, samples
from e2e.clients import Account
from e2e.loading import load_on
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.clients import Client
    from e2e.cluster import Registry

DOCUMENT = cluster.ROOT / "docs/credentials.md"
OLD = Account(user="robot-1", password="the old p@ss:word")
NEW = Account(user="robot-2", password="the new p@ss:word")


def bound() -> int:
    """The seconds that the document promises."""
    (seconds,) = set(re.findall(r"within (\d+) s", DOCUMENT.read_text()))
    return int(seconds)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the Secret is made of."""
    place = tmp_path_factory.mktemp("rotation")
    for account, file in ((cluster.PUBLISHER, "publishers"), (OLD, "publishers"), (cluster.READER, "readers")):
        command = [sys.executable, "-m", "cdk8s_pypiserver", "user", "add", file, account.user]
        subprocess.run(command, cwd=place, check=True, text=True, input=f"{account.password}\n")
    return place


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], place: Path, shared_class: str) -> Registry:
    registry = deploy(
        "rotation",
        cluster.OVERLAYS / "ha",
        [cluster.storage(shared_class), cluster.exposure("pypi.e2e.example", "none", "none")],
        settled=False,
    )
    command = [sys.executable, "-m", "cdk8s_pypiserver", "user", "secret"]
    files = ["--publishers", "publishers", "--readers", "readers"]
    made = subprocess.run([*command, *files], cwd=place, check=True, capture_output=True, text=True)
    registry.kubectl("apply", "--filename", "-", stdin=made.stdout)
    eventually(lambda: len(registry.ready_pods()) >= 2, "two pods", 180, 0.5)
    registry.wait_until_settled()
    return registry


def statuses(clients: list[Client]) -> list[int]:
    return [client.get("simple/").status_code for client in clients]


def test_a_secret_rotates_under_load(
    registry: Registry, place: Path, sample_directory: Path, note: Callable[[str], None]
) -> None:
    sample = samples.make(sample_directory, "rotated")
    pods = registry.ready_pods()
    publisher = registry.client(cluster.PUBLISHER)
    assert publisher.upload(sample.path.name, sample.path.read_bytes()).ok
    old, new = ([registry.client(account, pod) for pod in pods] for account in (OLD, NEW))
    # What the gateway was told before the change is what it may go by for a while after it.
    assert statuses(old) == [200] * len(pods)
    assert statuses(new) == [401] * len(pods)
    (commands,) = (text for kind, text in blocks(DOCUMENT) if kind == "bash rotation")
    with load_on(registry, ["/simple/", "/simple/rotated/", f"/packages/{sample.path.name}"]) as load:
        begun = time.monotonic()
        subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands.replace("-n pypiserver", f"-n {registry.namespace}")],
            check=True,
            cwd=place,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "robot_password": NEW.password,
            },
        )
        times = {}
        for what, clients, expected in (("taken", new, 200), ("refused", old, 401)):
            eventually(
                lambda clients=clients, expected=expected: statuses(clients) == [expected] * len(pods),  # type: ignore[misc]
                f"credentials that are {what} by {len(pods)} pods",
                bound(),
                1,
            )
            times[what] = round(time.monotonic() - begun)
    note(f"in {len(pods)} pods the new password was taken and the old one refused after {times} s; {load}")
    assert load.failures == []
    assert load.total["fresh"] > 0
    assert load.total["uploads"] > 0
    # The autoscaler may have added some.
    after = {pod.uid: pod.restarts for pod in registry.ready_pods()}
    assert {pod.uid: after.get(pod.uid) for pod in pods} == {pod.uid: pod.restarts for pod in pods}
