"""Why Kubernetes would not take a container of the pod, or would never start it."""

import posixpath
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from cdk8s_pypiserver.base.fields import Image, Label, VariableName, quantity, refusal


def problems_of(
    container: Mapping[str, Any], *, volumes: Collection[str], pod_security: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what is wrong with a container, each beginning with the field that it is about.

    Args:
        container: The container.
        volumes: Names of the pod's volumes.
        pod_security: The security context of the pod.
    """
    yield from _texts(container)
    yield from _mounts(container, volumes)
    yield from _resources(container.get("resources") or {})
    security = container.get("securityContext") or {}
    yield from _security_left_open(security)
    yield from _root({**pod_security, **security})


def _texts(container: Mapping[str, Any]) -> Iterator[str]:
    if not container.get("image"):
        yield "image (None) must be set"
    elif reason := refusal(Image, container["image"]):
        yield f"image ({container['image']}) {reason}"
    if reason := refusal(Label, container["name"]):
        yield f"name ({container['name']}) {reason}"
    for variable in container.get("env") or ():
        if reason := refusal(VariableName, variable["name"]):
            yield f"env.name ({variable['name']}) {reason}"


def _mounts(container: Mapping[str, Any], volumes: Collection[str]) -> Iterator[str]:
    places: set[str] = set()
    for mount in container.get("volumeMounts") or ():
        volume, path = mount.get("name"), mount.get("mountPath")
        if volume not in volumes:
            yield f"volumeMounts.name ({volume}) must be a volume of the pod: {', '.join(sorted(volumes))}"
        place = posixpath.normpath(path)
        if place in places:
            yield f"volumeMounts.mountPath ({path}) must be another one: a volume is mounted there"
        places.add(place)


def _resources(resources: Mapping[str, Any]) -> Iterator[str]:
    limits = resources.get("limits") or {}
    for field in ("limits", "requests"):
        for name, amount in (resources.get(field) or {}).items():
            if reason := _amount_refused(str(amount), str(limits.get(name, amount))):
                yield f"resources.{field}.{name} ({amount}) {reason}"


def _amount_refused(amount: str, limit: str) -> str | None:
    try:
        asked = quantity(amount)
    except ValueError as error:
        return str(error)
    # Of a limit that is none it is said there.
    with suppress(ValueError):
        if asked > quantity(limit):
            return f"must not be above resources.limits ({limit})"
    return None


def _security_left_open(context: Mapping[str, Any]) -> Iterator[str]:
    """Yield what Pod Security "restricted" wants said of each container; what is said is the user's affair."""
    for field, said, wanted in (
        ("allowPrivilegeEscalation", context.get("allowPrivilegeEscalation"), "false"),
        ("capabilities.drop", (context.get("capabilities") or {}).get("drop"), "[ALL]"),
    ):
        if said is None:
            yield (
                f"securityContext.{field} (None) must be set: without {wanted} Pod Security 'restricted' lets "
                "no pod start; where the namespace allows it, say otherwise"
            )


def _root(context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0 and context.get("runAsNonRoot"):
        yield "securityContext.runAsUser (0) must be another with runAsNonRoot, which lets no such container start"
