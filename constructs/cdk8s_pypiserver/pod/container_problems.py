"""Why Kubernetes would not take a container of the pod, or would never start it."""

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from cdk8s_pypiserver.base.fields import Image, Label, Name, VariableName, quantity, refusal

from .handler_problems import LARGEST_PORT, hook_problems, is_port, probe_problems

_CHOICES = {
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "terminationMessagePolicy": ("FallbackToLogsOnError", "File"),
}
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9](?:[a-z0-9-]{0,13}[a-z0-9])?")
_RESOURCE = re.compile(r"cpu|memory|ephemeral-storage|hugepages-.+|[^/]+/[^/]+")
_COUNTED = re.compile(r"hugepages-.+|(?!(?:[^/]*\.)?kubernetes\.io/)[^/]+/[^/]+")
"""What no container may use more of than it asks for: huge pages, and devices."""
_KEY = re.compile(r"(?!\.{1,2}$|\.\.)[-._a-zA-Z0-9]{1,253}")
_OBJECTS = ("configMapKeyRef", "configMapRef", "secretKeyRef", "secretRef")
"""Where a variable, or several, come from an object."""
_LARGEST_ID = 2**31 - 1
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def problems_of(
    container: Mapping[str, Any], *, volumes: Collection[str], pod_security: Mapping[str, Any], first: bool = False
) -> Iterator[str]:
    """Yield what is wrong with a container, each beginning with the field that it is about.

    Args:
        container: The container.
        volumes: Names of the pod's volumes.
        pod_security: The security context of the pod.
        first: Whether it ends before the others begin.
    """
    yield from _texts(container)
    yield from _variables(container)
    yield from _ports(container.get("ports") or ())
    yield from _mounts(container, volumes)
    yield from probe_problems(container, first=first)
    yield from hook_problems(container, first=first)
    yield from _resources(container.get("resources") or {})
    security = container.get("securityContext") or {}
    yield from _security_left_open(security)
    yield from _contradictions(security)
    yield from _root({**pod_security, **security})


def _texts(container: Mapping[str, Any]) -> Iterator[str]:
    if not container.get("image"):
        yield "image (None) must be set"
    elif reason := refusal(Image, container["image"]):
        yield f"image ({container['image']}) {reason}"
    if reason := refusal(Label, container["name"]):
        yield f"name ({container['name']}) {reason}"
    for field, choices in _CHOICES.items():
        value = container.get(field)
        if value and value not in choices:
            yield f"{field} ({value}) must be {' or '.join(choices)}"


def _variables(container: Mapping[str, Any]) -> Iterator[str]:
    names = set()
    for variable in container.get("env") or ():
        name, sources = variable["name"], _given(variable.get("valueFrom"))
        if reason := refusal(VariableName, name):
            yield f"env.name ({name}) {reason}"
        if name in names:
            yield f"env.name ({name}) is there twice"
        names.add(name)
        if sources is not None and variable.get("value"):
            yield f"env.value ({variable['value']}) cannot be had with valueFrom: which one is {name} meant to be?"
        if sources is not None and len(sources) != 1:
            yield f"env.valueFrom ({_listed(sources)}) must have one source, for {name}"
        for place, value, reason in reference_problems(variable.get("valueFrom") or {}):
            yield f"env.valueFrom.{'.'.join(place)} ({value}) {reason}"
    for source in container.get("envFrom") or ():
        sources = [field for field in _given(source) or () if field != "prefix"]
        if len(sources) != 1:
            yield f"envFrom ({_listed(sources)}) must have one source: configMapRef or secretRef"
        for place, value, reason in reference_problems(source):
            yield f"envFrom.{'.'.join(place)} ({value}) {reason}"


def reference_problems(source: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str, str]]:
    """Yield what is wrong with the object that variables come from: where it is, the value and the reason."""
    for kind in _OBJECTS:
        reference = source.get(kind)
        if reference is None:
            continue
        if reason := refusal(Name, reference.get("name") or ""):
            yield (kind, "name"), reference.get("name") or "", reason
        if kind.endswith("KeyRef") and not _KEY.fullmatch(reference["key"]):
            yield (kind, "key"), reference["key"], "must be letters, digits, - _ and . (253 at most), not .. first"


