"""How clients reach the registry: the Service, the Ingress and its certificate."""

from cdk8s_plus_27 import k8s
from constructs import Construct

from cdk8s_pypiserver.base import values
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Host, Name, Port, Spec
from cdk8s_pypiserver.pod.gateway import METRICS_PORT, METRICS_PORT_NAME, PORT_NAME, Gateway
from cdk8s_pypiserver.pod.tls import PORT_NAME as HTTPS_PORT_NAME

from .certificates import IssuerSpec, certificate, secret_name

REQUEST_SECONDS = 600
"""How long an ingress controller waits for a slow upload or download."""


class ServiceSpec(Spec):
    """The Service in front of the pods."""

    port: Port = 80
    """Port of the Service."""
    https_port: Port = 443
    """Port of the Service for HTTPS, where the gateway has a certificate (GatewaySpec.tls)."""


class CertificateSpec(IssuerSpec):
    """What cert-manager is asked for at the Ingress."""

    object: bool = False
    """Whether to make a Certificate (needs cert-manager's CRDs at apply) rather than annotate the Ingress, from which
    cert-manager makes one."""


class TLSSpec(Spec):
    """HTTPS at the Ingress."""

    secret: Name | None = None
    """Secret of the certificate; `<name>-tls` by default."""
    certificate: CertificateSpec | None = None
    """What cert-manager is asked for; None where the Secret comes from elsewhere."""


class IngressSpec(Spec):
    """The Ingress; annotations for ingress-nginx and Traefik are always there, other controllers pass over them."""

    host: Host
    """Name under which clients reach the registry; a registry wants a host of its own."""
    class_name: Name | None = None
    """IngressClass; the cluster's default if none is named."""
    tls: TLSSpec | None = None
    """HTTPS; None for plain HTTP, over which passwords can be read on the way."""


class Service(k8s.KubeService):
    """The Service; its port is called `http`, others `https` and, for scraping, `metrics`."""

    def __init__(self, scope: Construct, id_: str, *, spec: ServiceSpec, gateway: Gateway, metadata: Identity) -> None:
        """Make the Service for the ports that the gateway has."""
        ports = {PORT_NAME: spec.port, HTTPS_PORT_NAME: spec.https_port, METRICS_PORT_NAME: METRICS_PORT}
        super().__init__(
            scope,
            id_,
            metadata=metadata.of(),
            spec=k8s.ServiceSpec(
                selector=metadata.selector,
                ports=[
                    k8s.ServicePort(name=name, port=port, target_port=values.name(name))
                    for name, port in ports.items()
                    if name in gateway.ports
                ],
            ),
        )


class Ingress(Construct):
    """The Ingress, and the Certificate if one is asked for.

    Attributes:
        ingress: The Ingress.
        certificate: cert-manager's Certificate or None.
    """

    def __init__(self, scope: Construct, id_: str, *, spec: IngressSpec, metadata: Identity) -> None:
        """Make the objects."""
        super().__init__(scope, id_)
        tls = spec.tls
        secret = secret_name(tls.secret, metadata) if tls else None
        self.certificate: Construct | None = None
        if tls and secret and tls.certificate and tls.certificate.object:
            self.certificate = certificate(self, tls.certificate, hosts=[spec.host], secret=secret, metadata=metadata)
        backend = k8s.IngressBackend(
            service=k8s.IngressServiceBackend(name=metadata.name, port=k8s.ServiceBackendPort(name=PORT_NAME))
        )
        path = k8s.HttpIngressPath(path="/", path_type="Prefix", backend=backend)
        self.ingress = k8s.KubeIngress(
            self,
            "ingress",
            metadata=metadata.of(annotations=_annotations(spec)),
            spec=k8s.IngressSpec(
                ingress_class_name=spec.class_name,
                rules=[k8s.IngressRule(host=spec.host, http=k8s.HttpIngressRuleValue(paths=[path]))],
                tls=[k8s.IngressTls(hosts=[spec.host], secret_name=secret)] if secret else None,
            ),
        )


def certificate_name(spec: IngressSpec | None, metadata: Identity) -> str | None:
    """Return the name of cert-manager's Certificate, its own or the one that it makes for the Ingress; None if none."""
    if not (spec and spec.tls and spec.tls.certificate):
        return None
    # cert-manager calls what it makes for an Ingress as the Secret is called.
    return metadata.name if spec.tls.certificate.object else secret_name(spec.tls.secret, metadata)


def _annotations(spec: IngressSpec) -> dict[str, str]:
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
