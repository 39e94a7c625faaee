"""Old versions go from a registry on the cluster: first a report, then the server removes them, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cdk8s_pypiserver import RetentionRuleSpec, RetentionSpec
from cdk8s_pypiserver.base import images
from documents import blocks
from e2e import cluster, samples
from e2e.test_network_policy import ASK
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPONENTS = cluster.ROOT / "dist" / "components"
CRON_JOB = f"{cluster.NAME}-retention"
RULES = f"{CRON_JOB}-rules"
PROJECT = "e2e-kept"
VERSIONS = [f"{number}.0" for number in range(1, 31)]
LAST = RetentionRuleSpec(projects=["e2e-*"], keep_versions=5)
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
OLD = "202001010000"
"""A time as `touch -t` has it."""


def _rules(**fields: Any) -> cluster.Patch:  # noqa: ANN401
    """The site's own rules, as its users write them."""
    spec = RetentionSpec(rules=[LAST], most_percent=100, **fields)
    text = json.dumps(spec.configuration(port=80, tls=False, tls_name=None))
    metadata = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": RULES}}
    return cluster.Patch("ConfigMap", {**metadata, "data": {"rules.json": text}}, RULES)


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., cluster.Registry], sample_directory: Path) -> cluster.Registry:
    """Thirty versions that are years old, and one that has just come."""
    made = deploy(
        "retention",
        cluster.OVERLAYS / "local",
        [_rules(), cluster.setting("ALLOW_REMOVAL", "yes")],
        components=[COMPONENTS / each for each in ("retention", "network-policy")],
        accounts=True,
    )
    paths = [samples.make(sample_directory, PROJECT, version).path for version in VERSIONS]
    publisher = made.client(cluster.PUBLISHER)
    assert publisher.twine(paths).returncode == 0
    made.exec(f"touch -t {OLD} /data/packages/*.whl")
    young = samples.make(sample_directory, PROJECT, "0.1")
    assert publisher.twine([young.path]).returncode == 0

    def is_old() -> bool:
        times = [each["upload-time"] for each in _files(made) if each["filename"] != young.path.name]
        return len(times) == len(VERSIONS) and all(time.startswith(("2019-12", "2020-01")) for time in times)

    eventually(is_old, "an index that knows how old its files are", 120, 1)
    return made


def _files(registry: cluster.Registry) -> list[dict[str, Any]]:
    client = registry.client(cluster.READER)
    page = client.session.get(f"{client.url}simple/{PROJECT}/", headers=JSON, timeout=30).json()
    found: list[dict[str, Any]] = page["files"]
    return found


def _versions(registry: cluster.Registry) -> set[str]:
    return {each["filename"].split("-")[1] for each in _files(registry)}


def _run(registry: cluster.Registry, name: str) -> None:
    registry.kubectl("create", "job", name, f"--from=cronjob/{CRON_JOB}")


def _ended(registry: cluster.Registry, name: str) -> tuple[bool, str]:
    """Whether a Job has succeeded, and the last thing that it has said."""

    def status() -> dict[str, int]:
        found: dict[str, int] = registry.get("job", name)["status"]
        return found if found.get("succeeded") or found.get("failed") else {}

    done = eventually(status, f"the end of the job {name}", 180, 0.5)
    (pod,) = registry.get("pods", "--selector", f"job-name={name}")["items"]
    (container,) = pod["status"]["containerStatuses"]
    message: str = container["state"]["terminated"]["message"]
    return bool(done.get("succeeded")), message