def _ports(ports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    names, numbers = set(), set()
    for port in ports:
        number, protocol, name = port["containerPort"], port.get("protocol") or "TCP", port.get("name")
        for field in ("containerPort", "hostPort"):
            # 0 is what the host's is if nothing is said.
            if (field == "containerPort" or port.get(field)) and not is_port(port[field]):
                yield f"ports.{field} ({port[field]}) must be from 1 to {LARGEST_PORT}"
        if protocol not in _PROTOCOLS:
            yield f"ports.protocol ({protocol}) must be {' or '.join(_PROTOCOLS)}"
        if (number, protocol) in numbers:
            yield f"ports.containerPort ({number}) is there twice"
        numbers.add((number, protocol))
        if name and not _PORT_NAME.fullmatch(name):
            yield (
                f"ports.name ({name}) must be at most 15 lower-case letters, digits and -, with a letter, no -- and no "
                "- at an end"
            )
        if name and name in names:
            yield f"ports.name ({name}) is there twice"
        names.add(name)


def _mounts(container: Mapping[str, Any], volumes: Collection[str]) -> Iterator[str]:
    places: set[str] = set()
    for mount in container.get("volumeMounts") or ():
        volume, path = mount.get("name"), mount.get("mountPath") or ""
        if volume not in volumes:
            yield f"volumeMounts.name ({volume}) must be a volume of the pod: {', '.join(sorted(volumes))}"
        if not path or ":" in path:
            yield f"volumeMounts.mountPath ({path or None}) must be a path, without :"
        place = posixpath.normpath(path)
        if place in places:
            yield f"volumeMounts.mountPath ({path}) must be another one: a volume is mounted there"
        places.add(place)
        within = [field for field in ("subPath", "subPathExpr") if mount.get(field)]
        for field in within:
            if leads_out(mount[field]):
                yield f"volumeMounts.{field} ({mount[field]}) must be a path within the volume, without / first or .."
        if len(within) > 1:
            yield f"volumeMounts.subPath ({mount['subPath']}) must be left out with subPathExpr"
    for device in container.get("volumeDevices") or ():
        if device["name"] not in volumes:
            yield f"volumeDevices.name ({device['name']}) must be a volume of the pod: {', '.join(sorted(volumes))}"


def leads_out(path: str) -> bool:
    """Return whether a path within a volume leads out of it, as Kubernetes sees it."""
    return path.startswith("/") or ".." in path.split("/")


def _resources(resources: Mapping[str, Any]) -> Iterator[str]:
    limits = resources.get("limits") or {}
    for field in ("limits", "requests"):
        for name, amount in (resources.get(field) or {}).items():
            if not _RESOURCE.fullmatch(name):
                yield (
                    f"resources.{field}.{name} ({amount}) is no resource: there are cpu, memory, ephemeral-storage, "
                    "hugepages-…, and devices with a domain in front"
                )
            elif _COUNTED.fullmatch(name) and str(limits.get(name)) != str(amount):
                yield f"resources.{field}.{name} ({amount}) must be what resources.limits has ({limits.get(name)})"
            elif reason := _amount_refused(str(amount), str(limits.get(name, amount))):
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


def _contradictions(context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        yield "securityContext.privileged (True) cannot be had with allowPrivilegeEscalation (False)"
    for field in ("runAsUser", "runAsGroup"):
        if not 0 <= (context.get(field) or 0) <= _LARGEST_ID:
            yield f"securityContext.{field} ({context[field]}) must be from 0 to {_LARGEST_ID}"
    if (seccomp := context.get("seccompProfile")) is not None:
        kind, file = seccomp.get("type"), seccomp.get("localhostProfile")
        if kind not in _SECCOMP:
            yield f"securityContext.seccompProfile.type ({kind}) must be {' or '.join(_SECCOMP)}"
        elif (kind == "Localhost") != bool(file):
            yield f"securityContext.seccompProfile.localhostProfile ({file}) goes with type Localhost, and it alone"


def _root(context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0 and context.get("runAsNonRoot"):
        yield "securityContext.runAsUser (0) must be another with runAsNonRoot, which lets no such container start"


def _given(value: Mapping[str, Any] | None) -> list[str] | None:
    return None if value is None else [field for field, inner in value.items() if inner is not None]


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(fields) or "none"
