"""A pod that asks the registry for packages without end, from where its users are: within the cluster."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from e2e import churn, cluster, crowd, load
from e2e.clients import Account
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from e2e.cluster import Registry

NAME = "load"
RECORD, LEDGER, STOP = "/tmp/record", "/tmp/ledger", "/tmp/stop"  # noqa: S108 - in the pod
REFUSED = {401: Account(user=cluster.PUBLISHER.user, password="a password that is not hers"), 403: cluster.READER}
"""Who may not publish, by the status that says why."""
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
        patience: Seconds within which it ends.
    """

    registry: Registry
    failures: list[dict[str, Any]] = field(default_factory=list)
    total: dict[str, int] = field(default_factory=dict)
    reopened: int = 0
    longest: float = 0.0
    patience: float = 60.0

    def read(self) -> list[dict[str, Any]]:
        """Read what the pod has written down, and return the lines."""
        # The container runs before its program has begun.
        record = self.registry.kubectl("exec", NAME, "--", "sh", "-c", f"[ ! -e {RECORD} ] || cat {RECORD}")
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

    def end(self) -> None:
        """Stop it, and wait until every request has an answer."""
        self.registry.kubectl("exec", NAME, "--", "touch", STOP)
        eventually(self.ended, "the end of the load", self.patience, 0.5)

    def __str__(self) -> str:
        """The figures on one line."""
        return (
            f"{self.total}, {len(self.failures)} failed, {self.reopened} kept connections opened anew, "
            f"the slowest took {self.longest} s"
        )


@dataclass
class Churn(Load):
    """Uploads, removals and reads whose answers are compared with the truth.

    Attributes:
        kept: The name of a file that is there from the beginning to the end.
        ledger: At the end, what churn.py has written down.
    """

    kept: str = ""
    ledger: dict[str, Any] = field(default_factory=dict)

    def end(self) -> None:
        """Stop it, wait until every request has an answer, and read what has become of the files."""
        super().end()
        self.ledger = json.loads(self.registry.kubectl("exec", NAME, "--", "cat", LEDGER))

    @property
    def wrong(self) -> list[str]:
        """The answers that must never be given."""
        return [failure["failure"] for failure in self.failures if failure["failure"].startswith(churn.WRONG)]

    def names(self, state: str) -> dict[str, dict[str, Any]]:
        """The names that have come to this state, with what is known of them."""
        files: dict[str, dict[str, Any]] = self.ledger["files"]
        return {name: file for name, file in files.items() if file["state"] == state}

    def __str__(self) -> str:
        """The figures on one line."""
        kinds = Counter(f"{failure['kind']} {failure['failure'][:60]}" for failure in self.failures)
        away = self.ledger["longest_without_a_read"]
        there, removed = self.names("stored"), self.names("removed")
        yanked = sum(file["yanked"] for file in there.values())
        return (
            f"{self.total}, failed {dict(kinds)}, {len(there)} files there, {yanked} yanked, {len(removed)} "
            f"removed, at most {away:.1f} s without a page"
        )


@dataclass
class Crowd(Load):
    """Many clients at once.

    Attributes:
        uploads: How many files are published.
        acknowledged: At the end, the digests of those that were, by name.
    """

    uploads: int = 0
    acknowledged: dict[str, str] = field(default_factory=dict)

    def end(self) -> None:
        """Stop it, wait until every request has an answer, and read which files were published."""
        super().end()
        self.acknowledged = json.loads(self.registry.kubectl("exec", NAME, "--", "cat", LEDGER))

    def published(self) -> bool:
        """Whether every upload has an answer."""
        self.read()
        return self.total.get("uploads", 0) == self.uploads


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
    options = {"paths": list(paths), "fresh": fresh, "kept": kept, "uploads": uploads, "pause": pause}
    with _running(Load(registry), load, {**options, "timeout": timeout}) as running:
        yield running


@contextmanager
def churn_on(  # noqa: PLR0913
    registry: Registry, kept: str, *, removals: bool, lag: float, timeout: float = 15, pause: float = 0.2
) -> Iterator[Churn]:
    """Publish, yank, remove and read through the Service of the registry; after the block its figures are final.

    Args:
        registry: The registry.
        kept: The name of a file that is there, which it refuses to take again.
        removals: Whether it lets publishers remove files.
        lag: Seconds after which everybody must see what was acknowledged.
        timeout: Seconds after which a request has failed.
        pause: Seconds that each client rests between two requests, at most.
    """
    refused = [{**asdict(account), "status": status} for status, account in REFUSED.items()]
    options = {"writers": 4, "readers": 4, "removals": removals, "lag": lag, "ledger": LEDGER, "pause": pause}
    options |= {"kept": kept, "others": refused}
    with _running(Churn(registry, kept=kept), churn, {**options, "timeout": timeout}) as running:
        yield running


@contextmanager
def crowd_on(
    registry: Registry, projects: Sequence[str], *, installers: int, uploads: int, size: int
) -> Iterator[Crowd]:
    """Let many clients install and publish at the same time; after the block its figures are final.

    Args:
        registry: The registry.
        projects: What is installed; each has one file.
        installers: Clients that install.
        uploads: Files that are published, all at once.
        size: Bytes of each of these.
    """
    options = {"projects": list(projects), "installers": installers, "uploads": uploads, "size": size, "pause": 2.0}
    with _running(Crowd(registry, uploads=uploads), crowd, {**options, "ledger": LEDGER, "timeout": 120}) as running:
        yield running


RunningLoad = TypeVar("RunningLoad", bound=Load)


@contextmanager
def _running(running: RunningLoad, script: ModuleType, options: dict[str, Any]) -> Iterator[RunningLoad]:
    registry = running.registry
    # The address rather than the name: a name server on a node that is drained is not what is tested.
    service = registry.get("service", cluster.NAME)["spec"]
    running.patience = options["timeout"] + 30
    options = {
        **options,
        "url": f"http://{service['clusterIP']}:{service['ports'][0]['port']}",
        "user": cluster.PUBLISHER.user,
        "password": cluster.PUBLISHER.password,
        "record": RECORD,
        "stop": STOP,
    }
    registry.kubectl("apply", "--filename", "-", stdin=json.dumps(_objects(registry, script, options)))
    try:
        registry.kubectl("wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=60s")
        eventually(running.running, "requests", 60, 0.5)
        yield running
        running.end()
    finally:
        registry.kubectl("delete", "pod", NAME, "--grace-period=1")


def _objects(registry: Registry, script: ModuleType, options: dict[str, Any]) -> dict[str, Any]:
    pod = registry.get("deployment", cluster.NAME)["spec"]["template"]["spec"]
    (server,) = (container for container in pod["containers"] if container["name"] == cluster.SERVER)
    scripts = [Path(module.__file__ or "") for module in (load, churn, crowd)]
    files = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {path.name: path.read_text() for path in scripts},
    }
    container = {
        "name": NAME,
        "image": server["image"],
        "command": ["python3", "-m", script.__name__],
        "env": [{"name": "LOAD", "value": json.dumps(options)}, {"name": "PYTHONPATH", "value": "/load"}],
        "securityContext": cluster.RESTRICTED,
        "volumeMounts": [{"name": "files", "mountPath": "/load/e2e"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
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
