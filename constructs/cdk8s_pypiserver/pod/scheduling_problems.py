"""Why Kubernetes would not take what is said of nodes and of /etc/hosts, beyond what its schema says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cdk8s_pypiserver.base.fields import IPAddress, LabelKey, Name, refusal
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem

_OPERATORS = ("Equal", "Exists")
_EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")


def toleration_problems(tolerations: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong with tolerations, as seen from their list."""
    for index, toleration in enumerate(tolerations):
        key, operator, value = (toleration.get(field) for field in ("key", "operator", "value"))
        for field, choices in (("operator", _OPERATORS), ("effect", _EFFECTS)):
            yield from _choice(index, field, toleration.get(field), choices)
        if key and (reason := refusal(LabelKey, key)):
            yield Problem((index, "key"), key, reason)
        elif not key and operator != "Exists":
            yield Problem((index, "key"), NO_VALUE, "must be given, or the operator Exists for every taint")
        if value and operator == "Exists":
            yield Problem((index, "value"), value, "must be left out with the operator Exists")
        seconds = toleration.get("tolerationSeconds")
        if seconds is not None and toleration.get("effect") != "NoExecute":
            yield Problem((index, "tolerationSeconds"), seconds, "needs the effect NoExecute: no other one ends a pod")


def spread_problems(constraints: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong with topology spread constraints, as seen from their list."""
    for index, constraint in enumerate(constraints):
        if constraint["maxSkew"] < 1:
            yield Problem((index, "maxSkew"), constraint["maxSkew"], "must be at least 1")
        if reason := refusal(LabelKey, constraint["topologyKey"]):
            yield Problem((index, "topologyKey"), constraint["topologyKey"], reason)
        yield from _choice(index, "whenUnsatisfiable", constraint["whenUnsatisfiable"], _UNSATISFIABLE)


def alias_problems(aliases: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield what is wrong with lines of /etc/hosts, as seen from their list."""
    for index, alias in enumerate(aliases):
        address = alias.get("ip") or ""
        if reason := refusal(IPAddress, address):
            yield Problem((index, "ip"), address, reason)
        for number, name in enumerate(alias.get("hostnames") or ()):
            if reason := refusal(Name, name):
                yield Problem((index, "hostnames", number), name, reason)


def _choice(index: int, field: str, value: str | None, choices: Sequence[str]) -> Iterator[Problem]:
    if value and value not in choices:
        yield Problem((index, field), value, f"must be {' or '.join(choices)}")
