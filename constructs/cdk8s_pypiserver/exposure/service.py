"""The Service in front of the pods."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cdk8s_pypiserver.base.fields import Annotations, IPAddress, Network, Port, QualifiedName
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.pod.gateway import PORT, PORT_NAME

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class RegistryServiceSpec(Spec):
    """The Service in front of the pods."""

    port: Port = 80
    """Port of the Service."""
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """How the Service can be reached; a registry that leaves the cluster wants `gateway_tls` too."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the Service, as load balancers go by."""
    node_port: Port | None = None
    """Port on every node, with NodePort or LoadBalancer; the cluster chooses one if none is named. That of HTTPS at the
    pod is `gateway_tls.node_port`."""
    load_balancer_class: QualifiedName | None = None
    """Which load balancer takes the Service; the cloud's own if none is named."""
    load_balancer_source_ranges: Sequence[Network] = ()
    """Networks (CIDR) that the load balancer lets through; all if none is named."""
    load_balancer_ip: IPAddress | None = None
    """Address that the load balancer is asked for, where it takes that from here rather than from an annotation."""
    allocate_load_balancer_node_ports: bool | None = None
    """Whether a LoadBalancer has ports on the nodes too, which not every one needs; the cluster's default is that it
    has."""
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    """Local keeps the client's address and uses the pods of the node that was reached; NodePort and LoadBalancer."""
    internal_traffic_policy: Literal["Cluster", "Local"] | None = None
    """Local has clients in the cluster reach the pods of their own node only."""
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    """IPv4, IPv6 or both; the cluster's default if nothing is said."""
    ip_families: Sequence[Literal["IPv4", "IPv6"]] = ()
    """Which families, and which comes first; the cluster's default if nothing is said."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what the API server takes with another type of Service only."""
        yield from super().conflicts()
        needs = {
            "node_port": ("NodePort", "LoadBalancer"),
            "external_traffic_policy": ("NodePort", "LoadBalancer"),
            "load_balancer_class": ("LoadBalancer",),
            "load_balancer_source_ranges": ("LoadBalancer",),
            "load_balancer_ip": ("LoadBalancer",),
            "allocate_load_balancer_node_ports": ("LoadBalancer",),
        }
        for field, types in needs.items():
            if getattr(self, field) not in {None, ()} and self.type not in types:
                yield self.problem(field, f"needs the type {' or '.join(types)} (type is {self.type})")
        if len(set(self.ip_families)) > 1 and self.ip_family_policy in (None, "SingleStack"):
            yield self.problem(
                "ip_families", "must be one unless ip_family_policy is PreferDualStack or RequireDualStack"
            )


class Service(KubernetesObject):
    """The Service; its port is called `http`, that for HTTPS at the pod `https`."""

    def __init__(self, sockets: "Sockets", id_: str, *, spec: RegistryServiceSpec) -> None:
        """Make the Service for the ports of the gateway that have one there."""
        super().__init__(
            sockets, id_, kind="Service", identity=sockets.identity, annotations=spec.annotations, content=self._spec
        )
        self.spec = spec
        self._sockets = sockets
        sockets.gateway.add_port(PORT_NAME, PORT, service_port=spec.port, node_port=spec.node_port)

    def _spec(self) -> Manifest:
        spec = self.spec
        content: dict[str, Any] = {
            "type": None if spec.type == "ClusterIP" else spec.type,
            "loadBalancerClass": spec.load_balancer_class,
            "loadBalancerSourceRanges": list(spec.load_balancer_source_ranges) or None,
            "loadBalancerIP": spec.load_balancer_ip,
            "allocateLoadBalancerNodePorts": spec.allocate_load_balancer_node_ports,
            "externalTrafficPolicy": spec.external_traffic_policy,
            "internalTrafficPolicy": spec.internal_traffic_policy,
            "ipFamilyPolicy": spec.ip_family_policy,
            "ipFamilies": list(spec.ip_families) or None,
            "selector": self._sockets.identity.served,
            "ports": [
                {
                    "name": name,
                    "port": port.service_port,
                    "targetPort": name,
                    "nodePort": port.node_port,
                }
                for name, port in self._sockets.gateway.ports.items()
                if port.service_port is not None
            ],
        }
        return {"spec": content}
