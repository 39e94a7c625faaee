"""A CronJob of a registry: pods as hardened as those that serve, which no Service selects."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from constructs import Construct

from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.objects import KubernetesObject

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

WEEK_SECONDS = 7 * 86400
LATE_SECONDS = 3600
"""How late a Job may begin, where the control plane was away at its time; after that it waits for the next one."""


class CronJob(KubernetesObject):
    """The CronJob `<name>-<component>`, of which one Job at a time runs.

    Attributes:
        component: Value of the label `app.kubernetes.io/component` of its pods.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id_: str,
        *,
        sockets: "Sockets",
        component: str,
        schedule: str,
        time_zone: str | None,
        longest_seconds: int,
        container: Callable[[], Mapping[str, Any]],
        volumes: Callable[[], Iterable[Mapping[str, Any]]],
        attempts: int = 1,
        fields: Callable[[], Mapping[str, Any]] = dict,
        suspended: bool = False,
    ) -> None:
        """Make the CronJob.

        Args:
            scope: The concern that it belongs to.
            id_: Name of this construct in it; "Default" makes it what `ApiObject.of` finds there.
            sockets: The registry.
            component: Suffix of its name, and its pods' label.
            schedule: When it runs, as cron has it.
            time_zone: Time zone of the schedule; None for that of the control plane.
            longest_seconds: Seconds after which a Job is ended.
            container: Returns the container, at synth.
            volumes: Returns the volumes, at synth.
            attempts: How often a Job that fails is tried.
            fields: Returns further fields of the pod spec, at synth.
            suspended: Whether it never runs by itself: whoever needs it makes a Job of it, which goes after a week.
        """
        self.component = component
        self._sockets = sockets
        self._container = container
        self._volumes = volumes
        self._fields = fields
        self._when = {"schedule": schedule, "timeZone": time_zone, "suspend": True if suspended else None}
        self._bounds = {
            "activeDeadlineSeconds": longest_seconds,
            "backoffLimit": attempts - 1,
            "ttlSecondsAfterFinished": WEEK_SECONDS if suspended else None,
        }
        super().__init__(
            scope,
            id_,
            api_version="batch/v1",
            kind="CronJob",
            identity=sockets.identity,
            suffix=component,
            content=self._spec,
        )

    def _spec(self) -> Manifest:
        identity = self._sockets.identity
        labels = {**identity.labels, **identity.selector_of(self.component)}
        metadata = {"labels": labels, "annotations": identity.annotations or None}
        pod = {
            **self._sockets.pod.fields_of_jobs(),
            "restartPolicy": "Never",
            "containers": [self._container()],
            "volumes": [*self._volumes()],
            **self._fields(),
        }
        job = {"template": {"metadata": metadata, "spec": pod}, **self._bounds}
        return {
            "spec": {
                **self._when,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": LATE_SECONDS,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {"metadata": metadata, "spec": job},
            }
        }
