"""The namespace, as a chart of its own: who may apply a registry often may not make namespaces."""

from typing import Literal

import cdk8s
from constructs import Construct

from .fields import Label
from .identity import APPLICATION, KEPT
from .model import Spec


class RegistryNamespaceSpec(Spec):
    """A namespace that enforces a Pod Security Standard."""

    name: Label = "pypiserver"
    """Name of the namespace."""
    pod_security: Literal["restricted", "baseline", "privileged"] = "restricted"
    """Pod Security Standard that is enforced, warned of and audited."""


class NamespaceChart(cdk8s.Chart):
    """The namespace.

    Attributes:
        object: The Namespace.
    """

    def __init__(self, scope: Construct, id_: str, spec: RegistryNamespaceSpec | None = None) -> None:
        """Make the namespace."""
        super().__init__(scope, id_)
        spec = spec or RegistryNamespaceSpec()
        modes = ("enforce", "warn", "audit")
        self.object = cdk8s.ApiObject(
            self,
            "namespace",
            api_version="v1",
            kind="Namespace",
            metadata=cdk8s.ApiObjectMetadata(
                name=spec.name,
                labels={
                    "app.kubernetes.io/part-of": APPLICATION,
                    **{f"pod-security.kubernetes.io/{mode}": spec.pod_security for mode in modes},
                },
                annotations=KEPT,
            ),
        )
