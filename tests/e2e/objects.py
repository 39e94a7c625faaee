"""The overlay `object-store` with the store of the cluster, and a folder of its own in it."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cdk8s_pypiserver.base import images
from e2e import cluster, relay
from e2e.waiting import eventually

if TYPE_CHECKING:
    from e2e.cluster import Object, Registry

OVERLAY = cluster.OVERLAYS / "object-store"
POLICY = cluster.ROOT / "dist/components/network-policy-object-store"
SECRET = f"{cluster.NAME}-s3"
FETCHES, RCLONE = "store", "rclone"
"""The containers."""
LISTED = 4.0
"""Seconds after which every pod lists what another has published: the 2 of `poll_seconds`, and 2 for it to be read."""
WAY, OWN = "way", "own-store"


@dataclass(frozen=True)
class Place:
    """Where the packages are."""

    endpoint: str
    path: str
    """The bucket, and the folder in it."""

    @classmethod
    def new(cls) -> Place:
        """A folder that nothing is in."""
        endpoint = os.environ.get("E2E_S3_ENDPOINT", "http://s3.lab-s3.svc.cluster.local:9000")
        bucket = os.environ.get("E2E_S3_BUCKET", "packages")
        return cls(endpoint, f"{bucket}/e2e-{uuid.uuid4().hex[:8]}")

    @property
    def plain(self) -> bool:
        """Whether it is reached without TLS, so that somebody may be in between."""
        return self.endpoint.startswith("http:")

    def through(self, namespace: str) -> Place:
        """The same by the way that `Way` makes in a namespace."""
        return replace(self, endpoint=f"http://{WAY}.{namespace}.svc.cluster.local:{relay.PORT}")

    def digests(self, registry: Registry) -> dict[str, str]:
        """The SHA-256 digests of all packages that are there, by name; every byte of them is read."""
        command = f"rclone hashsum sha256 --download --exclude '/.pypiserver/**' store:{self.path}"
        writer = f"statefulset/{cluster.NAME}-writer"
        lines = registry.exec(command, container=RCLONE, pod=writer, seconds=300).splitlines()
        return {name: digest for digest, name in map(str.split, lines)}

    def patches(self) -> list[cluster.Patch]:
        """The store, and the way to it; nobody comes through the Ingress here."""
        rclone: Object = {"name": RCLONE, "env": [{"name": "RCLONE_CONFIG_STORE_ENDPOINT", "value": self.endpoint}]}
        path = [{"name": "STORE_PATH", "value": f"store:{self.path}"}]
        readers = [{"name": name, "env": path} for name in (cluster.SERVER, FETCHES)]
        workload = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": cluster.NAME},
            "spec": {"template": {"spec": {"containers": readers, "initContainers": [rclone]}}},
        }
        way = [{"op": "add", "path": "/spec/egress/-", "value": {"to": [{"namespaceSelector": {}}]}}]
        return [
            cluster.Patch(cluster.WORKLOADS, workload),
            cluster.Patch("NetworkPolicy", way, cluster.NAME),
            cluster.exposure("pypi.e2e.example", "none", "none"),
        ]


def give_keys(registry: Registry, keys: tuple[str, str]) -> None:
    """Make the Secret with the keys of the store, without which the registry does not start."""
    change_keys(registry, keys)
    registry.wait_until_settled(300)


def change_keys(registry: Registry, keys: tuple[str, str]) -> None:
    """Have the Secret hold these keys."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "stringData": dict(zip(("access_key_id", "secret_access_key"), keys, strict=True)),
    }
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(secret))


class OwnStore:
    """A store in the namespace of a registry, on the node that stays, whose keys are made and revoked at once.

    It is Versity's S3 gateway, with users of its own.

    Attributes:
        keys: Those that it takes.
    """

    ROOT = ("root", "the-root-of-it")
    BUCKET = "packages"

    def __init__(self, registry: Registry, image: str, keys: tuple[str, str]) -> None:
        """Make it, and its bucket, with one pair of keys."""
        self.keys: list[tuple[str, str]] = []
        self._registry = registry
        named = zip(("ROOT_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY"), self.ROOT, strict=True)
        container = {
            "name": OWN,
            "image": image,
            "args": [f"--port=:{relay.PORT}", "--iam-dir=/users", "--iam-cache-disable", "posix", "/data"],
            "env": [{"name": name, "value": value} for name, value in named],
            "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("data", "users")],
        }
        volumes: list[Object] = [{"name": name, "emptyDir": {}} for name in ("data", "users")]
        node = cluster.schedulable_nodes()[0]
        _serve(registry, OWN, container, volumes=volumes, nodeName=node)
        registry.kubectl("rollout", "status", f"deployment/{OWN}", "--timeout=120s", seconds=130)
        self.add(keys)
        self._administer(f"create-bucket --bucket {self.BUCKET} --owner {keys[0]}")

    @staticmethod
    def place(namespace: str) -> Place:
        """Where the packages are in the store that a namespace gets."""
        return Place(f"http://{OWN}.{namespace}.svc.cluster.local:{relay.PORT}", f"{OwnStore.BUCKET}/pypi")

    def add(self, keys: tuple[str, str]) -> None:
        """Take these keys from now on."""
        self._administer(f"create-user --access {keys[0]} --secret {keys[1]} --role admin")
        self.keys.append(keys)

    def revoke(self, keys: tuple[str, str]) -> None:
        """Take them no more."""
        self._administer(f"delete-user --access {keys[0]}")
        self.keys.remove(keys)

    def _administer(self, command: str) -> None:
        id_, secret = self.ROOT
        here = f"--access {id_} --secret {secret} --endpoint-url http://127.0.0.1:{relay.PORT}"
        self._registry.exec(f"versitygw admin {here} {command}", container=OWN, pod=f"deployment/{OWN}")


class Way:
    """A way to a store that can be closed, for one registry alone: others use the store too."""

    def __init__(self, registry: Registry, place: Place) -> None:
        """Make it in the namespace of the registry, to the endpoint of `place`."""
        self._registry = registry
        there = urlsplit(place.endpoint)
        program = Path(relay.__file__).read_text()
        container = {
            "name": WAY,
            "image": images.SERVER,
            "command": ["python3", "-c", program, str(there.hostname), str(there.port or 80)],
        }
        _serve(registry, WAY, container)
        self.open()

    def close(self) -> None:
        """Let nobody through, and cut off who is on the way."""
        self._scale(0)
        eventually(lambda: not self._registry.get("pods", "--selector", f"app={WAY}")["items"], "the end of the way")

    def open(self) -> None:
        """Let everybody through."""
        self._scale(1)
        self._registry.kubectl("rollout", "status", f"deployment/{WAY}", "--timeout=60s")

    def _scale(self, replicas: int) -> None:
        self._registry.kubectl("scale", f"deployment/{WAY}", f"--replicas={replicas}")


def _serve(registry: Registry, name: str, container: Object, **fields: object) -> None:
    """Make a Deployment of a container, and a Service for its port, which is that of `relay`."""
    labels = {"app": name}
    probed = {"readinessProbe": {"tcpSocket": {"port": relay.PORT}, "periodSeconds": 1}}
    spec = {
        "containers": [{**container, **probed, "securityContext": cluster.RESTRICTED}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 9898,
            "fsGroup": 9898,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        # With none the pod would be gone before its process is, and who is on the way would come through.
        "terminationGracePeriodSeconds": 1,
        **fields,
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": relay.PORT}]},
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [service, deployment]}
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(items))
