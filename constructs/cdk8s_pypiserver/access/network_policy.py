"""The network policy: nobody reaches the pods and they reach nobody, but by the ways that the concerns named."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from cdk8s_pypiserver.base.fields import Peer
from cdk8s_pypiserver.base.identity import APPLICATION, READER, WRITER, Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT_NAME, PORT_NAME

from .network import Way

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class RegistryNetworkPolicySpec(Spec):
    """Who may reach the registry besides the ingress controller and Prometheus.

    Those are RegistryIngressSpec.controllers and MonitoringSpec.scrapers. Probes, kubectl port-forward and
    kubectl exec are never kept out.
    """

    clients: Sequence[Peer] = ({"podSelector": {}},)
    """Peers (NetworkPolicyPeer) that may reach the ports of the Service; by default the pods of the registry's own
    namespace. Without any, only the ingress controller may."""


class NetworkPolicy(KubernetesObject):
    """The NetworkPolicy of the pods; it counts where the cluster's network plugin enforces it.

    Attributes:
        spec: The spec.
        network: The ways that it opens: those of the registry, unless others are put in their place until synth.
        of_jobs: The NetworkPolicies of the pods of Jobs, by their component.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: RegistryNetworkPolicySpec) -> None:
        """Make the policy."""
        identity = sockets.identity
        super().__init__(
            sockets,
            id_,
            api_version="networking.k8s.io/v1",
            kind="NetworkPolicy",
            identity=identity,
            content=self._content,
        )
        self.spec = spec
        self.network = sockets.network
        self._sockets = sockets
        self.of_jobs: dict[str, KubernetesObject] = {}
        sockets.network.follow(self._isolate)
        sockets.marks[f"{APPLICATION}/network-policy"] = "yes"

    def _isolate(self, component: str) -> None:
        if component in self.of_jobs:
            return
        identity, isolated = self._sockets.identity, self._sockets.network.isolated
        self.of_jobs[component] = KubernetesObject(
            self,
            component,
            api_version="networking.k8s.io/v1",
            kind="NetworkPolicy",
            identity=identity,
            suffix=component,
            content=lambda: _isolation(identity.selector_of(component), isolated[component]),
        )

    def _content(self) -> Manifest:
        sockets = self._sockets
        others = (name for name, port in sockets.gateway.ports.items() if port.service_port is not None)
        # A way to a port that nothing listens at does no harm, nor one of pods that are not there: so the policy is the
        # same with HTTPS at the pod or not, and with readers or without.
        served = list(dict.fromkeys([PORT_NAME, HTTPS_PORT_NAME, *others]))
        readers, writer = _pods_of(sockets.identity, READER), _pods_of(sockets.identity, WRITER)
        incoming = [*self.network.incoming, Way(readers, served), Way(self.spec.clients, served)]
        outgoing = [*self.network.outgoing, Way(writer, served)]
        return {
            "spec": {
                "podSelector": {"matchLabels": sockets.identity.selector},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": _rules(incoming, "from"),
                "egress": _rules(outgoing, "to"),
            }
        }


def _isolation(selector: Mapping[str, str], ways: Sequence[Way]) -> Manifest:
    return {
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress", "Egress"],
            "egress": _rules(ways, "to"),
        }
    }


def _pods_of(identity: Identity, role: str) -> list[Peer]:
    return [{"podSelector": {"matchLabels": identity.in_role(role)}}]


def _rules(ways: Iterable[Way], side: Literal["from", "to"]) -> list[Manifest]:
    # A rule without peers would mean everybody.
    return [
        {side: list(way.peers), "ports": [{"port": port, "protocol": way.protocol} for port in way.ports]}
        for way in ways
        if way.peers
    ]
