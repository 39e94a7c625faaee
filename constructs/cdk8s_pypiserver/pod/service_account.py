"""The ServiceAccount of the pods, whose token is never mounted."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from cdk8s_pypiserver.base.fields import Annotations, Name
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.base.problems import Problem

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class ServiceAccountSpec(Spec):
    """The ServiceAccount; the registry itself never asks the API server for anything."""

    existing: Name | None = None
    """ServiceAccount that is there already, used as it is; none is made then."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the one that is made, as clouds go by for the identity of pods."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield annotations of what is not made."""
        yield from super().conflicts()
        if self.existing and self.annotations:
            yield self.problem("annotations", f"cannot be had with existing ({self.existing}): it is used as it is")


def service_account(sockets: "Sockets", spec: ServiceAccountSpec) -> KubernetesObject | None:
    """Have the pods use their ServiceAccount, and make it unless it is there already."""
    if spec.existing:
        sockets.pod.set_default({"serviceAccountName": spec.existing})
        return None
    return KubernetesObject(
        sockets,
        "service-account",
        kind="ServiceAccount",
        identity=sockets.identity,
        annotations=spec.annotations,
        content=lambda: {"automountServiceAccountToken": False},
    )
