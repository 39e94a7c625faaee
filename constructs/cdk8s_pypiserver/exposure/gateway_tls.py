"""HTTPS at the pod itself, for clients that reach it without an Ingress."""

from typing import TYPE_CHECKING

from constructs import Construct

from cdk8s_pypiserver.base.config_files import runtime_files
from cdk8s_pypiserver.base.fields import Hosts, Name, Port
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT, HTTPS_PORT_NAME

from .certificates import IssuerSpec, certificate, secret_name

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

DIRECTORY = "/etc/pypiserver/tls"
"""As in runtime/gateway/nginx.conf."""
VOLUME = "tls"


class GatewayCertificateSpec(IssuerSpec):
    """What cert-manager is asked for at the gateway."""

    hosts: Hosts
    """Names that the certificate is for, such as `pypiserver.team.svc` within the cluster."""


class GatewayTLSSpec(Spec):
    """HTTPS and HTTP/2 at the gateway. Its plain port then answers the probes alone; a password never goes there."""

    port: Port = 443
    """Port of the Service for HTTPS."""
    node_port: Port | None = None
    """Port on every node for HTTPS, with a Service of the type NodePort or LoadBalancer; the cluster chooses one if
    none is named."""
    secret: Name | None = None
    """Secret of type kubernetes.io/tls; `<name>-tls` by default. A renewed certificate counts as soon as the kubelet
    has it in the volume, within a minute or two, without a restart."""
    certificate: GatewayCertificateSpec | None = None
    """What cert-manager is asked for; None where the Secret comes from elsewhere."""


class GatewayTLS(Construct):
    """The port for HTTPS, the Secret in the gateway, and the Certificate if one is asked for.

    Attributes:
        certificate: cert-manager's Certificate or None.
    """

    def __init__(self, sockets: "Sockets", id_: str, *, spec: GatewayTLSSpec) -> None:
        """Join the registry."""
        super().__init__(sockets, id_)
        secret, asked = secret_name(spec.secret, sockets.identity), spec.certificate
        # A pod waits for the Secret.
        sockets.pod.put_volume({"name": VOLUME, "secret": {"secretName": secret}})
        # A whole directory, since a subPath never sees a renewed certificate.
        sockets.gateway.add_mount(VOLUME, DIRECTORY, read_only=True)
        sockets.gateway.add_file("server", "tls", runtime_files("gateway")["server-tls.conf"])
        sockets.gateway.add_port(HTTPS_PORT_NAME, HTTPS_PORT, service_port=spec.port, node_port=spec.node_port)
        self.certificate: Construct | None = None
        if asked:
            self.certificate = certificate(
                self, "Default", asked, hosts=asked.hosts, secret=secret, identity=sockets.identity
            )
            sockets.monitoring.watch_certificate(sockets.identity.name)
