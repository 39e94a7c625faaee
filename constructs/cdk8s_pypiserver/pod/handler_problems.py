"""Why Kubernetes would not take what a container is asked by: its probes, and the hooks of its start and end."""

from collections.abc import Iterator, Mapping
from typing import Any

LARGEST_PORT = 65535
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_LEAST = {
    "failureThreshold": 1,
    "initialDelaySeconds": 0,
    "periodSeconds": 1,
    "successThreshold": 1,
    "terminationGracePeriodSeconds": 1,
    "timeoutSeconds": 1,
}


def is_port(number: int) -> bool:
    """Return whether a port may have this number."""
    return 1 <= number <= LARGEST_PORT


def probe_problems(container: Mapping[str, Any], *, first: bool) -> Iterator[str]:
    """Yield what is wrong with the probes of a container; none is for one that ends before the others begin."""
    for field in _PROBES:
        probe = container.get(field)
        if probe is None:
            continue
        if first:
            yield f"{field} (given) must be left out: the container ends before the others begin"
        yield from _handler(field, {key: value for key, value in probe.items() if key not in _LEAST}, container)
        for key, least in _LEAST.items():
            if probe.get(key) is not None and probe[key] < least:
                yield f"{field}.{key} ({probe[key]}) must be at least {least}"
        if field != "readinessProbe" and (probe.get("successThreshold") or 1) > 1:
            yield f"{field}.successThreshold ({probe['successThreshold']}) must be 1: only readiness counts successes"


def hook_problems(container: Mapping[str, Any], *, first: bool) -> Iterator[str]:
    """Yield what is wrong with the hooks of a container; none is for one that ends before the others begin."""
    lifecycle = container.get("lifecycle")
    if lifecycle and first:
        yield "lifecycle (given) must be left out: the container ends before the others begin"
    for field in _HOOKS:
        if (hook := (lifecycle or {}).get(field)) is not None:
            yield from _handler(f"lifecycle.{field}", hook, container)


def _handler(field: str, handlers: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[str]:
    given = [kind for kind, value in handlers.items() if value is not None]
    if len(given) != 1:
        yield f"{field} ({', '.join(given) or 'none'}) must have one handler, such as exec, httpGet or tcpSocket"
    named = {port.get("name") for port in container.get("ports") or ()} - {None}
    for kind in given:
        port = handlers[kind].get("port")
        if isinstance(port, int) and not is_port(port):
            yield f"{field}.{kind}.port ({port}) must be from 1 to {LARGEST_PORT}"
        elif isinstance(port, str) and port not in named:
            known = f": {', '.join(sorted(map(str, named)))}" if named else ", which names none"
            yield f"{field}.{kind}.port ({port}) must be a number or the name of a port of the container{known}"
