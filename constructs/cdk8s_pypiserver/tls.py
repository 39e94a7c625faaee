"""HTTPS at the pod itself, for clients that reach it without an Ingress."""

from collections.abc import Sequence
from typing import Literal

import cdk8s
from cdk8s_plus_27 import k8s
from constructs import Construct
from pydantic import model_validator
from typing_extensions import Self

from .custom import custom_object
from .metadata import Metadata
from .spec import Host, Name, Spec

PORT = 8443
PORT_NAME = "https"
FILE = "tls.conf"
# As in runtime/gateway/nginx.conf.
DIRECTORY = "/etc/pypiserver/tls"
VOLUME = "tls"


class GatewayTLSSpec(Spec):
    """HTTPS and HTTP/2 at the gateway. Its plain port then answers the probes alone; a password never goes there."""

    secret: Name | None = None
    """Secret of type kubernetes.io/tls; `<name>-tls` by default. A renewed certificate counts as soon as the kubelet
    has it in the volume, within a minute or two, without a restart."""
    issuer: Name | None = None
    """cert-manager's issuer, if it is to make the Secret; None where the Secret comes from elsewhere."""
    issuer_kind: Literal["ClusterIssuer", "Issuer"] = "ClusterIssuer"
    """Kind of the issuer."""
    hosts: Sequence[Host] = ()
    """Names that cert-manager's certificate is for, such as `pypiserver.team.svc` within the cluster."""

    @model_validator(mode="after")
    def _names_for_a_certificate(self) -> Self:
        if bool(self.issuer) != bool(self.hosts):
            raise ValueError(
                f"issuer ({self.issuer}) and hosts ({list(self.hosts)}) must be given together: a certificate has an "
                "issuer and names, and one from elsewhere has its names already"
            )
        return self


def secret_name(given: str | None, metadata: Metadata) -> str:
    """Return the name of the Secret with the certificate, of the Ingress as of the gateway."""
    return given or metadata.name_of("tls")


def certificate(scope: Construct, spec: GatewayTLSSpec, metadata: Metadata) -> cdk8s.ApiObject | None:
    """Make cert-manager's Certificate, if one is asked for."""
    if spec.issuer is None:
        return None
    return custom_object(
        scope,
        "certificate",
        api_version="cert-manager.io/v1",
        kind="Certificate",
        metadata=metadata.of_custom(),
        spec={
            "secretName": secret_name(spec.secret, metadata),
            "dnsNames": list(spec.hosts),
            "issuerRef": {"name": spec.issuer, "kind": spec.issuer_kind},
        },
    )


def certificate_volume(spec: GatewayTLSSpec, metadata: Metadata) -> k8s.Volume:
    """Return the volume of the Secret; a pod waits for it."""
    return k8s.Volume(name=VOLUME, secret=k8s.SecretVolumeSource(secret_name=secret_name(spec.secret, metadata)))


def certificate_mount() -> k8s.VolumeMount:
    """Return the mount of the Secret; a whole directory, since a subPath never sees a renewed certificate."""
    return k8s.VolumeMount(name=VOLUME, mount_path=DIRECTORY, read_only=True)
