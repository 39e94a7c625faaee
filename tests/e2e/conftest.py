"""What the end-to-end tests share: a place in the cluster for each module, and what they say about a failure.

The tests run against the cluster that KUBECONFIG names. What a cluster lacks is skipped, with the reason. Variables:

E2E_SHARED_CLASS: storage class of volumes that all nodes mount at once; `shared` if there is one.
E2E_SIZED_CLASS: storage class of volumes that are as large as was asked for, and no larger; `sized` if there is one.
E2E_ATTRIBUTE_CACHE_SECONDS: how long the file system of E2E_SHARED_CLASS may show an old directory (NFS: actimeo); 0.
E2E_ISSUER: cert-manager's ClusterIssuer; `lab-ca` if there is one.
E2E_PROMETHEUS: NAMESPACE/NAME of the Service of a Prometheus whose operator watches all namespaces;
    `lab-monitoring/prometheus` if there is one.
E2E_LDAP: NAMESPACE/NAME of the Deployment and Service of a directory with the lab's users; `lab-ldap/ldap` if there is
    one.
E2E_INGRESS_SERVICE: NAMESPACE/NAME of the ingress controller's Service; `lab-ingress/traefik` if there is one.
E2E_NODE: the node that is drained, and lost by E2E_NODE_CRASH; the newest one.
E2E_NODE_CRASH, E2E_NODE_UP: shell commands that make this node vanish without a word, and bring it back.
E2E_S3_ENDPOINT, E2E_S3_BUCKET, E2E_S3_KEYS: a store that speaks S3, a bucket in it, and a key as ID:SECRET; the Service
    `s3` of the namespace `lab-s3`, its bucket `packages` and the key in its Secret `s3-credentials`, if there is one.
E2E_S3_IMAGE: an image of Versity's S3 gateway, for stores that are a test's own; that of the Deployment `s3` of the
    namespace `lab-s3`, if there is one.
E2E_LARGE: if set, the wheel that must not cost memory has 2.1 GB instead of 300 MB, and 20 uploads at once 100 MB each
    instead of 10 MB; this takes 15 GB of disk for a while.
E2E_KILL_SECONDS: how long containers are killed under load, in each of three deployments; 15.
E2E_KILL_SEED: what the choice among them depends on; printed with the figures, and another one in every run.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples
from e2e.lost_node import LosableNode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

FAILED = pytest.StashKey[bool]()
REGISTRIES = pytest.StashKey[list[cluster.Registry]]()
MEASURED = "measured"
"""Under this name a report has what its test has measured, since it may come from another process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this directory."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the cluster says about the registries of its module."""
    del call
    report = yield
    if report.failed and (module := item.getparent(pytest.Module)):
        module.stash[FAILED] = True
        for registry in module.stash.get(REGISTRIES, []):
            report.sections.append((f"namespace {registry.namespace}", registry.report()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests have measured, also when all of them have passed."""
    reports = [each for which in ("passed", "failed") for each in terminalreporter.getreports(which)]
    lines = [f"{each.nodeid}: {line}" for each in reports for name, line in each.user_properties if name == MEASURED]
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a line about what a test has measured, for the end of the output."""
    return lambda line: request.node.user_properties.append((MEASURED, line))


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> None:
    cluster.kubectl("get", "--raw", "/readyz", seconds=20)


@pytest.fixture(scope="module")
def deploy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., cluster.Registry]]:
    """Deploys an overlay to a namespace of its own, which is removed at the end unless a test of the module failed."""
    module = request.node
    registries: list[cluster.Registry] = []
    module.stash[REGISTRIES] = registries

    def make(  # noqa: PLR0913
        suffix: str,
        overlay: Path,
        patches: Sequence[cluster.Patch] = (),
        *,
        components: Sequence[Path] = (),
        accounts: bool = False,
        settled: bool = True,
    ) -> cluster.Registry:
        registry = cluster.Registry(f"e2e-{suffix}", overlay, tmp_path_factory.mktemp(suffix))
        registry.patches += patches
        registry.components += components
        registry.accounts = accounts
        registry.clear()
        registries.append(registry)
        registry.apply()
        if settled:
            registry.wait_until_settled()
        return registry

    yield make
    for registry in registries:
        registry.close()
        if not module.stash.get(FAILED, default=False):
            registry.remove()


