"""The Ingress, and the certificate that it shows."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from constructs import Construct
from pydantic import Field

from cdk8s_pypiserver.base.fields import Annotations, Host, Name, Peer
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.problems import Problem
from cdk8s_pypiserver.pod.gateway import PORT_NAME

from .certificates import IssuerSpec, certificate, secret_name

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

REQUEST_SECONDS = 600
"""How long an ingress controller waits for a slow upload or download."""


class IngressCertificateSpec(IssuerSpec):
    """What cert-manager is asked for at the Ingress."""

    object: bool = False
    """Whether to make a Certificate (needs cert-manager's CRDs at apply) rather than annotate the Ingress, from which
    cert-manager makes one."""


class IngressTLSSpec(Spec):
    """HTTPS at the Ingress."""

    secret: Name | None = None
    """Secret of the certificate; `<name>-tls` by default."""
    certificate: IngressCertificateSpec | None = None
    """What cert-manager is asked for; None where the Secret comes from elsewhere."""


class RegistryIngressSpec(Spec):
    """The Ingress; annotations for ingress-nginx and Traefik are always there, other controllers pass over them."""

    host: Host
    """Name under which clients reach the registry; a registry wants a host of its own, or `gateway.path_prefix`."""
    further_hosts: Sequence[Host] = ()
    """Other names of the same registry; `registry.index_url` has the first."""
    class_name: Name | None = None
    """IngressClass; the cluster's default if none is named."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the Ingress; they count more than the usual ones of the same name."""
    controllers: Annotated[Sequence[Peer], Field(min_length=1)] = (
        {
            "namespaceSelector": {
                "matchExpressions": [
                    {
                        "key": "kubernetes.io/metadata.name",
                        "operator": "In",
                        "values": ["ingress-nginx", "traefik", "kube-system"],
                    }
                ]
            }
        },
    )
    """Peers (NetworkPolicyPeer) that a network policy lets through to the gateway: the controllers' pods."""
    tls: IngressTLSSpec | None = None
    """HTTPS; None for plain HTTP, over which passwords can be read on the way."""

    @property
    def hosts(self) -> list[str]:
        """All names."""
        return [self.host, *self.further_hosts]

    def conflicts(self) -> Iterator[Problem]:
        """Yield a host that is there twice."""
        yield from super().conflicts()
        if self.host in self.further_hosts:
            yield self.problem("further_hosts", f"must not name host ({self.host}) again")


class Ingress(Construct):
    """The Ingress, and the Certificate if one is asked for.

    Attributes:
        ingress: The Ingress.
        certificate: cert-manager's Certificate or None.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: RegistryIngressSpec) -> None:
        """Make the objects."""
        super().__init__(sockets, id_)
        self.spec = spec
        self._service = sockets.identity.name
        self._path = sockets.gateway.spec.path_prefix
        tls = spec.tls
        self._secret = secret_name(tls.secret, sockets.identity) if tls else None
        self.certificate: Construct | None = None
        if tls and self._secret and tls.certificate:
            if tls.certificate.object:
                self.certificate = certificate(
                    self,
                    "certificate",
                    tls.certificate,
                    hosts=spec.hosts,
                    secret=self._secret,
                    identity=sockets.identity,
                )
            # cert-manager calls what it makes for an Ingress as the Secret is called.
            sockets.monitoring.watch_certificate(sockets.identity.name if tls.certificate.object else self._secret)
        sockets.gateway.set("INGRESS", "yes")
        sockets.network.allow_from(spec.controllers, ports=[PORT_NAME])
        self.ingress = KubernetesObject(
            self,
            "Default",
            api_version="networking.k8s.io/v1",
            kind="Ingress",
            identity=sockets.identity,
            annotations={**_annotations(spec), **spec.annotations},
            content=self._content,
        )

    def _content(self) -> Manifest:
        backend = {"service": {"name": self._service, "port": {"name": PORT_NAME}}}
        path = {"path": self._path, "pathType": "Prefix", "backend": backend}
        hosts = self.spec.hosts
        return {
            "spec": {
                "ingressClassName": self.spec.class_name,
                "rules": [{"host": host, "http": {"paths": [path]}} for host in hosts],
                "tls": [{"hosts": hosts, "secretName": self._secret}] if self._secret else None,
            }
        }


def _annotations(spec: RegistryIngressSpec) -> dict[str, str]:
    annotations = {
        # The gateway bounds the body; the server takes it as it comes.
        "nginx.ingress.kubernetes.io/proxy-body-size": "0",
        "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
        "nginx.ingress.kubernetes.io/proxy-read-timeout": str(REQUEST_SECONDS),
        "nginx.ingress.kubernetes.io/proxy-send-timeout": str(REQUEST_SECONDS),
        # Traefik neither bounds nor buffers a body; its read time-out is set at its entry point (60 s by default).
        "traefik.ingress.kubernetes.io/router.entrypoints": "websecure" if spec.tls else "web",
    }
    if spec.tls:
        annotations["traefik.ingress.kubernetes.io/router.tls"] = "true"
        asked = spec.tls.certificate
        if asked and not asked.object:
            kind = "cluster-issuer" if asked.issuer_kind == "ClusterIssuer" else "issuer"
            annotations[f"cert-manager.io/{kind}"] = asked.issuer
    return annotations
