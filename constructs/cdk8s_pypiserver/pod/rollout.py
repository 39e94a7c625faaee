"""How a new version replaces the old one."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from cdk8s_pypiserver.base.fields import PodCount
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.problems import Problem

_DEADLINE_SECONDS = 600
"""Kubernetes' own default."""


class RolloutSpec(Spec):
    """How the Deployment goes from one revision to the next; what is None is Kubernetes' default if nothing is said."""

    max_surge: PodCount | None = None
    """Pods beyond the replicas while new ones take over, as a number or in percent; 1 if nothing is said. Only where
    there can be several pods: elsewhere the old one ends before the new one starts."""
    max_unavailable: PodCount | None = None
    """Pods that may be missing meanwhile, as a number or in percent; 0 if nothing is said. Where there can be several
    pods."""
    revision_history_limit: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Old revisions that `kubectl rollout undo` can go back to; 10 by Kubernetes' default. The files of a revision are
    ConfigMaps of their own, which nothing takes away with it."""
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=86400)] | None = None
    """Seconds without progress after which the rollout counts as failed; 600 by Kubernetes' default."""
    min_ready_seconds: Annotated[int, Field(ge=0, le=86399)] | None = None
    """Seconds that a new pod must have been ready to count; 0 by Kubernetes' default."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield what would keep a rollout from ever ending, which the API server refuses."""
        yield from super().conflicts()
        if not _some(self.max_surge, 1) and not _some(self.max_unavailable, 0):
            yield self.problem("max_surge", f"must be more than 0 with max_unavailable ({self.max_unavailable or 0})")
        deadline = self.progress_deadline_seconds or _DEADLINE_SECONDS
        if (self.min_ready_seconds or 0) >= deadline:
            yield self.problem("min_ready_seconds", f"must be below progress_deadline_seconds ({deadline})")

    def fields(self, *, rolling: bool) -> Manifest:
        """Return the fields of the Deployment's spec.

        Args:
            rolling: Whether old and new pods may run at once.
        """
        surge = 1 if self.max_surge is None else self.max_surge
        rolled = {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": self.max_unavailable or 0},
        }
        return {
            "strategy": rolled if rolling else {"type": "Recreate"},
            "revisionHistoryLimit": self.revision_history_limit,
            "progressDeadlineSeconds": self.progress_deadline_seconds,
            "minReadySeconds": self.min_ready_seconds,
        }


def _some(count: int | str | None, default: int) -> bool:
    return (default if count is None else count) not in (0, "0%")
