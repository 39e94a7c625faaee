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
WAY = "way"


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
    named = zip(("access_key_id", "secret_access_key"), keys, strict=True)
    literals = [f"--from-literal={name}={key}" for name, key in named]
    registry.kubectl("create", "secret", "generic", SECRET, *literals)
    registry.wait_until_settled(300)


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
            "readinessProbe": {"tcpSocket": {"port": relay.PORT}, "periodSeconds": 1},
            "securityContext": cluster.RESTRICTED,
        }
        spec = {
            "containers": [container],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 9898,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "automountServiceAccountToken": False,
            # With none the pod would be gone before its process is, and who is on the way would come through.
            "terminationGracePeriodSeconds": 1,
        }
        labels = {"app": WAY}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": WAY},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": WAY},
            "spec": {"selector": labels, "ports": [{"port": relay.PORT}]},
        }
        items = {"apiVersion": "v1", "kind": "List", "items": [service, deployment]}
        registry.kubectl("apply", "--filename", "-", stdin=json.dumps(items))
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
