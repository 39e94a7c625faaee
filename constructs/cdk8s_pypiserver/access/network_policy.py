"""The network policy: nobody reaches the pods and they reach nobody, but by the ways that the concerns named."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import cdk8s

from cdk8s_pypiserver.base.fields import Peer
from cdk8s_pypiserver.base.identity import APPLICATION
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject, Manifest
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT_NAME, PORT_NAME

from .network import Way

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class NetworkPolicySpec(Spec):
    """Who may reach the registry besides the ingress controller and Prometheus.

    Those are RegistryIngressSpec.controllers and MonitoringSpec.scrapers. Probes, kubectl port-forward and
    kubectl exec are never kept out.
    """

    clients: Sequence[Peer] = ({"podSelector": {}},)
    """Peers (NetworkPolicyPeer) that may reach the ports of the Service; by default the pods of the registry's own
    namespace. Without any, only the ingress controller may."""


class NetworkPolicy(KubernetesObject):
    """The NetworkPolicy of the pods; it counts where the cluster's network plugin enforces it."""

    def __init__(self, sockets: "Sockets", id_: str, *, spec: NetworkPolicySpec) -> None:
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
        self._sockets = sockets
        # Kustomize says nothing of a policy that selects nobody; of a patch for a Deployment that is not there it does.
        cdk8s.ApiObject.of(sockets).metadata.add_annotation(f"{APPLICATION}/network-policy", "yes")

    def _content(self) -> Manifest:
        sockets = self._sockets
        others = (name for name, port in sockets.gateway.ports.items() if port.service_port is not None)
        # A way to a port that nothing listens at does no harm: so the policy is the same with HTTPS at the pod or not.
        served = list(dict.fromkeys([PORT_NAME, HTTPS_PORT_NAME, *others]))
        incoming = [*sockets.network.incoming, Way(self.spec.clients, served)]
        return {
            "spec": {
                "podSelector": {"matchLabels": sockets.identity.selector},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": _rules(incoming, "from"),
                "egress": _rules(sockets.network.outgoing, "to"),
            }
        }


def _rules(ways: Iterable[Way], side: Literal["from", "to"]) -> list[Manifest]:
    # A rule without peers would mean everybody.
    return [
        {side: list(way.peers), "ports": [{"port": port, "protocol": way.protocol} for port in way.ports]}
        for way in ways
        if way.peers
    ]
