"""The cluster that KUBECONFIG names, through kubectl alone."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import bcrypt
import requests
import yaml

from e2e.clients import Account, Client
from e2e.waiting import eventually
from programs import free_port

if TYPE_CHECKING:
    from typing import Self

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "overlays"
NAME = "pypiserver"
"""Name of the Deployment, the Service and the Ingress."""
SERVER, GATEWAY = "pypiserver", "gateway"
WORKLOADS = "Deployment|StatefulSet"
"""What has the pods: a registry with readers has one of each."""
OWNER = 9898
"""uid and gid of the pods."""
"""The containers."""
GATEWAY_PORT = 8080
OURS = "app.kubernetes.io/managed-by"
"""Label that these tests put on their namespaces, and without which they remove none."""
# With characters that a URL must escape, as pip and uv get them in one.
PUBLISHER = Account(user="alice", password="a publisher's p@ss:word/%41")
READER = Account(user="bob", password="a reader's p@ss:word?#&+")
ACCOUNTS = {"publishers": PUBLISHER, "readers": READER}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""The securityContext of a container of these tests: the namespaces enforce the Pod Security Standard "restricted"."""

Object = dict[str, Any]
Operation = dict[str, Any]


class KubectlError(Exception):
    """kubectl has failed; the text is what it has printed."""


