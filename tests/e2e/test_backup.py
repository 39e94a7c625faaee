"""Backup, restore and drill on the cluster, by the commands of docs/backup.md, with a store that speaks S3."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from documents import blocks
from e2e import cluster, samples
from e2e.waiting import eventually
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPONENTS = ROOT / "dist" / "components"
KEYS = {"ACCESS_KEY_ID": "access", "SECRET_ACCESS_KEY": "secret-of-access"}
BUCKET = "copies"
SETTINGS = {
    "BACKUP_STORE": f"store:{BUCKET}/team",
    "RCLONE_CONFIG_STORE_ENDPOINT": "http://store:9000",
    "RCLONE_CONFIG_STORE_PROVIDER": "Rclone",
}
PROJECTS = [f"e2e-saved-{number}" for number in range(6)]
SETUP, LOOK, RESTORE, DRILL = (text for kind, text in blocks(ROOT / "docs/backup.md") if kind == "bash backup")


def _site() -> cluster.Patch:
    """Where the store is, as the document has it."""
    (shown,) = (yaml.safe_load(text) for kind, text in blocks(ROOT / "docs/backup.md") if kind == "yaml kustomization")
    (entry,) = shown["patches"]
    change = yaml.safe_load(entry["patch"])
    (container,) = change["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": name, "value": value} for name, value in SETTINGS.items()]
    return cluster.Patch("CronJob", change, entry["target"]["name"])


def _on_one_node() -> cluster.Patch:
    """Where two kubelets have one disk, each removes the logs of the other's pods."""
    spec = {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": cluster.schedulable_nodes()[0]}}}}
    return cluster.Patch(
        "Deployment",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": cluster.NAME}, "spec": spec},
        cluster.NAME,
    )


def _store() -> list[cluster.Object]:
    """A store that speaks S3: rclone itself, over a volume, with one bucket."""
    labels = {"app": "store"}
    script = f'mkdir -p /data/{BUCKET} && exec rclone serve s3 --config "" --addr :9000 --auth-key "$KEYS" /data'
    container = {
        "name": "store",
        "image": "docker.io/rclone/rclone:1.76.0",
        "command": ["sh", "-c", script],
        "env": [{"name": "KEYS", "value": ",".join(KEYS.values())}],
        "securityContext": cluster.RESTRICTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    security = {"runAsNonRoot": True, "runAsUser": 4711, "fsGroup": 4711, "seccompProfile": {"type": "RuntimeDefault"}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "store"}}, {"name": "tmp", "emptyDir": {}}]
    pod = {"securityContext": security, "containers": [container], "volumes": volumes}
    return [
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "store"}, "spec": claim},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "store"},
            "spec": {
                "selector": {"matchLabels": labels},
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "store"},
            "spec": {"selector": labels, "ports": [{"port": 9000}]},
        },
    ]


def _ways() -> cluster.Patch:
    """The store is in the cluster, and not at the port that the component has."""
    rule = {"to": [{"podSelector": {"matchLabels": {"app": "store"}}}], "ports": [{"port": 9000}]}
    runs = f"{cluster.NAME}-(backup|drill|restore)"
    return cluster.Patch("NetworkPolicy", [{"op": "add", "path": "/spec/egress/-", "value": rule}], runs)


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
        [_site(), _ways(), *patches],
        components=[COMPONENTS / each for each in ("anonymous-reads", "backup", *concerns, "network-policy")],
        accounts=True,
    )
    made.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(_store()))
    made.kubectl("rollout", "status", "deployment/store", "--timeout=120s", seconds=130)
    _run(made, SETUP)
    paths = [samples.make(sample_directory, project, "1.0").path for project in PROJECTS]
    assert made.client(cluster.PUBLISHER).twine(paths).returncode == 0
    return made


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., cluster.Registry], sample_directory: Path) -> cluster.Registry:
    return _deployed(deploy, sample_directory, "backup", "local", [_on_one_node()])


