"""A workload of several pods: its autoscaler, its disruption budget, and its spread over nodes and zones."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.fields import Bytes, Cpu, PodCount, quantity
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.base.raw import ScalingBehavior

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

MOST_PODS = 1000
"""More are a slip of the pen."""
_LONGEST_WINDOW = 3600
_LONGEST_PERIOD = 1800
_LARGEST = 2**31 - 1
CPU_USE = "500m"
"""The mean CPU use of a pod at which pods are added, if nothing is said.

Twice what uploads take that fill a line of 1 Gbit/s (0.2 to 0.27 of a core, docs/performance.md), and a sixth of what a
pod can use: two workers of nginx and the server's interpreter.
"""


class ScaledSpec(Spec):
    """How many pods there are, and what keeps them up while nodes come and go."""

    min_replicas: Annotated[int, Field(ge=1, le=MOST_PODS)] = 2
    """Pods at rest."""
    max_replicas: Annotated[int, Field(ge=1, le=MOST_PODS)] = 6
    """Pods under load."""
    cpu_use: Cpu | None = None
    """Mean CPU use of a pod, in cores, at which pods are added; 500m if neither this nor `cpu_percent` is said."""
    cpu_percent: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The same in percent of the requests, of which every container must have one then. They are small, so that 70 %
    of them is a tenth of a core, which one upload takes."""
    memory_use: Bytes | None = None
    """Mean memory use of a pod at which pods are added too; not by default, since the load does not show in it."""
    behavior: ScalingBehavior | None = None
    """How fast pods are added and taken away, as Kubernetes writes it (`scaleUp`, `scaleDown`)."""
    min_available: PodCount | None = None
    """Pods that evictions (a node being drained) leave running, as a number or in percent; 1 if neither this nor
    `max_unavailable` is said, and there is more than one at rest."""
    max_unavailable: PodCount | None = None
    """Pods that evictions may take at a time, as a number or in percent."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield an autoscaler that shrinks, and a budget that keeps nodes from being drained."""
        yield from super().conflicts()
        yield from (problem.within(("behavior",)) for problem in _behavior_problems(self.behavior or {}))
        if self.max_replicas < self.min_replicas:
            yield self.problem("max_replicas", f"must not be below min_replicas ({self.min_replicas})")
        if self.cpu_use and self.cpu_percent:
            yield self.problem(
                "cpu_use", f"must be left out with cpu_percent ({self.cpu_percent}), which says the same"
            )
        never = "otherwise no pod may be evicted at rest and a node can never be drained"
        if self.min_available is not None and self.max_unavailable is not None:
            yield self.problem("min_available", f"must be left out with max_unavailable ({self.max_unavailable})")
        elif self.max_unavailable is not None:
            if not _pods(self.max_unavailable, self.min_replicas):
                yield self.problem("max_unavailable", f"must be more than 0: {never}")
        elif self.min_available is not None:
            kept = _pods(self.min_available, self.min_replicas)
            if kept >= self.min_replicas:
                said = f"must be below min_replicas ({self.min_replicas})"
                yield self.problem("min_available", f"{said}: {never}")
            if not kept:
                yield self.problem("min_available", "must be more than 0: otherwise all pods may be evicted at once")