def kubectl(*arguments: str | Path, stdin: str | None = None, seconds: float = 120) -> str:
    """Run kubectl and return its standard output.

    Raises:
        KubectlError: It has failed.
    """
    done = run(*arguments, stdin=stdin, seconds=seconds)
    if done.returncode:
        raise KubectlError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def run(*arguments: str | Path, stdin: str | None = None, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run kubectl and return what has become of it."""
    return subprocess.run(
        ["kubectl", *map(str, arguments)], check=False, capture_output=True, text=True, input=stdin, timeout=seconds
    )


def get(*arguments: str) -> Object:
    """Return objects as `kubectl get --output json` has them."""
    found: Object = json.loads(kubectl("get", *arguments, "--output", "json"))
    return found


def exists(*arguments: str) -> bool:
    """Whether there is an object of this kind and name; no if the cluster does not know the kind."""
    return run("get", *arguments).returncode == 0


def names(kind: str) -> list[str]:
    """The names of all objects of a kind without namespaces; none if the cluster does not know the kind."""
    done = run("get", kind, "--output", "jsonpath={.items[*].metadata.name}")
    return done.stdout.split() if done.returncode == 0 else []


def is_ready(thing: Object) -> bool:
    """Whether a pod or a node is ready, and a pod is not about to go."""
    conditions = thing.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in thing["metadata"]


def schedulable_nodes() -> list[str]:
    """The nodes that take pods; last the one that may be drained and lost: E2E_NODE, or else the newest."""
    nodes = sorted(get("nodes")["items"], key=lambda node: str(node["metadata"]["creationTimestamp"]))
    found = [
        node["metadata"]["name"]
        for node in nodes
        if is_ready(node)
        and not node["spec"].get("unschedulable")
        and not any(taint["effect"] != "PreferNoSchedule" for taint in node["spec"].get("taints", []))
    ]
    chosen = os.environ.get("E2E_NODE")
    return sorted(found, key=lambda name: name == chosen)


def remove_namespace(namespace: str) -> None:
    """Remove a namespace and all that is in it, without waiting for the end of it."""
    # The pods first: a namespace with pods that may take minutes to end is looked at again only after minutes.
    here = ("--namespace", namespace)
    run(*here, "delete", "deployments,statefulsets", "--all")
    run(*here, "delete", "pods", "--all", "--grace-period=1")
    run("delete", "namespace", namespace, "--wait=false")


def htpasswd(account: Account) -> str:
    """A line of an htpasswd file, with a hash that costs what htpasswd's own costs or more."""
    return f"{account.user}:{bcrypt.hashpw(account.password.encode(), bcrypt.gensalt(rounds=8)).decode()}\n"


class Patch(NamedTuple):
    """A change to the shipped overlay, in the words of Kustomize."""

    kind: str
    change: list[Operation] | Object
    name: str = ".*"

    def entry(self) -> Object:
        """The entry of `patches` in a kustomization file."""
        return {"target": {"kind": self.kind, "name": self.name}, "patch": json.dumps(self.change)}


def storage(class_name: str, size: str | None = None) -> Patch:
    """Take volumes of this class, and of this size."""
    change = [{"op": "add", "path": "/spec/storageClassName", "value": class_name}]
    if size:
        change.append({"op": "replace", "path": "/spec/resources/requests/storage", "value": size})
    return Patch("PersistentVolumeClaim", change)


def without_bucket(storage_class: str) -> list[Patch]:
    """Take a volume of this class in the place of the bucket; such a volume, unlike the bucket, belongs to root."""
    volume = {
        "$patch": "delete",
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pypiserver-packages"},
    }
    group = {"op": "add", "path": "/spec/template/spec/securityContext/fsGroup", "value": OWNER}
    return [
        Patch("PersistentVolume", volume),
        Patch("PersistentVolumeClaim", [{"op": "remove", "path": "/spec/volumeName"}]),
        storage(storage_class),
        Patch(WORKLOADS, [group]),
    ]


def exposure(host: str, class_name: str, issuer: str, path: str = "/") -> Patch:
    """Publish the registry under this name and below this path, by the controller of this class."""
    key = "cert-manager.io~1cluster-issuer"
    return Patch(
        "Ingress",
        [
            {"op": "replace", "path": "/spec/rules/0/host", "value": host},
            {"op": "replace", "path": "/spec/rules/0/http/paths/0/path", "value": path},
            {"op": "replace", "path": "/spec/tls/0/hosts/0", "value": host},
            {"op": "add", "path": "/spec/ingressClassName", "value": class_name},
            {"op": "replace", "path": f"/metadata/annotations/{key}", "value": issuer},
        ],
    )


def setting(name: str, value: str, container_name: str = SERVER) -> Patch:
    """Give a container an environment variable."""
    container = {"name": container_name, "env": [{"name": name, "value": value}]}
    return Patch(
        WORKLOADS,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
    )


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod as it was when it was asked for."""

    name: str
    uid: str
    node: str
    template: str
    restarts: int
    ready: bool
    leaving: bool
    role: str

    @classmethod
    def of(cls, manifest: Object) -> Self:
        """Read what the API server says."""
        metadata, status = manifest["metadata"], manifest["status"]
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            node=manifest["spec"].get("nodeName", ""),
            template=metadata["labels"].get("pod-template-hash", ""),
            restarts=sum(container["restartCount"] for container in status.get("containerStatuses", [])),
            ready=is_ready(manifest),
            leaving="deletionTimestamp" in metadata,
            role=metadata["labels"].get("pypiserver/role", ""),
        )


class Forward:
    """A port of this machine that leads to a port of a pod or Service, and does so again after the pod was replaced."""

    def __init__(self, namespace: str, target: str, port: int) -> None:
        """Forward to `target`, such as `pod/NAME` or `service/NAME`."""
        self.port = free_port()
        self._command = ["kubectl", "--namespace", namespace, "port-forward", target, f"{self.port}:{port}"]
        self._ended = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        if self._process:
            self._process.terminate()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            with subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as self._process:
                assert self._process.stdout
                for line in self._process.stdout:
                    # kubectl ends when a pod is gone, but not in every case.
                    if "error" in line.lower() or self._ended.is_set():
                        self._process.terminate()
            self._ended.wait(0.2)


class Registry:
    """An overlay that ships, deployed to a namespace of its own with as few changes as the test needs."""

    def __init__(self, namespace: str, overlay: Path, directory: Path) -> None:
        """Deploy `overlay`; `directory` is for what is written here."""
        self.namespace = namespace
        self.directory = directory
        self.kustomization = directory / "kustomization"
        self.patches: list[Patch] = []
        self.components: list[Path] = []
        self.accounts = False
        self.overlay = overlay
        self._forwards: dict[str, Forward] = {}
        self._clients = 0

    def write(self) -> Path:
        """Write the overlay on top of the shipped one, and return its directory."""
        directory = self.kustomization
        directory.mkdir(parents=True, exist_ok=True)
        # The volume goes with it, as its users apply it first.
        folders = [self.overlay, *(each for each in [self.overlay / "volume"] if each.exists())]
        resources = [os.path.relpath(folder, directory) for folder in folders]
        if self.accounts:
            secret = directory / "secret.yaml"
            if not secret.exists():  # a new hash of the same password would be a change
                secret.write_text(yaml.safe_dump(credentials()))
            resources.append(secret.name)
        label = [{"op": "add", "path": f"/metadata/labels/{OURS.replace('/', '~1')}", "value": "e2e"}]
        patches = [Patch("Namespace", label), *self.patches]
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.namespace,
            "resources": resources,
            "components": [os.path.relpath(component, directory) for component in self.components],
            "patches": [patch.entry() for patch in patches],
        }
        (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return directory

    def apply(self) -> list[str]:
        """Apply the overlay, and return what kubectl says about each object."""
        return kubectl("apply", "--kustomize", self.write()).splitlines()

    def clear(self) -> None:
        """Make sure that nothing is left of an earlier run."""
        found = run("get", "namespace", self.namespace, "--output", "json")
        if found.returncode == 0:
            labels = json.loads(found.stdout)["metadata"].get("labels", {})
            assert labels.get(OURS) == "e2e", f"the namespace {self.namespace} is not of these tests"
            self.remove()
            run("wait", "--for=delete", f"namespace/{self.namespace}", "--timeout=400s", seconds=410)

    def remove(self) -> None:
        """Remove everything, without waiting for the end of it."""
        remove_namespace(self.namespace)

    def close(self) -> None:
        """Close what leads into the cluster."""
        for forward in self._forwards.values():
            forward.close()
        self._forwards.clear()

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 120) -> str:
        """Run kubectl in the namespace."""
        return kubectl("--namespace", self.namespace, *arguments, stdin=stdin, seconds=seconds)

    def get(self, *arguments: str) -> Object:
        """Return objects of the namespace."""
        return get("--namespace", self.namespace, *arguments)

    def pods(self) -> list[Pod]:
        """The pods of the registry, those that are leaving too."""
        found = self.get("pods", "--selector", f"app.kubernetes.io/name={NAME}")
        return sorted((Pod.of(item) for item in found["items"]), key=lambda pod: pod.name)

    def ready_pods(self) -> list[Pod]:
        """The pods that serve."""
        return [pod for pod in self.pods() if pod.ready]

    def wait_until_settled(self, seconds: float = 180) -> list[Pod]:
        """Wait until every pod is of the newest template and ready and none is leaving; return the pods."""
        for workload in self.kubectl("get", "deployments,statefulsets", "--output", "name").split():
            self.kubectl("rollout", "status", workload, f"--timeout={seconds:g}s", seconds=seconds + 10)

        def settled() -> list[Pod]:
            pods = self.pods()
            return pods if all(pod.ready for pod in pods) else []

        return eventually(settled, "pods that are all ready", seconds, 0.5)

    def exec(
        self, script: str, *, container: str = SERVER, pod: str = f"deployment/{NAME}", seconds: float = 60
    ) -> str:
        """Run a line of shell in a container."""
        return self.kubectl("exec", pod, "--container", container, "--", "sh", "-c", script, seconds=seconds)

    def attempt(self, script: str, *, container: str = SERVER, pod: str = f"deployment/{NAME}") -> str:
        """Run a line of shell that need not succeed, and return all that it prints."""
        done = run("--namespace", self.namespace, "exec", pod, "--container", container, "--", "sh", "-c", script)
        return done.stdout + done.stderr

    def logs(self, pod: str = f"deployment/{NAME}", container: str = SERVER, *options: str) -> str:
        """The log of a container."""
        return self.kubectl("logs", pod, "--container", container, *options)

    def forward(self, target: str, port: int) -> Forward:
        """A port of this machine for `pod/NAME` or `service/NAME` of the namespace; the same for the same target."""
        if target not in self._forwards:
            self._forwards[target] = Forward(self.namespace, target, port)
        return self._forwards[target]

    def client(self, account: Account | None, pod: Pod | None = None) -> Client:
        """A client that reaches the Service, or one pod, by port-forward."""
        if pod:
            forward = self.forward(f"pod/{pod.name}", GATEWAY_PORT)
        else:
            ports = {port["name"]: port["port"] for port in self.get("service", NAME)["spec"]["ports"]}
            forward = self.forward(f"service/{NAME}", ports["http"])
        client = self.client_at(f"http://127.0.0.1:{forward.port}/", account)
        eventually(lambda: answers(client), f"an answer of {self.namespace} through {client.url}", 60, 0.1)
        return client

    def client_at(
        self, url: str, account: Account | None, *, proxy: str | None = None, authority: Path | None = None
    ) -> Client:
        """A client with a home directory of its own."""
        self._clients += 1
        home = self.directory / f"home-{self._clients}"
        home.mkdir(parents=True)
        return Client(url=url, account=account, home=home, proxy=proxy, authority=authority)

    def report(self) -> str:
        """What somebody needs who looks for the cause of a failure."""
        here = ("--namespace", self.namespace)
        commands: list[tuple[str, ...]] = [
            (*here, "get", "all,persistentvolumeclaims,ingresses", "--output=wide"),
            (*here, "get", "events", "--sort-by=.lastTimestamp"),
            (*here, "describe", "pods"),
            (*here, "logs", "--selector", f"app.kubernetes.io/name={NAME}", "--container", SERVER, "--tail=100"),
            (*here, "logs", "--selector", f"app.kubernetes.io/name={NAME}", "--container", GATEWAY, "--tail=30"),
            (*here, "logs", "--selector", f"app.kubernetes.io/name={NAME}", "--container", SERVER, "--previous"),
        ]
        parts = []
        for command in commands:
            done = run(*command)
            parts.append(f"$ kubectl {' '.join(command)}\n{done.stdout}{done.stderr}")
        return "\n".join(parts)


def credentials() -> Object:
    """The Secret with one publisher and one reader."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "pypiserver-auth"},
        "stringData": {key: htpasswd(account) for key, account in ACCOUNTS.items()},
    }


def answers(client: Client) -> bool:
    """Whether the registry answers at all."""
    try:
        return client.get("health").ok
    except requests.RequestException:
        return False