@pytest.fixture(scope="module")
def sample_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for samples; removed early, since pytest keeps those of three runs and samples are large."""
    directory = tmp_path_factory.mktemp("samples")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def large_sample(sample_directory: Path) -> samples.Sample:
    """A wheel of 100 MB."""
    return samples.make(sample_directory, "large", size=100 * samples.MEBIBYTE)


def named_or_skip(variable: str, kind: str, default: str) -> str:
    """What the variable names, or `default` if the cluster has an object of this kind and name."""
    if name := os.environ.get(variable):
        return name
    if cluster.exists(kind, default):
        return default
    pytest.skip(f"{variable} names no {kind}, and there is none called {default}")


@pytest.fixture(scope="module")
def shared_class() -> str:
    """The storage class of volumes that all nodes mount."""
    return named_or_skip("E2E_SHARED_CLASS", "storageclass", "shared")


@pytest.fixture(scope="module")
def sized_class() -> str:
    """The storage class of volumes that can be full."""
    return named_or_skip("E2E_SIZED_CLASS", "storageclass", "sized")


@pytest.fixture(scope="module")
def issuer() -> str:
    """cert-manager's ClusterIssuer."""
    if not cluster.exists("crd", "certificates.cert-manager.io"):
        pytest.skip("the cluster has no cert-manager")
    name = os.environ.get("E2E_ISSUER", "lab-ca")
    if not cluster.exists("clusterissuer", name):
        pytest.skip(f"E2E_ISSUER names no ClusterIssuer, and there is none called {name}")
    return name


@pytest.fixture(scope="module")
def nodes() -> list[str]:
    """The nodes that take pods; that which is drained and lost is the last one."""
    found = cluster.schedulable_nodes()
    if len(found) < 2:
        pytest.skip("one schedulable node only")
    return found


@pytest.fixture
def crashing_node(nodes: list[str]) -> Iterator[LosableNode]:
    """The last node, which may be lost; it is brought back afterwards."""
    node = LosableNode(nodes[-1])
    yield node
    node.bring_back()


@pytest.fixture(scope="module")
def store_image() -> str:
    """The image of Versity's S3 gateway."""
    if named := os.environ.get("E2E_S3_IMAGE"):
        return named
    found = cluster.run("get", "deployment", "s3", "--namespace", "lab-s3", "--output", "json")
    if found.returncode:
        pytest.skip("E2E_S3_IMAGE names no image of Versity's S3 gateway, and there is no Deployment lab-s3/s3")
    (container,) = json.loads(found.stdout)["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    """The id and the secret of a key of the store."""
    if named := os.environ.get("E2E_S3_KEYS"):
        id_, _, secret = named.partition(":")
        return id_, secret
    found = cluster.run("get", "secret", "s3-credentials", "--namespace", "lab-s3", "--output", "json")
    if found.returncode:
        pytest.skip("E2E_S3_KEYS names no keys of a store, and there is no Secret lab-s3/s3-credentials")
    data = json.loads(found.stdout)["data"]
    id_, secret = (base64.b64decode(data[f"AWS_{name}"]).decode() for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    _make_bucket(id_, secret)
    return id_, secret


def _make_bucket(key: str, secret: str) -> None:
    """Make the bucket of the store that was found in the cluster, unless it is there."""
    forward = cluster.Forward("lab-s3", "service/s3", 9000)
    store = {
        "type": "s3",
        "provider": "Other",
        "region": "us-east-1",
        "endpoint": f"http://127.0.0.1:{forward.port}",
        "access_key_id": key,
        "secret_access_key": secret,
    }
    environment = {f"RCLONE_CONFIG_STORE_{name.upper()}": value for name, value in store.items()}
    try:
        command = ["rclone", "mkdir", "--retries=10", "--retries-sleep=1s", "store:packages"]
        subprocess.run(command, env={**os.environ, **environment}, check=True)
    finally:
        forward.close()