def _run(registry: cluster.Registry, script: str) -> str:
    """Run commands of the document for the namespace of this test."""
    done = subprocess.run(
        ["bash", "-c", f"set -eu -o pipefail\n{script.replace('-n pypiserver ', f'-n {registry.namespace} ')}"],
        env={**os.environ, **KEYS},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def _job(registry: cluster.Registry, name: str, condition: str = "complete", **variables: str) -> str:
    """Make a backup, and return what its container says at the end."""
    made = registry.kubectl(
        "create", "job", name, f"--from=cronjob/{cluster.NAME}-backup", "--dry-run=client", "--output=yaml"
    )
    manifest = yaml.safe_load(made)
    manifest["spec"]["backoffLimit"] = 0
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container["env"] += [{"name": key, "value": value} for key, value in variables.items()]
    registry.kubectl("create", "--filename", "-", stdin=yaml.safe_dump(manifest))
    registry.kubectl("wait", f"--for=condition={condition}", "--timeout=180s", f"job/{name}", seconds=190)
    return _message(registry, name)


def _message(registry: cluster.Registry, name: str) -> str:
    (pod,) = registry.get("pods", "--selector", f"job-name={name}")["items"]
    message: str = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    return message


def _metrics(registry: cluster.Registry) -> str:
    return registry.exec("wget -q -O - http://127.0.0.1:8081/-/metrics")


def _listed(registry: cluster.Registry) -> int:
    return registry.client(cluster.READER).get("simple/").text.count(">e2e-saved-")


def test_a_backup_is_made_and_proven(registry: cluster.Registry) -> None:
    assert f"{len(PROJECTS)} packages" in _job(registry, "backup-first")
    said = _run(registry, DRILL)
    assert f"{len(PROJECTS)} files on {len(PROJECTS)} pages are as the registry shows them" in said

    def told() -> bool:
        page = _metrics(registry)
        return 'pypiserver_backup_failed{reason=""} 0' in page and 'pypiserver_drill_failed{reason=""} 0' in page

    eventually(told, "metrics of both", 60, 1)
    assert f"pypiserver_backup_packages {len(PROJECTS)}\n" in _metrics(registry)


def test_a_volume_that_is_suddenly_emptier_is_not_backed_up(registry: cluster.Registry) -> None:
    registry.exec("mkdir /data/packages/.aside && mv /data/packages/e2e_saved_[0-2]* /data/packages/.aside/")
    message = _job(registry, "backup-emptier", "failed")
    assert f"3 of {len(PROJECTS)} files are gone" in message
    eventually(lambda: 'pypiserver_backup_failed{reason="emptier"} 1' in _metrics(registry), "the reason", 60, 1)
    registry.exec("rm -r /data/packages/.aside")
    eventually(lambda: "e2e-saved-1" not in registry.client(cluster.READER).get("simple/").text, "the loss", 60, 1)


def test_what_was_lost_is_restored_into_the_living_registry(registry: cluster.Registry) -> None:
    assert "to be restored: 3 files" in _run(registry, LOOK)
    assert "e2e-saved-1" not in registry.client(cluster.READER).get("simple/").text
    assert "restored 3 files" in _run(registry, RESTORE)
    eventually(lambda: "e2e-saved-1" in registry.client(cluster.READER).get("simple/").text, "what was restored", 60, 1)
    assert registry.pods()
    assert "packages" in _job(registry, "backup-again")


def test_a_store_that_is_away_is_told_and_the_next_run_succeeds(registry: cluster.Registry) -> None:
    registry.kubectl("scale", "deployment/store", "--replicas=0")
    eventually(lambda: not registry.get("pods", "--selector", "app=store")["items"], "the end of the store", 60, 1)
    _job(registry, "backup-away", "failed", RCLONE_RETRIES="1", RCLONE_LOW_LEVEL_RETRIES="1")
    eventually(lambda: 'pypiserver_backup_failed{reason="away"} 1' in _metrics(registry), "the reason", 60, 1)
    registry.kubectl("scale", "deployment/store", "--replicas=1")
    registry.kubectl("rollout", "status", "deployment/store", "--timeout=120s", seconds=130)
    assert "packages" in _job(registry, "backup-back")


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY", "another", "denied"),
        ("BACKUP_STORE", "store:no-such-bucket/team", "missing"),
        ("BACKUP_KEEP", "none", "settings"),
    ],
)
def test_what_is_wrong_is_told(registry: cluster.Registry, variable: str, value: str, reason: str) -> None:
    message = _job(registry, f"wrong-{reason}", "failed", **{variable: value})
    assert message
    if reason != "settings":
        # What is set wrong may be where the status is.
        eventually(lambda: f'pypiserver_backup_failed{{reason="{reason}"}} 1' in _metrics(registry), reason, 60, 1)


def test_pods_on_several_nodes_are_backed_up_proven_and_restored(
    deploy: Callable[..., cluster.Registry], sample_directory: Path, shared_class: str
) -> None:
    patches = [cluster.storage(shared_class), cluster.exposure("pypi.e2e.example", "none", "none")]
    registry = _deployed(deploy, sample_directory, "backup-shared", "ha", patches)
    assert len({pod.node for pod in registry.ready_pods()}) == min(2, len(cluster.schedulable_nodes()))
    assert f"{len(PROJECTS)} packages" in _job(registry, "backup-first")
    registry.kubectl("create", "job", "drill", f"--from=cronjob/{cluster.NAME}-drill")
    registry.kubectl("wait", "--for=condition=complete", "--timeout=180s", "job/drill", seconds=190)
    proven = f"{len(PROJECTS)} files on {len(PROJECTS)} pages are as the registry shows them"
    assert proven in _message(registry, "drill")
    registry.exec("rm /data/packages/e2e_saved_[0-2]*")
    manifest = yaml.safe_load(
        registry.kubectl(
            "create", "job", "restore", f"--from=cronjob/{cluster.NAME}-restore", "--dry-run=client", "--output=yaml"
        )
    )
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container["env"] = [each for each in container["env"] if each["name"] != "RESTORE_DRY_RUN"]
    container["env"].append({"name": "RESTORE_DRY_RUN", "value": "no"})
    registry.kubectl("create", "--filename", "-", stdin=yaml.safe_dump(manifest))
    registry.kubectl("wait", "--for=condition=complete", "--timeout=180s", "job/restore", seconds=190)
    assert "restored 3 files" in _message(registry, "restore")
    eventually(lambda: _listed(registry) == len(PROJECTS), "what was restored", 60, 1)
