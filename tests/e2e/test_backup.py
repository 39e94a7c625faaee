"""Backup, restore and drill on the cluster, by the commands of docs/backup.md, with a store that speaks S3."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, samples, upkeep
from e2e.waiting import eventually
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPONENTS = ROOT / "dist" / "components"
PROJECTS = [f"e2e-saved-{number}" for number in range(6)]


def _on_one_node() -> cluster.Patch:
    """Where two kubelets have one disk, each removes the logs of the other's pods."""
    spec = {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": cluster.schedulable_nodes()[0]}}}}
    return cluster.Patch(
        "Deployment",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": cluster.NAME}, "spec": spec},
        cluster.NAME,
    )


def _deployed(  # noqa: PLR0913, PLR0917
    deploy: Callable[..., cluster.Registry],
    sample_directory: Path,
    suffix: str,
    overlay: str,
    patches: list[cluster.Patch],
    concerns: tuple[str, ...] = (),
) -> cluster.Registry:
    """A registry with six projects, and a store, where nobody reaches whom the policies do not name."""
    made = deploy(
        suffix,
        cluster.OVERLAYS / overlay,
        [upkeep.site(upkeep.ON_A_VOLUME, upkeep.COPIES), upkeep.WAY_TO_COPIES, *patches],
        components=[COMPONENTS / each for each in ("anonymous-reads", "backup", *concerns, "network-policy")],
        accounts=True,
    )
    upkeep.prepare(made)
    paths = [samples.make(sample_directory, project, "1.0").path for project in PROJECTS]
    assert made.client(cluster.PUBLISHER).twine(paths).returncode == 0
    return made


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., cluster.Registry], sample_directory: Path) -> cluster.Registry:
    return _deployed(deploy, sample_directory, "backup", "local", [_on_one_node()])


def _listed(registry: cluster.Registry) -> int:
    return registry.client(cluster.READER).get("simple/").text.count(">e2e-saved-")


def test_a_backup_is_made_and_proven(registry: cluster.Registry) -> None:
    assert f"{len(PROJECTS)} packages" in upkeep.done(registry, upkeep.BACKUP)
    said = upkeep.done(registry, upkeep.DRILL)
    assert f"{len(PROJECTS)} files on {len(PROJECTS)} pages are as the registry shows them" in said
    for kind in ("backup", "drill"):
        upkeep.tells(registry, kind, "")
    assert f"pypiserver_backup_packages {len(PROJECTS)}\n" in upkeep.metrics(registry)


def test_a_volume_that_is_suddenly_emptier_is_not_backed_up(registry: cluster.Registry) -> None:
    registry.exec("mkdir /data/packages/.aside && mv /data/packages/e2e_saved_[0-2]* /data/packages/.aside/")
    message = upkeep.job(registry, "backup", "backup-emptier", "failed")
    assert f"3 of {len(PROJECTS)} files are gone" in message
    upkeep.tells(registry, "backup", "emptier")
    registry.exec("rm -r /data/packages/.aside")
    eventually(lambda: "e2e-saved-1" not in registry.client(cluster.READER).get("simple/").text, "the loss", 60, 1)


def test_what_was_lost_is_restored_into_the_living_registry(registry: cluster.Registry) -> None:
    assert "to be restored: 3 files" in upkeep.done(registry, upkeep.LOOK)
    assert "e2e-saved-1" not in registry.client(cluster.READER).get("simple/").text
    assert "restored 3 files" in upkeep.done(registry, upkeep.RESTORE)
    eventually(lambda: "e2e-saved-1" in registry.client(cluster.READER).get("simple/").text, "what was restored", 60, 1)
    assert registry.pods()
    assert "packages" in upkeep.job(registry, "backup", "backup-again")


def test_a_store_that_is_away_is_told_and_the_next_run_succeeds(registry: cluster.Registry) -> None:
    upkeep.away(registry)
    upkeep.job(registry, "backup", "backup-away", "failed", RCLONE_RETRIES="1", RCLONE_LOW_LEVEL_RETRIES="1")
    upkeep.tells(registry, "backup", "away")
    upkeep.back(registry)
    assert "packages" in upkeep.job(registry, "backup", "backup-back")


def test_copies_are_encrypted_by_the_password_of_the_secret(registry: cluster.Registry) -> None:
    upkeep.run(registry, upkeep.ENCRYPT)
    obscured = base64.b64decode(registry.get("secret", "backup-passwords")["data"]["password"]).decode()
    crypt = {"TYPE": "crypt", "REMOTE": f"store:{upkeep.BUCKET}/encrypted", "PASSWORD": obscured}
    variables = {"BACKUP_STORE": "crypt:", **{f"RCLONE_CONFIG_CRYPT_{key}": value for key, value in crypt.items()}}
    assert f"{len(PROJECTS)} packages" in upkeep.job(registry, "backup", "backup-encrypted", **variables)
    kept = registry.exec(f"ls -R /data/{upkeep.BUCKET}/encrypted", pod="deployment/store", container="store")
    assert len(kept.split()) > len(PROJECTS)
    assert not any(name in kept for name in ("files", "manifests", "e2e"))
    assert "to be restored: 0 files" in upkeep.job(registry, "restore", "look-encrypted", **variables)


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY", "another", "denied"),
        ("BACKUP_STORE", "store:no-such-bucket/team", "missing"),
        ("BACKUP_KEEP", "none", "settings"),
    ],
)
def test_what_is_wrong_is_told(registry: cluster.Registry, variable: str, value: str, reason: str) -> None:
    message = upkeep.job(registry, "backup", f"wrong-{reason}", "failed", **{variable: value})
    assert message
    if reason != "settings":
        # What is set wrong may be where the status is.
        upkeep.tells(registry, "backup", reason)


def _spread(registry: cluster.Registry) -> bool:
    """Whether the pods are on two nodes; if not, one of them is made anew: the scheduler prefers that, and no more."""
    pods = registry.wait_until_settled()
    if len({pod.node for pod in pods}) >= min(2, len(cluster.schedulable_nodes())):
        return True
    registry.kubectl("delete", "pod", pods[0].name)
    return False


def test_pods_on_several_nodes_are_backed_up_proven_and_restored(
    deploy: Callable[..., cluster.Registry], sample_directory: Path, shared_class: str
) -> None:
    patches = [cluster.storage(shared_class), cluster.exposure("pypi.e2e.example", "none", "none")]
    registry = _deployed(deploy, sample_directory, "backup-shared", "ha", patches)
    eventually(lambda: _spread(registry), "pods on two nodes, if there are two", 240, 1)
    assert f"{len(PROJECTS)} packages" in upkeep.job(registry, "backup", "backup-first")
    proven = f"{len(PROJECTS)} files on {len(PROJECTS)} pages are as the registry shows them"
    assert proven in upkeep.job(registry, "drill", "drill")
    registry.exec("rm /data/packages/e2e_saved_[0-2]*")
    assert "restored 3 files" in upkeep.job(registry, "restore", "restore", RESTORE_DRY_RUN="no")
    eventually(lambda: _listed(registry) == len(PROJECTS), "what was restored", 60, 1)
