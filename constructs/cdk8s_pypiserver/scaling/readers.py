"""One writer and any number of readers: for a volume that knows no locks, so that one pod alone may write to it."""

from typing import TYPE_CHECKING

from cdk8s_pypiserver.base.identity import READER, WRITER
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.objects import KubernetesObject
from cdk8s_pypiserver.pod.gateway import HTTPS_PORT_NAME, PORT_NAME
from cdk8s_pypiserver.pod.rollout import RolloutSpec
from cdk8s_pypiserver.storage.mode import StorageSpec

from .roles import template_of
from .scaled import Scaled, ScaledSpec

if TYPE_CHECKING:
    from cdk8s_pypiserver.sockets import Sockets

SUFFIX = "writer"
"""The writer's StatefulSet and Service are called `<registry>-writer`."""
PORTS = {PORT_NAME: 80, HTTPS_PORT_NAME: 443}
"""Ports of the writer's Service: those that an address without a port means (runtime/gateway/start.sh). One that
nothing listens at does no harm, so both are there with HTTPS at the pod or without."""


class ReadersSpec(ScaledSpec):
    """Pods that only read, beside one that writes: reads go on while that one is away, and grow with the pods.

    Clients reach the readers alone, and these send on what is published.
    """


class Readers(Scaled):
    """The readers' autoscaler and disruption budget, and the writer.

    Attributes:
        writer: The StatefulSet of the writer, one pod.
        service: The Service by which readers reach it.
    """

    def __init__(
        self, sockets: "Sockets", id_: str, *, spec: ReadersSpec, rollout: RolloutSpec, storage: StorageSpec
    ) -> None:
        """Make the objects; the Deployment of the registry's name is the readers'."""
        sockets.identity.has_readers = True
        # Not as those of `availability`: its component must meet its own refusal, and no object of the same name.
        super().__init__(sockets, id_, spec=spec, suffix="readers")
        sockets.network.allow_names()
        self._sockets = sockets
        self._rollout = rollout
        self._shared = storage.shared_by_pods
        identity = sockets.identity
        self.writer = KubernetesObject(
            self,
            "writer",
            api_version="apps/v1",
            kind="StatefulSet",
            identity=identity,
            suffix=SUFFIX,
            content=lambda: {"spec": self._stateful_set()},
        )
        self.service = KubernetesObject(
            self, "service", kind="Service", identity=identity, suffix=SUFFIX, content=lambda: {"spec": self._service()}
        )

    def template(self, role: str) -> Manifest:
        """Return the pod template of a role as it is now."""
        writer = self._sockets.identity.name_of(SUFFIX)
        template = self._sockets.pod.template(publishing=role != READER)
        return template_of(role, template, writer=writer, shared=self._shared)

    def _stateful_set(self) -> Manifest:
        identity = self._sockets.identity
        return {
            "replicas": 1,
            "serviceName": identity.name_of(SUFFIX),
            # Its pod is made anew only when the old one is known to be gone. With one pod there is no order to keep;
            # by "OrderedReady" a revision whose pod never gets ready could not be replaced by another.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "revisionHistoryLimit": self._rollout.revision_history_limit,
            "minReadySeconds": self._rollout.min_ready_seconds,
            "selector": {"matchLabels": identity.in_role(WRITER)},
            "template": self.template(WRITER),
        }

    def _service(self) -> Manifest:
        return {
            "selector": self._sockets.identity.in_role(WRITER),
            "ports": [{"name": name, "port": port, "targetPort": name} for name, port in PORTS.items()],
        }
