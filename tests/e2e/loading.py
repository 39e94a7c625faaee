"""A pod that asks the registry for packages without end, from where its users are: within the cluster."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e import cluster, load
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from e2e.cluster import Registry

NAME = "load"
RECORD, STOP = "/tmp/record", "/tmp/stop"  # noqa: S108 - in the pod
WARM_UP = 3
"""Lines of counts, one a second, before the load counts as running."""


@dataclass
class Load:
    """A running load, and after it has ended what came of it.

    Attributes:
        failures: The requests that have failed.
        total: Requests by kind.
        reopened: Kept connections that the registry had closed while the next request was on its way.
        longest: Seconds that the slowest request took.
    """

    registry: Registry
    failures: list[dict[str, Any]] = field(default_factory=list)
    total: dict[str, int] = field(default_factory=dict)
    reopened: int = 0
    longest: float = 0.0

    def read(self) -> list[dict[str, Any]]:
        """Read what the pod has written down, and return the lines."""
        record = self.registry.kubectl("exec", NAME, "--", "cat", RECORD)
        # The last line may be half written.
        lines = [json.loads(line) for line in record.splitlines(keepends=True) if line.endswith("\n")]
        self.failures = [line for line in lines if "failure" in line]
        for line in lines:
            if "total" in line:
                self.total, self.reopened, self.longest = line["total"], line["reopened"], line["longest"]
        return lines

    def running(self) -> bool:
        """Whether requests have been answered for some seconds."""
        return sum("total" in line for line in self.read()) >= WARM_UP

    def ended(self) -> bool:
        """Whether the last line is there."""
        return any(line.get("end") for line in self.read())

    def quiet_since(self, seconds: float) -> bool:
        """Whether no request that was begun in the last seconds has failed."""
        self.read()
        latest = max((failure["begun"] + failure["seconds"] for failure in self.failures), default=0.0)
        return time.time() - latest > seconds

    def __str__(self) -> str:
        """The figures on one line."""
        return (
            f"{self.total}, {len(self.failures)} failed, {self.reopened} kept connections opened anew, "
            f"the slowest took {self.longest} s"
        )


@contextmanager
def load_on(  # noqa: PLR0913
    registry: Registry,
    paths: Sequence[str],
    *,
    fresh: int = 2,
    kept: int = 2,
    uploads: int = 1,
    pause: float = 0.05,
    timeout: float = 30,
) -> Iterator[Load]:
    """Put load on the Service of the registry; after the block its figures are final.

    Args:
        registry: The registry.
        paths: What to GET.
        fresh: Clients that open a connection for each request.
        kept: Clients that keep their connection.
        uploads: Clients that publish.
        pause: Seconds that each client rests between two requests.
        timeout: Seconds after which a request has failed.
    """
    # The address rather than the name: a name server on a node that is drained is not what is tested.
    service = registry.get("service", cluster.NAME)["spec"]
    options = {
        "url": f"http://{service['clusterIP']}:{service['ports'][0]['port']}",
        "user": cluster.PUBLISHER.user,
        "password": cluster.PUBLISHER.password,
        "paths": list(paths),
        "fresh": fresh,
        "kept": kept,
        "uploads": uploads,
        "pause": pause,
        "timeout": timeout,
        "record": RECORD,
        "stop": STOP,
    }
    running = Load(registry)
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(_objects(registry, options)))
    try:
        registry.kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s")
        eventually(running.running, "requests", 60, 0.5)
        yield running
        registry.kubectl("exec", NAME, "--", "touch", STOP)
        eventually(running.ended, "the end of the load", timeout + 30, 0.5)
    finally:
        registry.kubectl("delete", "pod", NAME, "--grace-period=1")


def _objects(registry: Registry, options: dict[str, Any]) -> dict[str, Any]:
    pod = registry.get("deployment", cluster.NAME)["spec"]["template"]["spec"]
    (server,) = (container for container in pod["containers"] if container["name"] == cluster.SERVER)
    script = Path(load.__file__)
    files = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {script.name: script.read_text()},
    }
    container = {
        "name": NAME,
        "image": server["image"],
        "command": ["python3", f"/load/{script.name}"],
        "env": [{"name": "LOAD", "value": json.dumps(options)}],
        "securityContext": cluster.RESTRICTED,
        "volumeMounts": [{"name": "files", "mountPath": "/load"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 9898,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # The load must outlive the node that is drained or lost.
        "nodeName": cluster.schedulable_nodes()[0],
        "volumes": [{"name": "files", "configMap": {"name": NAME}}, {"name": "tmp", "emptyDir": {}}],
    }
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": {"e2e": NAME}}, "spec": spec}
    return {"apiVersion": "v1", "kind": "List", "items": [files, manifest]}
