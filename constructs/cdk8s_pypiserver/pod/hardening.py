"""What the containers of the pod have in common: hardening, resources, probes and scratch space."""

from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Resources

PACKAGES_DIRECTORY = "/data/packages"
PACKAGES_VOLUME = "packages"
"""Name of the package volume in the pod, and suffix of its claim."""
RUN_DIRECTORY = "/run/pypiserver"
RUN_VOLUME = "run"


def hardened() -> Manifest:
    """Return the container half of the Pod Security Standard "restricted", and a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def requirements(resources: Resources) -> Manifest:
    """Return requests and limits, without those that are None."""
    return {kind: _given(resources, kind.removesuffix("s")) for kind in ("requests", "limits")}


def _given(resources: Resources, kind: str) -> dict[str, str] | None:
    names = ("cpu", "memory", "ephemeral-storage")
    values = {name: getattr(resources, f"{name.replace('-', '_')}_{kind}") for name in names}
    return {name: value for name, value in values.items() if value} or None


def http_probe(path: str, port: int, *, period: int, timeout: int, failures: int) -> Manifest:
    """Return a probe by HTTP; the times are seconds."""
    return {"httpGet": {"path": path, "port": port}, **_times(period, timeout, failures)}


def exec_probe(*command: str, period: int, timeout: int, failures: int) -> Manifest:
    """Return a probe by a command in the container; the times are seconds."""
    return {"exec": {"command": [*command]}, **_times(period, timeout, failures)}


def health(port: int) -> tuple[str, ...]:
    """Return a command, with the wget of the server's image, that asks a port of loopback for /health.

    Without a proxy, which the environment may name; busybox and GNU know these options.
    """
    return ("wget", "-q", "-Y", "off", "-O", "/dev/null", f"http://127.0.0.1:{port}/health")


def _times(period: int, timeout: int, failures: int) -> Manifest:
    return {"periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures}


def scratch(name: str, size: str, *, in_memory: bool = False) -> Manifest:
    """Return an emptyDir of at most this size; a pod that outgrows it is evicted."""
    return {"name": name, "emptyDir": {"sizeLimit": size, "medium": "Memory" if in_memory else None}}


def mount(volume: str, path: str, *, read_only: bool = False) -> Manifest:
    """Return the mount of a volume."""
    return {"name": volume, "mountPath": path, "readOnly": True if read_only else None}


def before_stop(*script: str) -> Manifest:
    """Return a lifecycle whose preStop hook runs these lines of shell."""
    return {"preStop": {"exec": {"command": ["/bin/sh", "-c", "; ".join(script)]}}}
