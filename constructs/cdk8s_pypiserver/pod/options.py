"""What users of any chart set on the pods: where they run, who they are, and what of the users' own runs beside."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from cdk8s_pypiserver.base.fields import Annotations, LabelKey, Labels, LabelValue, Name
from cdk8s_pypiserver.base.identity import ROLE, Identity
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.problems import NO_VALUE, Problem
from cdk8s_pypiserver.base.raw import (
    Affinity,
    Container,
    DNSConfig,
    HostAlias,
    PodSecurityContext,
    Toleration,
    TopologySpreadConstraint,
    Volume,
)

from .container import repeated
from .scheduling_problems import alias_problems, spread_problems, toleration_problems
from .template import Pod


class PodOptionsSpec(Spec):
    """Options of the pods; mappings and lists of Kubernetes' own are as in a manifest."""

    node_selector: Mapping[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Sequence[Toleration] = ()
    """Taints of nodes that do not matter."""
    affinity: Affinity | None = None
    """Affinity to nodes and pods; merged with the spread over zones that `availability` brings."""
    topology_spread_constraints: Sequence[TopologySpreadConstraint] | None = None
    """Spread over nodes, zones and the like, instead of that which `availability` brings; an empty list for none."""
    priority_class: Name | None = None
    """PriorityClass."""
    runtime_class: Name | None = None
    """RuntimeClass, such as gVisor's or Kata's."""
    scheduler_name: Name | None = None
    """Scheduler, where it is not the cluster's usual one."""
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] | None = None
    """Where names are looked up; ClusterFirst if nothing is said."""
    dns_config: DNSConfig | None = None
    """Name servers, search domains and options besides, or with the policy None alone."""
    host_aliases: Sequence[HostAlias] = ()
    """Further lines of /etc/hosts."""
    image_pull_secrets: Sequence[Name] = ()
    """Secrets with the credentials of image registries."""
    labels: Labels = Field(default_factory=dict)
    """Labels of the pods alone."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the pods alone."""
    containers: Sequence[Container] = ()
    """Further containers, which must end on SIGTERM. What they may do is theirs to say: Pod Security "restricted" wants
    `securityContext` with `allowPrivilegeEscalation` and `capabilities`."""
    init_containers: Sequence[Container] = ()
    """Containers that run before the others; the same goes for them."""
    volumes: Sequence[Volume] = ()
    """Further volumes, for `volume_mounts` of any container."""
    security_context: PodSecurityContext | None = None
    """What differs from the security context that the pods have (user and group, not root, RuntimeDefault)."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what Kubernetes would refuse, or what would part the pods from their Service."""
        yield from super().conflicts()
        for field in ("containers", "init_containers", "volumes"):
            yield from repeated(field, "name", getattr(self, field))
        for key, value in self.labels.items():
            if key in {*Identity("").labels, ROLE}:
                yield Problem(("labels", key), value, "cannot be changed: the objects find each other by it")
        found = {
            "tolerations": toleration_problems(self.tolerations),
            "topology_spread_constraints": spread_problems(self.topology_spread_constraints or ()),
            "host_aliases": alias_problems(self.host_aliases),
        }
        for field, problems in found.items():
            yield from (problem.within((field,)) for problem in problems)
        if self.dns_policy == "None" and not (self.dns_config or {}).get("nameservers"):
            yield Problem(("dns_config", "nameservers"), NO_VALUE, 'is missing with dns_policy "None"')

    def apply(self, pod: Pod) -> None:
        """Put the options on the pods.

        Raises:
            ValueError: a container or a volume has the name of another.
        """
        pod.override({field: value for field, value in self._fields().items() if value})
        if self.topology_spread_constraints is not None:
            pod.override({"topologySpreadConstraints": self.topology_spread_constraints or None})
        for key, value in self.labels.items():
            pod.add_label(key, value)
        for key, value in self.annotations.items():
            pod.add_annotation(key, value)
        for container in self.containers:
            pod.put_container(container)
        for container in self.init_containers:
            pod.put_init_container(container)
        for volume in self.volumes:
            pod.put_volume(volume)

    def _fields(self) -> dict[str, Any]:
        return {
            "nodeSelector": self.node_selector,
            "tolerations": self.tolerations,
            "affinity": self.affinity,
            "priorityClassName": self.priority_class,
            "runtimeClassName": self.runtime_class,
            "schedulerName": self.scheduler_name,
            "dnsPolicy": self.dns_policy,
            "dnsConfig": self.dns_config,
            "hostAliases": self.host_aliases,
            "imagePullSecrets": [{"name": name} for name in self.image_pull_secrets],
            "securityContext": self.security_context,
        }
