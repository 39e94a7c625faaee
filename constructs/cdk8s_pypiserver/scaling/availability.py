"""Several pods: the autoscaler, the disruption budget and the spread over nodes and zones."""

from typing import Annotated

from cdk8s_plus_27 import k8s
from constructs import Construct
from pydantic import Field, model_validator
from typing_extensions import Self

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.values import number


class AvailabilitySpec(Spec):
    """What keeps the registry up while nodes come and go."""

    min_replicas: Annotated[int, Field(ge=2)] = 2
    """Pods at rest."""
    max_replicas: Annotated[int, Field(ge=2)] = 6
    """Pods under load."""
    cpu_percent: Annotated[int, Field(ge=1, le=1000)] = 70
    """Mean CPU use, in percent of the request, at which pods are added."""
    min_available: Annotated[int, Field(ge=1)] = 1
    """Pods that evictions (a node being drained) leave running."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas ({self.max_replicas}) must not be below min_replicas ({self.min_replicas})")
        if self.min_available >= self.min_replicas:
            raise ValueError(
                f"min_available ({self.min_available}) must be below min_replicas ({self.min_replicas}): "
                "otherwise no pod may be evicted at rest and a node can never be drained"
            )
        return self


class Availability(Construct):
    """The autoscaler and the disruption budget.

    Attributes:
        autoscaler: The HorizontalPodAutoscaler, which owns the number of replicas.
        disruption_budget: The PodDisruptionBudget.
    """

    def __init__(self, scope: Construct, id_: str, *, spec: AvailabilitySpec, metadata: Identity) -> None:
        """Make the objects for the Deployment of the same name."""
        super().__init__(scope, id_)
        self.autoscaler = k8s.KubeHorizontalPodAutoscalerV2(
            self,
            "autoscaler",
            metadata=metadata.of(),
            spec=k8s.HorizontalPodAutoscalerSpecV2(
                scale_target_ref=k8s.CrossVersionObjectReferenceV2(
                    api_version="apps/v1", kind="Deployment", name=metadata.name
                ),
                min_replicas=spec.min_replicas,
                max_replicas=spec.max_replicas,
                metrics=[
                    k8s.MetricSpecV2(
                        type="Resource",
                        resource=k8s.ResourceMetricSourceV2(
                            name="cpu",
                            target=k8s.MetricTargetV2(type="Utilization", average_utilization=spec.cpu_percent),
                        ),
                    )
                ],
            ),
        )
        self.disruption_budget = k8s.KubePodDisruptionBudget(
            self,
            "disruption-budget",
            metadata=metadata.of(),
            spec=k8s.PodDisruptionBudgetSpec(
                selector=k8s.LabelSelector(match_labels=metadata.selector),
                min_available=number(spec.min_available),
                # A pod that is not ready protects nothing, and would keep a node from being drained for ever.
                unhealthy_pod_eviction_policy="AlwaysAllow",
            ),
        )


def node_spread(metadata: Identity) -> list[k8s.TopologySpreadConstraint]:
    """Return the spread over nodes; a wish, since a lost node must not keep its pods from starting.

    Only pods of the same template are counted: a rollout that balances the new against the old ends with all the new
    ones on one node. Zones are not a second constraint: the scheduler leaves nodes without a zone label out of the
    score of both (kube-scheduler, podtopologyspread/scoring.go), and many clusters have no such label.
    """
    return [
        k8s.TopologySpreadConstraint(
            topology_key="kubernetes.io/hostname",
            max_skew=1,
            when_unsatisfiable="ScheduleAnyway",
            label_selector=k8s.LabelSelector(match_labels=metadata.selector),
            match_label_keys=["pod-template-hash"],
        )
    ]


def zone_spread(metadata: Identity) -> k8s.Affinity:
    """Return the spread over zones, as a wish that nodes without a zone label do not mind."""
    term = k8s.PodAffinityTerm(
        topology_key="topology.kubernetes.io/zone",
        label_selector=k8s.LabelSelector(match_labels=metadata.selector),
    )
    preferred = k8s.WeightedPodAffinityTerm(weight=100, pod_affinity_term=term)
    return k8s.Affinity(
        pod_anti_affinity=k8s.PodAntiAffinity(preferred_during_scheduling_ignored_during_execution=[preferred])
    )
