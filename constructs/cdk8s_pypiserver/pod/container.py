"""What users of any chart set on a container: environment, mounts, probes, hardening, how the image is pulled."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from cdk8s_pypiserver.base.fields import VariableName, refusal
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.raw import EnvFromSource, EnvVar, SecurityContext, VolumeMount

from .container_problems import reference_problems
from .template import merged

Seconds = Annotated[int, Field(ge=1, le=86400)]


class ProbeSpec(Spec):
    """How often a container is asked whether it lives; what is None is the container's own."""

    period_seconds: Seconds | None = None
    """Seconds between two probes."""
    timeout_seconds: Seconds | None = None
    """Seconds in which the answer must come."""
    failure_threshold: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Failures in a row that count."""
    initial_delay_seconds: Annotated[int, Field(ge=0, le=86400)] | None = None
    """Seconds from the start of the container to the first probe."""

    def applied(self, probe: Manifest) -> Manifest:
        """Return a probe with these times."""
        times = {
            "periodSeconds": self.period_seconds,
            "timeoutSeconds": self.timeout_seconds,
            "failureThreshold": self.failure_threshold,
            "initialDelaySeconds": self.initial_delay_seconds,
        }
        return {**probe, **{field: value for field, value in times.items() if value is not None}}


class ContainerSpec(Spec):
    """What the specs of all containers have."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled; if nothing is said, Kubernetes pulls a tag `latest` always and others once a node."""
    env: Sequence[EnvVar] = ()
    """Further variables of the environment, as Kubernetes writes them (`value` or `valueFrom`); one of a name that the
    container has already takes its place."""
    env_from: Sequence[EnvFromSource] = ()
    """ConfigMaps and Secrets whose keys become variables; those that the container has already count more."""
    volume_mounts: Sequence[VolumeMount] = ()
    """Further mounts of volumes of the pod (PodOptionsSpec.volumes)."""
    liveness: ProbeSpec = ProbeSpec()
    """When the container is started anew."""
    security_context: SecurityContext | None = None
    """What differs from the hardening that the container has (no privileges, no capabilities, read-only root)."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield variables that Kubernetes would refuse, and variables and mounts that are there twice."""
        yield from super().conflicts()
        yield from wrong_variables("env", self.env)
        for index, source in enumerate(self.env_from):
            for place, value, reason in reference_problems(source):
                yield Problem(("env_from", index, *place), value, reason)
        yield from repeated("volume_mounts", "mountPath", self.volume_mounts)

    def applied(self, container: Manifest) -> Manifest:
        """Return a container with what this says of it, the times of its probes but for the liveness probe's."""
        own = {variable["name"] for variable in self.env}
        return {
            **container,
            "imagePullPolicy": self.image_pull_policy,
            "env": [*(each for each in container["env"] if each["name"] not in own), *self.env],
            "envFrom": list(self.env_from) or None,
            "securityContext": merged(container["securityContext"], self.security_context or {}),
            "livenessProbe": self.liveness.applied(container["livenessProbe"]),
            "volumeMounts": [*container["volumeMounts"], *self.volume_mounts],
        }


def check_variable(name: str, value: str, *, read: Collection[str], others: str) -> None:
    """Check a variable of the environment that is added to what is there already.

    Args:
        name: The variable.
        value: Its value.
        read: The variables that the program reads.
        others: The field of a spec for what other programs in the container read.

    Raises:
        ValueError: the program does not read it, or its value is no text.
    """
    if name not in read:
        near = difflib.get_close_matches(name, read, n=1)
        advice = f"did you mean {near[0]}?" if near else f"what other programs read is {others}"
        raise ValueError(f"variable {name} ({value!r}) is not read here; {advice}")
    if not isinstance(value, str):
        raise ValueError(f"variable {name} ({value!r}) must be text")  # noqa: TRY004 - as of any other value


def wrong_variables(field: str, variables: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield a problem for each of these variables that Kubernetes would refuse.

    Args:
        field: The field of the spec that holds them.
        variables: The variables, as Kubernetes writes them.
    """
    yield from repeated(field, "name", variables)
    for index, variable in enumerate(variables):
        if reason := refusal(VariableName, variable["name"]):
            yield Problem((field, index, "name"), variable["name"], reason)
        for place, value, reason in reference_problems(variable.get("valueFrom") or {}):
            yield Problem((field, index, "valueFrom", *place), value, reason)


def repeated(field: str, key: str, values: Sequence[Mapping[str, object]]) -> Iterator[Problem]:
    """Yield a problem for each of these values whose key an earlier one has.

    Args:
        field: The field of the spec that holds the values.
        key: The key by which Kubernetes tells them apart.
        values: The values.
    """
    seen = set()
    for index, value in enumerate(values):
        if value[key] in seen:
            yield Problem((field, index, key), value[key], "is there twice")
        seen.add(value[key])
