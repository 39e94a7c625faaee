"""Several pods: the autoscaler, the disruption budget and the spread over nodes and zones."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject, Manifest
from cdk8s_pypiserver.base.problems import Problem

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

MOST_PODS = 1000
"""More are a slip of the pen."""


class AvailabilitySpec(Spec):
    """What keeps the registry up while nodes come and go."""

    min_replicas: Annotated[int, Field(ge=2, le=MOST_PODS)] = 2
    """Pods at rest."""
    max_replicas: Annotated[int, Field(ge=2, le=MOST_PODS)] = 6
    """Pods under load."""
    cpu_percent: Annotated[int, Field(ge=1, le=1000)] = 70
    """Mean CPU use, in percent of the request, at which pods are added."""
    min_available: Annotated[int, Field(ge=1, le=MOST_PODS)] = 1
    """Pods that evictions (a node being drained) leave running."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield an autoscaler that shrinks, and a budget that keeps nodes from being drained."""
        yield from super().conflicts()
        if self.max_replicas < self.min_replicas:
            yield self.problem("max_replicas", f"must not be below min_replicas ({self.min_replicas})")
        if self.min_available >= self.min_replicas:
            yield self.problem(
                "min_available",
                f"must be below min_replicas ({self.min_replicas}): otherwise no pod may be evicted at rest and a node "
                "can never be drained",
            )


class Availability(Construct):
    """The autoscaler and the disruption budget.

    Attributes:
        autoscaler: The HorizontalPodAutoscaler, which owns the number of replicas.
        disruption_budget: The PodDisruptionBudget.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: AvailabilitySpec) -> None:
        """Make the objects for the Deployment of the registry's name, and spread its pods."""
        super().__init__(sockets, id_)
        self.spec = spec
        identity = sockets.identity
        self.autoscaler = KubernetesObject(
            self,
            "Default",
            api_version="autoscaling/v2",
            kind="HorizontalPodAutoscaler",
            identity=identity,
            content=lambda: {"spec": _autoscaler(spec, identity)},
        )
        self.disruption_budget = KubernetesObject(
            self,
            "disruption-budget",
            api_version="policy/v1",
            kind="PodDisruptionBudget",
            identity=identity,
            content=lambda: {
                "spec": {
                    "selector": {"matchLabels": identity.selector},
                    "minAvailable": spec.min_available,
                    # A pod that is not ready protects nothing, and would keep a node from being drained for ever.
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                }
            },
        )
        sockets.server.set("PODS", "many")
        sockets.pod.set_default({"topologySpreadConstraints": node_spread(identity), "affinity": zone_spread(identity)})
        sockets.refuse(lambda: _without_request(sockets.pod.containers()))


def _autoscaler(spec: AvailabilitySpec, identity: Identity) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": spec.cpu_percent}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": identity.name},
        "minReplicas": spec.min_replicas,
        "maxReplicas": spec.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }


def _without_request(containers: Sequence[Manifest]) -> Iterator[str]:
    for container in containers:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        if not asked.get("cpu"):
            yield (
                f"container {container['name']}: resources.requests.cpu (None) must be set with availability: "
                "the autoscaler measures CPU use against the request, and without one of every container not at all"
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
            "labelSelector": {"matchLabels": identity.selector},
            "matchLabelKeys": ["pod-template-hash"],
        }
    ]


def zone_spread(identity: Identity) -> Manifest:
    """Return the spread over zones, as a wish that nodes without a zone label do not mind."""
    term = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": identity.selector}}
    preferred = {"weight": 100, "podAffinityTerm": term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preferred]}}
