"""Certificates that cert-manager issues, for the Ingress or for the gateway."""

from collections.abc import Sequence
from typing import Literal

import cdk8s
from constructs import Construct

from cdk8s_pypiserver.base.fields import Name
from cdk8s_pypiserver.base.identity import Identity
from cdk8s_pypiserver.base.model import Spec


class IssuerSpec(Spec):
    """Which of cert-manager's issuers signs."""

    issuer: Name
    """Name of the issuer."""
    issuer_kind: Literal["ClusterIssuer", "Issuer"] = "ClusterIssuer"
    """Kind of the issuer."""


def secret_name(given: str | None, identity: Identity) -> str:
    """Return the name of the Secret with the certificate, of the Ingress as of the gateway."""
    return given or identity.name_of("tls")


def certificate(  # noqa: PLR0913
    scope: Construct, id_: str, spec: IssuerSpec, *, hosts: Sequence[str], secret: str, identity: Identity
) -> Construct:
    """Make a Certificate for these names, called as the registry; cert-manager puts it into the Secret."""
    # Loading the generated classes takes longer than a whole synth: only who asks for the object pays for it.
    from cdk8s_pypiserver_imports.io import cert_manager  # noqa: PLC0415

    made = cert_manager.Certificate(
        scope,
        id_,
        metadata=cdk8s.ApiObjectMetadata(
            name=identity.name, labels=identity.labels, annotations=identity.annotations or None
        ),
        spec=cert_manager.CertificateSpec(
            secret_name=secret,
            dns_names=list(hosts),
            issuer_ref=cert_manager.CertificateSpecIssuerRef(name=spec.issuer, kind=spec.issuer_kind),
        ),
    )
    identity.follow(made.metadata)
    return made