def _pods(count: int | str, replicas: int) -> int:
    """Return the number of pods that a budget means; Kubernetes rounds a percentage up."""
    return count if isinstance(count, int) else -(-int(count[:-1]) * replicas // 100)


class Scaled(Construct):
    """The autoscaler and the disruption budget of the Deployment, and the spread of its pods.

    Attributes:
        autoscaler: The HorizontalPodAutoscaler, which owns the number of replicas.
        disruption_budget: The PodDisruptionBudget.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: ScaledSpec, suffix: str = "") -> None:
        """Make the objects for the Deployment of the registry's name, called `<name>-<suffix>`.

        The id is the field that `spec` is of.
        """
        super().__init__(sockets, id_)
        identity = sockets.identity
        self.autoscaler = KubernetesObject(
            self,
            "Default",
            api_version="autoscaling/v2",
            kind="HorizontalPodAutoscaler",
            identity=identity,
            suffix=suffix,
            content=lambda: {"spec": _autoscaler(spec, identity)},
        )
        self.disruption_budget = KubernetesObject(
            self,
            "disruption-budget",
            api_version="policy/v1",
            kind="PodDisruptionBudget",
            identity=identity,
            suffix=suffix,
            content=lambda: {
                "spec": {
                    "selector": {"matchLabels": identity.served},
                    **_budget(spec),
                    # A pod that is not ready protects nothing, and would keep a node from being drained for ever.
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                }
            },
        )
        sockets.pod.set_default({"topologySpreadConstraints": node_spread(identity), "affinity": zone_spread(identity)})
        if spec.cpu_percent:
            sockets.refuse(lambda: _without_request(id_, sockets.pod.containers()))
        else:
            sockets.refuse(lambda: _beyond_the_limits(id_, spec, sockets.pod.containers()))


def _budget(spec: ScaledSpec) -> Manifest:
    if spec.max_unavailable is not None:
        return {"maxUnavailable": spec.max_unavailable}
    if spec.min_available is not None:
        return {"minAvailable": spec.min_available}
    # One that must stay could never be evicted.
    return {"minAvailable": 1} if spec.min_replicas > 1 else {"maxUnavailable": 1}


def _autoscaler(spec: ScaledSpec, identity: Identity) -> Manifest:
    cpu: Manifest = (
        {"type": "Utilization", "averageUtilization": spec.cpu_percent}
        if spec.cpu_percent
        else {"type": "AverageValue", "averageValue": spec.cpu_use or CPU_USE}
    )
    targets = {"cpu": cpu}
    if spec.memory_use:
        targets["memory"] = {"type": "AverageValue", "averageValue": spec.memory_use}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": identity.name},
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        "metrics": [
            {"type": "Resource", "resource": {"name": name, "target": target}} for name, target in targets.items()
        ],
        "behavior": spec.behavior,
    }


def _behavior_problems(behavior: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what Kubernetes would refuse beyond what its schema says, as seen from the behavior."""
    for way, given in behavior.items():
        rules = given or {}
        window, chosen = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy")
        if window is not None and not 0 <= window <= _LONGEST_WINDOW:
            reason = f"must be from 0 to {_LONGEST_WINDOW}"
            yield Problem((way, "stabilizationWindowSeconds"), window, reason)
        if chosen not in (None, "Disabled", "Max", "Min"):
            yield Problem((way, "selectPolicy"), chosen, "must be Disabled, Max or Min")
        for index, policy in enumerate(rules.get("policies") or ()):
            if policy["type"] not in ("Percent", "Pods"):
                yield Problem((way, "policies", index, "type"), policy["type"], "must be Percent or Pods")
            for field, most in (("value", _LARGEST), ("periodSeconds", _LONGEST_PERIOD)):
                if not 1 <= policy[field] <= most:
                    yield Problem((way, "policies", index, field), policy[field], f"must be from 1 to {most}")


def _without_request(field: str, containers: Sequence[Manifest]) -> Iterator[str]:
    for container in containers:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        if not asked.get("cpu"):
            yield (
                f"container {container['name']}: resources.requests.cpu (None) must be set with "
                f"{field}.cpu_percent: the autoscaler measures against the requests of all containers"
            )


def _beyond_the_limits(field: str, spec: ScaledSpec, containers: Sequence[Manifest]) -> Iterator[str]:
    limits = [((container.get("resources") or {}).get("limits") or {}).get("cpu") for container in containers]
    try:
        most = sum((quantity(str(limit)) for limit in limits if limit), Decimal())
    except ValueError:
        # The pod says so, with container and field.
        return
    wanted = spec.cpu_use or CPU_USE
    if all(limits) and most <= quantity(wanted):
        yield (
            f"{field}.cpu_use ({wanted}) must be below {most.normalize():f}, the CPU limits of all containers: "
            "a pod never uses more, so none would ever be added"
        )


def node_spread(identity: Identity) -> list[Manifest]:
    """Return the spread over nodes; a wish, since a lost node must not keep its pods from starting.

    Only pods of the same template are counted: a rollout that balances the new against the old ends with all the new
    ones on one node. Zones are not a second constraint: the scheduler leaves nodes without a zone label out of the
    score of both (kube-scheduler, podtopologyspread/scoring.go), and many clusters have no such label.
    """
    return [
        {
            "topologyKey": "kubernetes.io/hostname",
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": identity.served},
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]


def zone_spread(identity: Identity) -> Manifest:
    """Return the spread over zones, as a wish that nodes without a zone label do not mind."""
    term = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": identity.served}}
    preferred = {"weight": 100, "podAffinityTerm": term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
