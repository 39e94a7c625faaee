"""Containers that are killed and pods that are deleted, at random, while clients publish, remove and install."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import requests

from documents import blocks
from e2e import cluster, objects, samples
from e2e.churn import LINK, REASON, YANKED
from e2e.killing import Killer, running
from e2e.load import busy
from e2e.loading import REFUSED, churn_on
from e2e.waiting import eventually
from losses import no_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.clients import Client
    from e2e.cluster import Pod, Registry
    from e2e.loading import Churn
    from e2e.samples import Sample

SECONDS = float(os.environ.get("E2E_KILL_SECONDS", "15"))
SEED = int(os.environ.get("E2E_KILL_SEED", random.SystemRandom().randrange(10_000)))
REMOVALS = cluster.setting("ALLOW_REMOVAL", "yes")
AUDITED = cluster.setting("AUDIT", "volume")
(VERIFY,) = (text for kind, text in blocks(cluster.ROOT / "docs/audit.md") if kind == "bash audit")
DELETIONS = {"deleted": (), "cut off": ("--grace-period=1",), "cut off at once": ("--grace-period=0", "--force")}
"""The ways in which a pod goes: in its own time, after a second, or without being waited for."""
ALTERED = "installed, but not what was published"
HOST = "pypi.e2e.example"
LISTED = 2.0
"""Seconds after which each pod lists what another has taken: docs/storage.md promises one."""
SERVING_ON = 15.0
"""Seconds for which pages may be served by a pod whose server is away, which nobody can tell what others publish: until
its readiness probe has failed twice, and every node knows."""


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """What kills containers."""
    made = Killer()
    yield made
    made.remove()


def test_one_pod(deploy: Callable[..., Registry], killer: Killer, note: Callable[[str], None]) -> None:
    """What was acknowledged is there whole, nothing else is listed, and clients only ever have to try again."""
    registry = deploy("kills", cluster.OVERLAYS / "local", [REMOVALS, AUDITED], accounts=True)
    churn = survives(registry, killer, note, lag=3)
    (pod,) = registry.wait_until_settled()
    client = registry.client(cluster.PUBLISHER, pod)
    lists_the_truth(client, churn)
    holds_the_truth(client, churn)
    assert not registry.exec("ls /data/packages/.pypiserver/unfinished").split()
    is_audited(registry, churn)
    refusals_are_audited(registry, pod)


def test_two_pods(
    deploy: Callable[..., Registry], killer: Killer, shared_class: str, note: Callable[[str], None]
) -> None:
    """The same with two pods on one volume, where reading goes on."""
    patches = [cluster.storage(shared_class), cluster.exposure(HOST, "none", "none"), REMOVALS, AUDITED]
    registry = deploy("kills-ha", cluster.OVERLAYS / "ha", patches, accounts=True)
    eventually(lambda: len(registry.ready_pods()) >= 2, "two pods", 120, 0.5)
    churn = survives(registry, killer, note, lag=SERVING_ON)
    assert churn.ledger["longest_without_a_read"] < SERVING_ON * busy()
    pods = registry.wait_until_settled()
    assert len(pods) >= 2
    for pod in pods:
        client = registry.client(cluster.PUBLISHER, pod)
        lists_the_truth(client, churn)
        holds_the_truth(client, churn)
        refusals_are_audited(registry, pod)
    is_audited(registry, churn)


def test_object_store(
    deploy: Callable[..., Registry], killer: Killer, keys: tuple[str, str], note: Callable[[str], None]
) -> None:
    """The same with a store, whose objects are what was acknowledged and nothing else, while the writer is killed."""
    place = objects.Place.new()
    patches = [*place.patches(), REMOVALS]
    registry = deploy("kills-store", objects.OVERLAY, patches, accounts=True, settled=False)
    objects.give_keys(registry, keys)
    churn = survives(registry, killer, note, lag=SERVING_ON, role="writer")
    pods = registry.wait_until_settled()
    for pod in pods:
        lists_the_truth(registry.client(cluster.PUBLISHER, pod), churn, objects.LISTED)
    holds_the_truth(registry.client(cluster.PUBLISHER), churn)
    found = place.digests(registry)
    del found[churn.kept]
    expected = {name: file["digest"] for name, file in churn.names("stored").items()}
    no_loss(found == expected, f"in the bucket or not: {found.items() ^ expected.items()}")


def survives(registry: Registry, killer: Killer, note: Callable[[str], None], *, lag: float, role: str = "") -> Churn:
    """Kill pods of a role while clients are at work, and return what came of their requests."""
    sample = samples.make(registry.directory, registry.namespace, size=1_000_000)
    done = registry.client(cluster.PUBLISHER).twine([sample.path])
    assert done.returncode == 0, done.stdout
    with (
        churn_on(registry, sample.path.name, removals=True, lag=lag) as churn,
        installing(registry, sample) as installs,
    ):
        kills = under_fire(registry, killer, random.Random(SEED), role)  # noqa: S311 - no secret
    note(f"E2E_KILL_SEED={SEED}: {dict(kills)}; {churn}; pip: {dict(installs)}")
    no_loss(not churn.wrong, churn.wrong)
    return churn


def under_fire(registry: Registry, killer: Killer, chance: random.Random, role: str) -> Counter[str]:
    """Kill one victim after the other, at moments that nobody has chosen, and count them."""
    kills: Counter[str] = Counter()
    begun = time.monotonic()
    while time.monotonic() < begun + SECONDS:
        time.sleep(chance.uniform(0.2, 3))
        pod = chance.choice([each for each in registry.ready_pods() if each.role == role])
        # A container that ends for the second time is started again only after 10 s, then 20 s, and so on: a new pod
        # takes its place.
        containers = running(registry.get("pod", pod.name))
        fresh = [each["name"] for each in containers if not each["restartCount"]]
        victim = chance.choice([*fresh, "pod"])
        if victim == "pod":
            way = chance.choice(list(DELETIONS))
            kills[f"pod {way}"] += 1
            delete(registry, pod, way)
        else:
            kills[victim] += 1
            killer.kill(registry, pod, victim)
    return kills


def delete(registry: Registry, pod: Pod, way: str) -> None:
    """Delete a pod, and wait until another one is in its place."""
    count = sum(not each.leaving for each in registry.pods())
    registry.kubectl("delete", "pod", pod.name, "--wait=false", *DELETIONS[way])

    def replaced() -> bool:
        others = [each for each in registry.pods() if each.uid != pod.uid and not each.leaving]
        return len(others) >= count and all(each.ready for each in others)

    eventually(replaced, f"a pod in the place of {pod.name}", 180)


@contextmanager
def installing(registry: Registry, sample: Sample) -> Iterator[Counter[str]]:
    """Install a wheel with pip again and again; after the block, the outcomes are counted."""
    client = registry.client(cluster.READER)
    outcomes: Counter[str] = Counter()
    ended = threading.Event()

    def install() -> None:
        while not ended.wait(1):
            outcomes[outcome_of_pip(client, sample)] += 1

    thread = threading.Thread(target=install)
    thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        thread.join()
    no_loss(ALTERED not in outcomes, outcomes)
    assert set(outcomes) <= {"installed", "installed after another attempt", "away"}


def outcome_of_pip(client: Client, sample: Sample) -> str:
    """What has become of one installation."""
    target = client.home / "target"
    shutil.rmtree(target, ignore_errors=True)
    done = client.pip_install([sample], target)
    retried = "Retrying (" in done.stdout
    if done.returncode == 0:
        if not sample.installed_whole(target):
            return ALTERED
        return "installed after another attempt" if retried else "installed"
    return "away" if retried else done.stdout


def lists_the_truth(client: Client, churn: Churn, within: float = LISTED) -> None:
    """Compare the whole index with what was acknowledged."""
    stored = churn.names("stored")
    assert stored.keys() | churn.names("removed").keys() == churn.ledger["files"].keys(), "some have no outcome"
    expected = {name: (file["digest"], file["yanked"]) for name, file in stored.items()}

    def listed() -> dict[str, tuple[str, bool]]:
        found: dict[str, tuple[str, bool]] = {}
        for project in {file["project"] for file in stored.values()}:
            page = client.get(f"simple/{project}/")
            assert page.ok
            yanked = set(YANKED.findall(page.text))
            found |= {name: (digest, name in yanked) for name, digest in LINK.findall(page.text)}
        return found

    with suppress(AssertionError):
        eventually(lambda: listed() == expected, "what was acknowledged, and nothing else", within * busy())
    found = listed()
    no_loss(found == expected, f"listed or not: {found.items() ^ expected.items()}")


def holds_the_truth(client: Client, churn: Churn) -> None:
    """Compare every file with what was acknowledged."""
    for name, file in churn.names("stored").items():
        answer = client.get(f"packages/{name}")
        assert answer.status_code in {requests.codes.ok, requests.codes.not_found}, f"{name}: {answer.status_code}"
        no_loss(hashlib.sha256(answer.content).hexdigest() == file["digest"], name)
    for name in churn.names("removed"):
        no_loss(client.get(f"packages/{name}").status_code == requests.codes.not_found, f"{name} is back")


def is_audited(registry: Registry, churn: Churn) -> None:
    """Compare the audit trail on the volume with what was asked for and what was acknowledged."""
    command = VERIFY.replace("-n pypiserver ", f"-n {registry.namespace} ")
    done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=False, timeout=60)
    no_loss(done.stdout.startswith("whole: "), done.stdout + done.stderr)
    written = registry.exec("cat /data/packages/.pypiserver/audit/*.jsonl")
    keep_secrets(written)
    files = churn.ledger["files"]
    happened: Counter[tuple[str, str, str]] = Counter()
    for line in map(json.loads, written.splitlines()):
        if line["audit"] == "start":
            continue
        no_loss((line["user"], line["right"]) == (cluster.PUBLISHER.user, "publishers"), line)
        # What was cut off on its way is refused before it is known what it was.
        name = line.get("file") or f"{line.get('project')}-{line.get('version')}.tar.gz"
        no_loss(name in files or name == churn.kept or line["outcome"] in {"refused", "failed"}, line)
        if name in files:
            no_loss(line.get("sha256", files[name]["digest"]) == files[name]["digest"], line)
        if line["audit"] == "yank":
            no_loss(line["reason"] == REASON or line["outcome"] in {"refused", "failed"}, line)
        if (line["outcome"], name) == ("refused", churn.kept):
            no_loss(line["status"] == requests.codes.conflict and "already exists" in line["reason"], line)
        happened[line["audit"], line["outcome"], name] += 1
    for name, file in files.items():
        for event, sent in file["sent"].items():
            begun, ended = happened[event, "begun", name], happened[event, "done", name]
            # One that was cut off between the change and its second line was acknowledged to nobody.
            no_loss(1 <= begun <= sent, f"{event} {name}: sent {sent} times, begun {begun} times")
            no_loss(file["done"].get(event, 0) <= ended <= begun, f"{event} {name}: done {ended} times, not {file}")
            assert event != "publish" or ended <= 1
    for event, outcome, name in happened:
        if outcome in {"begun", "done"} and name != churn.kept:
            no_loss(event in files[name]["sent"], f"{event} {name}: nobody has asked for it")
    refused = happened["publish", "refused", churn.kept]
    conflict = str(int(requests.codes.conflict))
    no_loss(churn.ledger["refused"].get(conflict, 0) <= refused <= churn.ledger["sent"].get(conflict, 0), refused)


def refusals_are_audited(registry: Registry, pod: Pod) -> None:
    """Let those who may not publish try to, and look for the lines about it, which are on standard output alone."""
    clients = {status: registry.client(account, pod) for status, account in REFUSED.items()}
    # Of a wrong password not even the user: whoever swaps the two types a password there.
    expected = {(401, "refused", None), (403, "refused", cluster.READER.user)}
    with printed(registry, pod, cluster.SERVER) as output, printed(registry, pod, cluster.GATEWAY) as of_gateway:

        def told() -> bool:
            for status, client in clients.items():
                assert client.upload("refused-1.0.tar.gz", b"content").status_code == status
            logins = [line for line in output.read_text().splitlines(keepends=True) if '"audit":"login"' in line]
            lines = [json.loads(line) for line in logins if line.endswith("\n")]
            assert all(line["asked_for"] == "publisher" for line in lines)
            return {(line["status"], line["outcome"], line.get("user")) for line in lines} == expected

        eventually(told, "the lines of refused logins", 60, 1)
        keep_secrets(output.read_text() + of_gateway.read_text())


@contextmanager
def printed(registry: Registry, pod: Pod, container: str) -> Iterator[Path]:
    """A file with what a container prints from now on, which of a log may be gone: nodes may share its directory."""
    path = registry.directory / f"{pod.name}-{container}"
    command = ["kubectl", "--namespace", registry.namespace, "attach", f"pod/{pod.name}", "--container", container]
    with path.open("w") as file, subprocess.Popen([*command, "--quiet"], stdout=file) as process:
        yield path
        process.terminate()


def keep_secrets(text: str) -> None:
    """Look for the passwords."""
    for account in (cluster.PUBLISHER, *REFUSED.values()):
        encoded = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
        assert not [secret for secret in (account.password, encoded) if secret in text], "a password is in it"
