"""Several pods that all publish: what keeps a registry up on a volume that many may write to."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from .scaled import MOST_PODS, Scaled, ScaledSpec

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets


class AvailabilitySpec(ScaledSpec):
    """What keeps the registry up while nodes come and go."""

    min_replicas: Annotated[int, Field(ge=2, le=MOST_PODS)] = 2
    """Pods at rest."""
    max_replicas: Annotated[int, Field(ge=2, le=MOST_PODS)] = 6
    """Pods under load."""


class Availability(Scaled):
    """The autoscaler and the disruption budget of pods that are all alike."""

    def __init__(self, sockets: "Sockets", id_: str, *, spec: AvailabilitySpec) -> None:
        """Make the objects, and spread the pods."""
        super().__init__(sockets, id_, spec=spec)
        sockets.server.set("PODS", "many")
