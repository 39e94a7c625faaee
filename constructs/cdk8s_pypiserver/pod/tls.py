"""HTTPS at the pod itself, for clients that reach it without an Ingress."""

from collections.abc import Sequence
from typing import Annotated

from cdk8s_plus_27 import k8s
from pydantic import Field

from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Host, Name, Spec
from cdk8s_pypiserver.exposure.certificates import IssuerSpec, secret_name

PORT = 8443
PORT_NAME = "https"
FILE = "server-tls.conf"
# As in runtime/gateway/nginx.conf.
DIRECTORY = "/etc/pypiserver/tls"
VOLUME = "tls"


class GatewayCertificateSpec(IssuerSpec):
    """What cert-manager is asked for at the gateway."""

    hosts: Annotated[Sequence[Host], Field(min_length=1)]
    """Names that the certificate is for, such as `pypiserver.team.svc` within the cluster."""


class GatewayTLSSpec(Spec):
    """HTTPS and HTTP/2 at the gateway. Its plain port then answers the probes alone; a password never goes there."""

    secret: Name | None = None
    """Secret of type kubernetes.io/tls; `<name>-tls` by default. A renewed certificate counts as soon as the kubelet
    has it in the volume, within a minute or two, without a restart."""
    certificate: GatewayCertificateSpec | None = None
    """What cert-manager is asked for; None where the Secret comes from elsewhere."""


def certificate_volume(spec: GatewayTLSSpec, metadata: Identity) -> k8s.Volume:
    """Return the volume of the Secret; a pod waits for it."""
    return k8s.Volume(name=VOLUME, secret=k8s.SecretVolumeSource(secret_name=secret_name(spec.secret, metadata)))


def certificate_mount() -> k8s.VolumeMount:
    """Return the mount of the Secret; a whole directory, since a subPath never sees a renewed certificate."""
    return k8s.VolumeMount(name=VOLUME, mount_path=DIRECTORY, read_only=True)
