"""A pypiserver in the cluster, as its own users run it: where packages and libraries come from without a way out."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from cdk8s_pypiserver.base import images
from e2e import cluster

if TYPE_CHECKING:
    from pathlib import Path

NAME = "old"
PORT = 8080
LABELS = {"app": NAME}
URL = f"http://{NAME}:{PORT}"
_PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64", "any")


def objects() -> list[cluster.Object]:
    """The pod and its Service."""
    container = {
        "name": NAME,
        "image": images.SERVER,
        "command": ["pypi-server", "run", "-p", str(PORT), "-P", ".", "-a", ".", "/packages"],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
        "securityContext": cluster.RESTRICTED,
        "volumeMounts": [{"name": "packages", "mountPath": "/packages"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    security = {"runAsNonRoot": True, "runAsUser": cluster.OWNER, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {
        "containers": [container],
        "securityContext": security,
        "volumes": [{"name": name, "emptyDir": {}} for name in ("packages", "tmp")],
    }
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": LABELS}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": LABELS, "ports": [{"port": PORT}]},
        },
    ]


def libraries(folder: Path, requirements: str) -> list[Path]:
    """What a program is made with, for the Python and the platform of the image."""
    wanted = folder / "requirements.txt"
    wanted.write_text(requirements)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    options = ["--python-version=3.14", *(f"--platform={each}" for each in _PLATFORMS), f"--dest={folder}"]
    subprocess.run([*pip, *options, f"--requirement={wanted}"], check=True)
    return sorted(folder.glob("*.whl"))
