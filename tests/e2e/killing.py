"""Killing a container as a lack of memory does: all its processes at once, without a word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from e2e import cluster
from e2e.waiting import eventually

if TYPE_CHECKING:
    from e2e.cluster import Object, Pod, Registry

NAMESPACE = "e2e-killers"


class Killer:
    """A pod on each node that sees the node's processes.

    From within a container this cannot be done: the kernel keeps the first process of one from being killed there.
    """

    def __init__(self) -> None:
        """Make a namespace for them.

        Raises:
            KubectlError: The cluster does not allow pods with a view of the node's processes.
        """
        self._nodes: set[str] = set()
        labels = {cluster.OURS: "e2e", "pod-security.kubernetes.io/enforce": "privileged"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        cluster.kubectl("apply", "--filename", "-", stdin=json.dumps(namespace))

    def kill(self, registry: Registry, pod: Pod, container: str) -> None:
        """Kill a container of a pod, and wait until it runs again and the pod is ready."""
        manifest = registry.get("pod", pod.name)
        before = status_of(manifest, container)
        identity = before["containerID"].rpartition("/")[2]
        processes = f"$(grep -l {identity} /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3)"
        # With the first of them the others end, perhaps before it is their turn.
        self._run(pod.node, before["image"], f"kill -9 {processes} 2>/dev/null; true")

        def back() -> bool:
            now = registry.get("pod", pod.name)
            restarts: int = status_of(now, container)["restartCount"]
            assert restarts <= before["restartCount"] + 1, "it has ended once more, by itself"
            return restarts > before["restartCount"] and cluster.is_ready(now)

        eventually(back, f"{container} of {pod.name} after it was killed", 180)

    def remove(self) -> None:
        """Remove the pods."""
        cluster.remove_namespace(NAMESPACE)

    def _run(self, node: str, image: str, script: str) -> None:
        name = f"killer-{node}"
        here = ("--namespace", NAMESPACE)
        if node not in self._nodes:
            manifest = json.dumps(_killer(name, node, image))
            cluster.kubectl(*here, "apply", "--filename", "-", stdin=manifest)
            cluster.kubectl(*here, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", seconds=70)
            self._nodes.add(node)
        cluster.kubectl(*here, "exec", name, "--", "sh", "-c", script)


def status_of(pod: Object, container: str) -> Object:
    """What the manifest of a pod says about a container."""
    (status,) = (each for each in running(pod) if each["name"] == container)
    return status


def running(pod: Object) -> list[Object]:
    """What it says about all its containers, those that are started before the others and run beside them too."""
    status = pod["status"]
    beside = {each["name"] for each in pod["spec"].get("initContainers", []) if each.get("restartPolicy") == "Always"}
    first = [each for each in status.get("initContainerStatuses", []) if each["name"] in beside]
    return [*status["containerStatuses"], *first]


def _killer(name: str, node: str, image: str) -> Object:
    capabilities = {"drop": ["ALL"], "add": ["KILL"]}
    container = {
        "name": "killer",
        "image": image,
        "command": ["sleep", "infinity"],
        "securityContext": {"runAsUser": 0, "allowPrivilegeEscalation": False, "capabilities": capabilities},
    }
    spec = {
        "nodeName": node,
        "hostPID": True,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