def test_commands_of_the_document(registry: cluster.Registry, tmp_path: Path) -> None:
    commands = [text for kind, text in blocks(cluster.ROOT / "docs/retention.md") if kind == "bash retention"]
    assert len(commands) == 2
    (tmp_path / "uv.lock").write_text("version = 1\n")
    script = "set -eu\n" + "".join(commands).replace("-n pypiserver", f"-n {registry.namespace}")
    environment = {**os.environ, "publisher_password": cluster.PUBLISHER.password}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    succeeded, said = _ended(registry, "retention-look")
    assert succeeded
    assert said.startswith("Dry run, nothing was changed: 25 versions would go")
    report, looks = done.stdout, 0
    # Where kubelets share a disk, each clears away the logs of pods that have ended on another's node.
    while "Would go" not in report and looks < 5:
        looks += 1
        _run(registry, f"look-{looks}")
        assert _ended(registry, f"look-{looks}") == (True, said)
        report = registry.kubectl("logs", f"job/look-{looks}")
    assert f"Would go: {len(VERSIONS) - 5} versions in {len(VERSIONS) - 5} files" in report
    assert f"{PROJECT} 0.1 (1 file" in report
    assert "younger than 7 days, the minimum age" in report
    assert _versions(registry) == {*VERSIONS, "0.1"}


def test_its_pods_reach_the_registry_alone(registry: cluster.Registry) -> None:
    template = registry.get("cronjob", CRON_JOB)["spec"]["jobTemplate"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    _pod(registry, "somebody", {"app": "somebody"}, "python3", "-m", "http.server", "8080")
    _pod(registry, "free", {"app": "free"}, "sleep", "600")
    _pod(registry, "like-it", labels, "sleep", "600")
    other = f"http://{registry.get('pod', 'somebody')['status']['podIP']}:8080/"

    def ask(pod: str, url: str) -> str:
        return registry.kubectl("exec", pod, "--", "python3", "-c", ASK, url).strip()

    own = f"http://{cluster.NAME}/simple/"
    eventually(lambda: ask("free", own) == "401", "an answer of the registry to any pod", 60, 1)
    eventually(lambda: ask("free", other) == "200", "an answer of another pod", 60, 1)
    eventually(lambda: ask("like-it", own) == "401", "an answer of the registry to such a pod", 60, 1)
    # It takes a moment until the policy counts for a new pod.
    if not any(ask("like-it", other).startswith("none") for _ in range(10)):
        pytest.skip("the cluster's network does not enforce policies")
    registry.kubectl("delete", "pods", "somebody", "free", "like-it", "--wait=false")


def _pod(registry: cluster.Registry, name: str, labels: dict[str, str], *command: str) -> None:
    container = {"name": "main", "image": images.SERVER, "command": command, "securityContext": cluster.RESTRICTED}
    security = {"runAsNonRoot": True, "runAsUser": 9898, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], "securityContext": security, "terminationGracePeriodSeconds": 0},
    }
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(pod))
    registry.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_a_run_that_would_take_too_much_fails_with_the_numbers(registry: cluster.Registry) -> None:
    registry.patches[0] = _rules(dry_run=False, most_versions=10)
    registry.apply()
    _run(registry, "too-much")
    succeeded, said = _ended(registry, "too-much")
    assert not succeeded
    assert "Stopped: nothing was changed: 25 of 31 versions (80.6 %) would go" in said
    assert _versions(registry) == {*VERSIONS, "0.1"}


def test_what_goes_is_gone_though_the_server_is_killed_in_the_middle(registry: cluster.Registry) -> None:
    registry.patches[0] = _rules(dry_run=False)
    registry.apply()
    before = registry.get("pods", "--selector", "app.kubernetes.io/component=server")["items"]
    _run(registry, "now")
    eventually(lambda: len(_paths(registry)) < len(VERSIONS) + 1, "the first that is gone", 120, 0.05)
    registry.attempt("kill -9 -1")
    succeeded, said = _ended(registry, "now")
    assert succeeded, said
    assert "Removed" in said
    after = registry.get("pods", "--selector", "app.kubernetes.io/component=server")["items"]
    assert len(before) == len(after) == 1
    left = {*VERSIONS[-5:], "0.1"}
    eventually(lambda: _versions(registry) == left, "what stays", 60, 1)
    assert {path.split("-")[1] for path in _paths(registry)} == left
    _run(registry, "again")
    succeeded, said = _ended(registry, "again")
    assert succeeded
    assert said.startswith("Removed 0 versions")


def _paths(registry: cluster.Registry) -> list[str]:
    return registry.exec("cd /data/packages && ls", container=cluster.GATEWAY).split()
