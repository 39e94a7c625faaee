"""Attestations are verified in a pod, with libraries of an index in the cluster; without them others publish."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cdk8s_pypiserver import (
    AttestationsSpec,
    AttestedPublisherSpec,
    AuditSpec,
    GitHubIdentitySpec,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    ServerSpec,
)
from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.pod.libraries import REQUIREMENTS
from e2e import cluster, index, samples
from e2e.waiting import eventually
from manifests import synthesize
from signed import ATTESTATION, NAME, PROJECT, SIGNER, changed, download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests

CONTAINER = "attestations"
SPEC = PyPIServerSpec(
    audit=AuditSpec(on_volume=True),
    server=ServerSpec(allow_removal=True),
    attestations=AttestationsSpec(
        publishers=[
            AttestedPublisherSpec(
                projects=["PyPI_*"],
                identity=GitHubIdentitySpec(repository=SIGNER["repository"], workflow=SIGNER["workflow"]),
            )
        ],
        libraries=f"{index.URL}/simple/",
        peers=[{"podSelector": {"matchLabels": index.LABELS}}],
        env=[{"name": "PIP_TRUSTED_HOST", "value": index.NAME}],
    ),
    network_policy=RegistryNetworkPolicySpec(),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return download(tmp_path_factory.mktemp("signed"))


@pytest.fixture(scope="module")
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Registry]:
    """A registry whose verifier has no libraries yet."""
    made = cluster.Registry("e2e-attestations", cluster.OVERLAYS / "local", tmp_path_factory.mktemp("attestations"))
    made.clear()
    restricted = {"pod-security.kubernetes.io/enforce": "restricted", cluster.OURS: "e2e"}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": made.namespace, "labels": restricted},
    }
    cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(namespace))
    manifests = [*synthesize(SPEC), cluster.credentials()]
    made.kubectl("apply", "--server-side", "--filename", "-", stdin=yaml.safe_dump_all(manifests))
    made.wait_until_settled()
    yield made
    made.close()
    if not request.session.testsfailed:
        made.remove()


def publish(registry: cluster.Registry, file: Path, attestations: object = None) -> requests.Response:
    form = {":action": "file_upload", **({"attestations": json.dumps(attestations)} if attestations else {})}
    client = registry.client(cluster.PUBLISHER)
    content = {"content": (file.name, file.read_bytes())}
    return client.session.post(client.url, data=form, files=content, timeout=60)


def remove(registry: cluster.Registry) -> int:
    client = registry.client(cluster.PUBLISHER)
    form = {":action": "remove_pkg", "name": PROJECT, "version": "0.0.19"}
    return client.session.post(client.url, data=form, timeout=60).status_code


def test_without_its_libraries_the_pod_is_ready_and_others_publish(
    registry: cluster.Registry, file: Path, tmp_path: Path
) -> None:
    answer = publish(registry, file, [ATTESTATION])
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"]
    assert publish(registry, samples.make(tmp_path, "e2e-unsigned", size=1000).path).ok
    (pod,) = registry.pods()
    assert pod.ready
    assert pod.restarts == 0


def test_what_is_signed_by_whom_the_rule_names_is_stored(
    registry: cluster.Registry,
    file: Path,
    tmp_path: Path,
    note: Callable[[str], None],
) -> None:
    registry.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(index.objects()))
    registry.kubectl("wait", "--for=condition=Ready", f"pod/{index.NAME}", "--timeout=120s", seconds=130)
    for path in index.libraries(tmp_path, runtime_files("server/attesting")[REQUIREMENTS]):
        registry.kubectl("cp", path, f"{index.NAME}:/packages/{path.name}")
    altered = changed("envelope", "signature", value="eA==")
    # An earlier try of this test may have published it.
    assert remove(registry) in {200, 404}

    def verifies() -> bool:
        return publish(registry, file, [altered]).status_code == 403

    begun = time.monotonic()
    eventually(verifies, "a verifier with its libraries", 240, 1)
    note(f"libraries installed and loaded within {time.monotonic() - begun:.0f} s of their being there")
    refused = publish(registry, file)
    assert refused.status_code == 403
    assert f"{NAME} needs an attestation of GitHub {SIGNER['repository']}" in refused.text
    client = registry.client(cluster.READER)
    assert client.session.get(f"{client.url}simple/{PROJECT}/", timeout=30).status_code == 404
    begun = time.monotonic()
    stored = publish(registry, file, [ATTESTATION])
    assert stored.ok, stored.text
    note(f"published with its attestation in {time.monotonic() - begun:.2f} s")
    served: dict[str, Any] = client.session.get(f"{client.url}packages/{NAME}.provenance", timeout=30).json()
    assert served["attestation_bundles"] == [{"publisher": SIGNER, "attestations": [ATTESTATION]}]
    memory = registry.exec("cat /proc/[0-9]*/status | awk '/VmRSS/ {sum += $2} END {print sum}'", container=CONTAINER)
    note(f"the container takes {int(memory) // 1024} MB")
    # Not of the log, which the cluster may rotate away.
    lines = registry.exec("cat /data/packages/.pypiserver/audit/*.jsonl").splitlines()
    outcomes = [(each["outcome"], each.get("status")) for each in map(json.loads, lines) if each.get("file") == NAME]
    assert ("refused", 403) in outcomes
    assert outcomes[-1] == ("done", None)


def test_a_verifier_that_is_killed_comes_back_without_the_index(registry: cluster.Registry, file: Path) -> None:
    registry.kubectl("delete", "pod", index.NAME, "--grace-period=1")
    (before,) = registry.pods()
    registry.attempt("kill 1", container=CONTAINER)
    eventually(lambda: registry.pods()[0].restarts > before.restarts, "another container", 60, 0.2)
    assert remove(registry) in {200, 404}

    def published() -> bool:
        status = publish(registry, file, [ATTESTATION]).status_code
        assert status in {200, 503}
        return status == 200

    eventually(published, "a verifier that is up again", 120, 0.5)
    (after,) = registry.pods()
    assert after.uid == before.uid
