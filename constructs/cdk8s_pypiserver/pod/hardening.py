"""What the containers of the pod have in common: hardening, resources, probes and scratch space."""

from collections.abc import Mapping

from cdk8s_plus_27 import k8s

from cdk8s_pypiserver.base.model import Resources
from cdk8s_pypiserver.base.values import amount, number

RUN_DIRECTORY = "/run/pypiserver"
RUN_VOLUME = "run"


def hardened() -> k8s.SecurityContext:
    """Return the container half of the Pod Security Standard "restricted", and a read-only root."""
    return k8s.SecurityContext(
        allow_privilege_escalation=False,
        capabilities=k8s.Capabilities(drop=["ALL"]),
        read_only_root_filesystem=True,
    )


def requirements(resources: Resources) -> k8s.ResourceRequirements:
    """Return requests and limits, without those that are None."""

    def quantities(cpu: str | None, memory: str | None) -> dict[str, k8s.Quantity] | None:
        given = {"cpu": cpu, "memory": memory}
        return {name: amount(value) for name, value in given.items() if value} or None

    return k8s.ResourceRequirements(
        requests=quantities(resources.cpu_request, resources.memory_request),
        limits=quantities(resources.cpu_limit, resources.memory_limit),
    )


def variables(values: Mapping[str, str]) -> list[k8s.EnvVar]:
    """Return environment variables, sorted by name."""
    return [k8s.EnvVar(name=name, value=value) for name, value in sorted(values.items())]


def http_probe(path: str, port: int, *, period: int, timeout: int, failures: int) -> k8s.Probe:
    """Return a probe by HTTP; the times are seconds."""
    return k8s.Probe(
        http_get=k8s.HttpGetAction(path=path, port=number(port)),
        period_seconds=period,
        timeout_seconds=timeout,
        failure_threshold=failures,
    )


def scratch(name: str, size: str, *, in_memory: bool = False) -> k8s.Volume:
    """Return an emptyDir of at most this size; a pod that outgrows it is evicted."""
    return k8s.Volume(
        name=name,
        empty_dir=k8s.EmptyDirVolumeSource(size_limit=amount(size), medium="Memory" if in_memory else None),
    )


def wait_before_stop(*script: str) -> k8s.Lifecycle:
    """Return a preStop hook that runs these lines of shell."""
    return k8s.Lifecycle(
        pre_stop=k8s.LifecycleHandler(exec=k8s.ExecAction(command=["/bin/sh", "-c", "; ".join(script)]))
    )
