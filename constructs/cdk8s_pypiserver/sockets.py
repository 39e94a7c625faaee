"""The sockets of a registry: all that a concern, a subclass or a user may add to, until synth."""

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar
from weakref import WeakKeyDictionary

import cdk8s
import jsii
from constructs import Construct, IConstruct, IValidation

from .access.network import Network
from .base.identity import Identity
from .base.objects import chart_of
from .monitoring.scraping import METRICS_PORT_NAME
from .monitoring.socket import MonitoringSocket
from .pod.gateway import CONTAINER as DEFAULT_CONTAINER
from .pod.gateway import HTTPS_PORT_NAME, PORT_NAME, Gateway, GatewaySpec
from .pod.server import Server, ServerSpec
from .pod.template import Pod


class Sockets(Construct):
    """A pod of gateway and server, and what joins it.

    Attributes:
        identity: Names, labels and annotations of the registry's objects.
        pod: The pod template.
        gateway: The container that clients talk to, and its files.
        server: The container that stores packages and makes the index, and its files.
        network: Who may reach the pods and whom they may reach, where there is a network policy.
        monitoring: What is to be watched, where there is monitoring.
        claims: Claims to which one registry alone can write.
        marks: Annotations of the Deployment alone, by which a component finds that there is none for it: of an object
            that nobody needs Kustomize says nothing, of a patch for a Deployment that is not there it does.
    """

    def __init__(  # noqa: PLR0913
        self, scope: Construct, id_: str, *, name: str, gateway: GatewaySpec, server: ServerSpec, grace_seconds: int
    ) -> None:
        """Make the pod's two containers.

        Args:
            scope: A chart, or a construct in one.
            id_: Name of this construct in its scope; it does not reach the objects.
            name: Name of the registry.
            gateway: The gateway's spec.
            server: The server's spec.
            grace_seconds: Seconds that a stopping pod has for what it has begun.
        """
        super().__init__(scope, id_)
        self.identity = Identity(name)
        self.network = Network()
        self.monitoring = MonitoringSocket()
        self.claims: set[str] = set()
        self.marks: dict[str, str] = {}
        self.pod = Pod(self.identity, default_container=DEFAULT_CONTAINER)
        self.pod.set_default({"terminationGracePeriodSeconds": grace_seconds})
        self.gateway = Gateway(self, "gateway", spec=gateway, identity=self.identity, pod=self.pod)
        self.server = Server(
            self,
            "server",
            spec=server,
            identity=self.identity,
            pod=self.pod,
            gateway=self.gateway,
            grace_seconds=grace_seconds,
        )
        self._checks: list[Callable[[], Iterable[str]]] = [self.pod.problems, self.server.problems, self._closed_ways]
        _Validation.of(cdk8s.App.of(self)).registries[self] = scope

    def add_label(self, key: str, value: str) -> None:
        """Put a label on every object and on the pods.

        Raises:
            ValueError: the label is one by which the objects find each other, or Kubernetes would refuse it.
        """
        self.identity.add_label(key, value)

    def add_annotation(self, key: str, value: str) -> None:
        """Put an annotation on every object and on the pods.

        Raises:
            ValueError: Kubernetes would refuse it.
        """
        self.identity.add_annotation(key, value)

    def refuse(self, check: Callable[[], Iterable[str]]) -> None:
        """Have synth fail with what this check returns: a line a problem, with field, value and reason.

        It is called at synth, when everything has been added.
        """
        self._checks.append(check)

    def problems(self) -> list[str]:
        """Return what cannot work, as it stands now."""
        return [problem for check in self._checks for problem in check()]

    def _closed_ways(self) -> Iterator[str]:
        """Yield ways that a network policy could open to no port; those of the registry's own need not be there."""
        named = {port for way in self.network.incoming for port in way.ports if isinstance(port, str)}
        named -= {PORT_NAME, HTTPS_PORT_NAME, METRICS_PORT_NAME}
        if not named:
            return
        ports = {str(port.get("name")) for each in self.pod.containers() for port in each.get("ports") or ()}
        for name in sorted(named - ports):
            yield f"network.allow_from: port {name!r} must be a port of a container: {', '.join(sorted(ports))}"


@jsii.implements(IValidation)
class _Validation:
    """What cdk8s asks at synth, about all registries of an app.

    It asks once for the app and once more for each chart in it, and an answer from Python takes a millisecond: one of
    each registry would be seconds for fifty of them.
    """

    _of_apps: ClassVar[WeakKeyDictionary[IConstruct, "_Validation"]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self.registries: dict[Sockets, Construct] = {}

    @classmethod
    def of(cls, app: IConstruct) -> "_Validation":
        """Return the one of an app."""
        if app not in cls._of_apps:
            cls._of_apps[app] = cls()
            app.node.add_validation(cls._of_apps[app])
        return cls._of_apps[app]

    def validate(self) -> list[str]:
        """Return the problems, each with the path of its registry."""
        problems = self._problems()
        if problems:
            # Only then, as it takes long: what was taken away (`node.try_remove_child`) is no matter of the app.
            self.registries = {each: scope for each, scope in self.registries.items() if _is_there(each)}
            problems = self._problems()
        return problems

    def _problems(self) -> list[str]:
        problems = [f"{each.node.path}: {problem}" for each in self.registries for problem in each.problems()]
        return [*problems, *self._twins(), *self._rivals()]

    def _twins(self) -> Iterator[str]:
        """Yield the registries whose objects would be another's."""
        for each, name, other, where in self._meeting(lambda each: {each.identity.name}):
            yield (
                f"{each.node.path}: name ({name}) must be another one: {other.node.path} has it {where}, so that "
                "one's objects would be the other's; registries of two clusters are made by an app for each"
            )

    def _rivals(self) -> Iterator[str]:
        """Yield the registries that would wait for ever for the volume of another one."""
        for each, claim, other, where in self._meeting(lambda each: each.claims):
            yield (
                f"{each.node.path}: storage.existing_claim ({claim}) must be another one: {other.node.path} "
                f"has it {where}, and on this storage one pod alone can write"
            )

    def _meeting(self, names_of: Callable[[Sockets], Iterable[str]]) -> Iterator[tuple[Sockets, str, Sockets, str]]:
        """Yield registries with a name that another one has in the same place, that one and where.

        Charts without a namespace may be for two of them.
        """
        known: dict[tuple[str | int, str], Sockets] = {}
        for each, scope in self.registries.items():
            chart = chart_of(scope)
            for name in sorted(names_of(each)):
                other = known.setdefault((chart.namespace or id(chart), name), each)
                if other is not each:
                    yield each, name, other, f"in namespace {chart.namespace}" if chart.namespace else "in one chart"


def _is_there(construct: IConstruct) -> bool:
    scope = construct.node.scope
    return scope is None or (scope.node.try_find_child(construct.node.id) is construct and _is_there(scope))
