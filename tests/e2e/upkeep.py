"""The Jobs of a backup on the cluster, by the commands of docs/backup.md, and a store that keeps the copies."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from cdk8s_pypiserver.base import images
from documents import blocks
from e2e import cluster
from e2e.waiting import eventually
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENT = ROOT / "docs/backup.md"
COMMANDS = [text for kind, text in blocks(DOCUMENT) if kind == "bash backup"]
SETUP, READER, BACKUP, ENCRYPT, LOOK, RESTORE, DRILL = COMMANDS
ON_A_VOLUME, IN_A_STORE = (yaml.safe_load(text) for kind, text in blocks(DOCUMENT) if kind == "yaml kustomization")
"""The kustomizations that the document shows."""
KEYS = {"ACCESS_KEY_ID": "access", "SECRET_ACCESS_KEY": "secret-of-access"}
PASSWORD = "what-the-copies-are-encrypted-with"
BUCKET = "copies"
COPIES = {
    "BACKUP_STORE": f"store:{BUCKET}/team",
    "RCLONE_CONFIG_STORE_ENDPOINT": "http://store:9000",
    "RCLONE_CONFIG_STORE_PROVIDER": "Rclone",
}
"""What the Jobs are told of that store."""


def site(shown: dict[str, Any], values: Mapping[str, str]) -> cluster.Patch:
    """The patch of a kustomization of the document, with other values."""
    (entry,) = shown["patches"]
    change = yaml.safe_load(entry["patch"])
    (container,) = change["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    container["env"] = [{"name": name, "value": value} for name, value in values.items()]
    return cluster.Patch("CronJob", change, entry["target"]["name"])


def way(peer: cluster.Object, port: int) -> cluster.Patch:
    """A way out of the Jobs to a store that is in the cluster, and not at the port that the component has."""
    rule = {"to": [peer], "ports": [{"port": port}]}
    runs = f"{cluster.NAME}-(backup|drill|restore)"
    return cluster.Patch("NetworkPolicy", [{"op": "add", "path": "/spec/egress/-", "value": rule}], runs)


WAY_TO_COPIES = way({"podSelector": {"matchLabels": {"app": "store"}}}, 9000)


def _store() -> list[cluster.Object]:
    """A store that speaks S3: rclone itself, over a volume, with one bucket."""
    labels = {"app": "store"}
    script = f'mkdir -p /data/{BUCKET} && exec rclone serve s3 --config "" --addr :9000 --auth-key "$KEYS" /data'
    container = {
        "name": "store",
        "image": images.STORE,
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


def prepare(registry: cluster.Registry) -> None:
    """Start the store that keeps the copies, and make the Secret with its keys."""
    registry.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(_store()))
    registry.kubectl("rollout", "status", "deployment/store", "--timeout=120s", seconds=130)
    run(registry, SETUP)


def away(registry: cluster.Registry) -> None:
    """Take the store that keeps the copies away."""
    registry.kubectl("scale", "deployment/store", "--replicas=0")
    registry.kubectl("delete", "pods", "--selector", "app=store", "--grace-period=0", "--force")
    eventually(lambda: not registry.get("pods", "--selector", "app=store")["items"], "the end of the store", 60, 1)


def back(registry: cluster.Registry) -> None:
    """Have it back."""
    registry.kubectl("scale", "deployment/store", "--replicas=1")
    registry.kubectl("rollout", "status", "deployment/store", "--timeout=120s", seconds=130)


def run(registry: cluster.Registry, script: str) -> str:
    """Run commands of the document for the namespace of this test, with the passwords that they name."""
    done = subprocess.run(
        ["bash", "-c", f"set -eu -o pipefail\n{script.replace('-n pypiserver ', f'-n {registry.namespace} ')}"],
        env={**os.environ, **KEYS, "reader_password": cluster.READER.password, "BACKUP_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def done(registry: cluster.Registry, script: str) -> str:
    """Run commands of the document that make a Job, and return what its container says at the end.

    Their own output is no measure: where two kubelets have one disk, each removes the logs of the other's pods.
    """
    name = script.split("create job ")[1].split(maxsplit=1)[0]
    _forget(registry, name)
    run(registry, script)
    return ended(registry, name)


def _forget(registry: cluster.Registry, job: str) -> None:
    """Remove a Job of an earlier try of the test."""
    registry.kubectl("delete", "job", job, "--ignore-not-found", "--cascade=foreground")


def begin(registry: cluster.Registry, kind: str, name: str, variables: Mapping[str, str], *, attempts: int = 1) -> None:
    """Make a Job of a CronJob, with other values of some variables."""
    _forget(registry, name)
    source = f"--from=cronjob/{cluster.NAME}-{kind}"
    made = registry.kubectl("create", "job", name, source, "--dry-run=client", "--output=yaml")
    manifest = yaml.safe_load(made)
    manifest["spec"]["backoffLimit"] = attempts - 1
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    kept = [each for each in container["env"] if each["name"] not in variables]
    container["env"] = kept + [{"name": key, "value": value} for key, value in variables.items()]
    registry.kubectl("create", "--filename", "-", stdin=yaml.safe_dump(manifest))


def ended(registry: cluster.Registry, name: str, condition: str = "complete") -> str:
    """Wait for the end of a Job, and return what the container of its last pod says."""
    registry.kubectl("wait", f"--for=condition={condition}", "--timeout=240s", f"job/{name}", seconds=250)
    pods = registry.get("pods", "--selector", f"job-name={name}")["items"]
    last = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    message: str = last["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
    return message


def job(registry: cluster.Registry, kind: str, name: str, condition: str = "complete", **variables: str) -> str:
    """Make a Job that is tried once, and return what its container says at the end."""
    begin(registry, kind, name, variables)
    return ended(registry, name, condition)


def metrics(registry: cluster.Registry, pod: str = f"deployment/{cluster.NAME}") -> str:
    """The server's page."""
    return registry.exec("wget -q -O - http://127.0.0.1:8081/-/metrics", pod=pod)


def tells(registry: cluster.Registry, kind: str, reason: str) -> None:
    """Wait until the server shows how the last run ended: with this reason, or "" for a success."""
    line = f'pypiserver_{kind}_failed{{reason="{reason}"}} {int(bool(reason))}'
    eventually(lambda: line in metrics(registry), line, 60, 1)
