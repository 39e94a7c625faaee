"""The overlay `object-store` with the store of the cluster, and a folder of its own in it."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e import cluster

if TYPE_CHECKING:
    from e2e.cluster import Object, Registry

OVERLAY = cluster.OVERLAYS / "object-store"
POLICY = cluster.ROOT / "dist/components/network-policy-object-store"
SECRET = f"{cluster.NAME}-s3"
FETCHES, RCLONE = "store", "rclone"
"""The containers."""
LISTED = 4.0
"""Seconds after which every pod lists what another has published: the 2 of `poll_seconds`, and 2 for it to be read."""


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
