"""Pods whose user is a number that no image knows, in the group of root: what OpenShift gives each namespace."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, objects, samples, upkeep
from e2e.test_ldap import ALICE, BOB, LDAP, Directory, basic, prepare
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry

COMPONENTS = cluster.ROOT / "dist/components"
USER = 1000650000
SECURITY = {
    "fsGroup": USER,
    "runAsGroup": 0,
    "runAsNonRoot": True,
    "runAsUser": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry]) -> Registry:
    change = [{"op": "replace", "path": "/spec/template/spec/securityContext", "value": SECURITY}]
    components = [COMPONENTS / "anonymous-reads"]
    if cluster.exists("crd", "servicemonitors.monitoring.coreos.com"):
        components.append(COMPONENTS / "monitoring")
    patches = [cluster.Patch(cluster.WORKLOADS, change)]
    return deploy("random-user", cluster.OVERLAYS / "local", patches, components=components, accounts=True)


@pytest.fixture(scope="module")
def everything(
    deploy: Callable[..., Registry],
    registry: Registry,
    keys: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Registry:
    """A registry with its packages in a store, users of a directory, public packages from the other, and backups."""
    namespace, _, name = os.environ.get("E2E_LDAP", "lab-ldap/ldap").partition("/")
    if not cluster.exists("--namespace", namespace, "deployment", name):
        pytest.skip(f"E2E_LDAP names no directory, and there is none called {namespace}/{name}")
    directory = Directory(namespace, name)
    place = objects.Place.new()
    source = {
        "BACKUP_SOURCE": f"source:{place.path}",
        "RCLONE_CONFIG_SOURCE_PROVIDER": "Other",
        "RCLONE_CONFIG_SOURCE_ENDPOINT": place.endpoint,
        "RCLONE_CONFIG_SOURCE_REGION": "us-east-1",
    }
    index = {"name": "public", "url": f"http://{cluster.NAME}.{registry.namespace}.svc/simple/", "plain_http": True}
    configuration = {"data": {"upstream.json": json.dumps({"indexes": [index], "private_names": ["own-*"]})}}
    named = f"{cluster.NAME}-upstream"
    metadata = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": named}}
    of_pods = [{"op": "add", "path": "/spec/template/spec/securityContext", "value": SECURITY}]
    of_jobs = [{"op": "add", "path": "/spec/jobTemplate/spec/template/spec/securityContext", "value": SECURITY}]
    made = deploy(
        "random-user-objects",
        objects.OVERLAY,
        [
            *place.patches(),
            *basic(directory),
            cluster.Patch("ConfigMap", {**metadata, **configuration}, named),
            upkeep.site(upkeep.IN_A_STORE, {**source, **upkeep.COPIES}),
            cluster.Patch(cluster.WORKLOADS, of_pods),
            cluster.Patch("CronJob", of_jobs),
        ],
        components=[COMPONENTS / name for name in ("ldap", "upstream", "backup-object-store")],
        settled=False,
    )
    prepare(made, directory, tmp_path_factory.mktemp("directory"))
    objects.give_keys(made, keys)
    upkeep.prepare(made)
    return made


def test_it_publishes_and_serves(registry: Registry, sample_directory: Path, tmp_path: Path) -> None:
    for container in (cluster.SERVER, cluster.GATEWAY):
        assert registry.exec("id -u; id -g", container=container).split() == [str(USER), "0"]
    sample = samples.make(sample_directory, "of-a-stranger")
    publisher = registry.client(cluster.PUBLISHER)
    assert publisher.twine([sample.path]).returncode == 0
    installed = registry.client(cluster.READER).pip_install([sample], tmp_path / "installed")
    assert installed.returncode == 0, installed.stdout
    assert sample.installed_whole(tmp_path / "installed")
    (pod,) = registry.ready_pods()
    registry.kubectl("delete", "pod", pod.name)
    registry.wait_until_settled()
    assert registry.client(cluster.READER).get(f"packages/{sample.path.name}").content == sample.path.read_bytes()


def test_every_container_and_job_runs_so(
    everything: Registry, registry: Registry, sample_directory: Path, tmp_path: Path
) -> None:
    for container in (cluster.SERVER, cluster.GATEWAY, LDAP, "upstream", objects.FETCHES, objects.RCLONE):
        assert everything.exec("id -u; id -g", container=container).split() == [str(USER), "0"], container
    own, public = samples.make(sample_directory, "own-of-a-stranger"), samples.make(sample_directory, "e2e-public")
    assert registry.client(cluster.PUBLISHER).twine([public.path]).returncode == 0
    done = everything.client(ALICE).twine([own.path])
    assert done.returncode == 0, done.stdout + done.stderr
    reader = everything.client(BOB)
    eventually(lambda: reader.lists(own.normalised, own.path.name), "the listing", 30)
    installed = reader.pip_install([own, public], tmp_path / "installed")
    assert installed.returncode == 0, installed.stdout
    assert [each.project for each in (own, public) if not each.installed_whole(tmp_path / "installed")] == []
    assert "1 packages" in upkeep.job(everything, "backup", "backup-of-a-stranger")
    look = upkeep.job(everything, "restore", "look-of-a-stranger", RESTORE_DRY_RUN="yes")
    assert "nothing was restored" in look
    upkeep.tells(everything, "backup", "")
