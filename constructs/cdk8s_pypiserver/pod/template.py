"""The pod template, open until synth: concerns, subclasses and users add to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cdk8s_pypiserver.base.fields import check_annotation, check_label
from cdk8s_pypiserver.base.identity import ROLE, Identity
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.raw import check_part, check_pod_fields

from .container_problems import problems_of
from .volume_problems import problems_of as problems_of_volume

if TYPE_CHECKING:
    from cdk8s_plus_27 import k8s

Part = Mapping[str, Any] | Callable[[], Mapping[str, Any]]
"""A part of the pod as plain fields, or what returns it when the pod is written."""

_KINDS = {"containers": "Container", "initContainers": "Container", "volumes": "Volume"}
_TYPED_FIELDS = {"initContainers": "init_containers"}
_ADDED_BY = {"containers": "add_container", "initContainers": "add_init_container", "volumes": "add_volume"}
_OF_SERVERS_ALONE = {"affinity", "serviceAccountName", "terminationGracePeriodSeconds", "topologySpreadConstraints"}


class Pod:
    """The pods of a registry: what `registry.pod` is."""

    def __init__(self, identity: Identity, *, default_container: str) -> None:
        """Begin with nothing but what makes a pod a safe one.

        Args:
            identity: Whose pods they are.
            default_container: The container that kubectl shows logs of and runs commands in.
        """
        self._identity = identity
        self._containers: dict[str, Part] = {}
        self._publishing: set[str] = set()
        self._init_containers: dict[str, Part] = {}
        self._volumes: dict[str, Part] = {}
        self._annotations = {"kubectl.kubernetes.io/default-container": default_container}
        self._labels: dict[str, str] = {}
        self._defaults: Manifest = {
            "serviceAccountName": identity.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        self._overrides: Manifest = {}
        self._kept_ports: dict[int, str] = {}

    def add_container(self, container: "k8s.Container | Mapping[str, Any]") -> None:
        """Add a container, as `k8s.Container` or in plain fields.

        It must end on SIGTERM: the pod waits for one that does not for all of its grace period.

        Raises:
            ValueError: there is a container of this name, or Kubernetes does not know a field or its value.
        """
        self.put_container(_checked(container, "containers"))

    def add_init_container(self, container: "k8s.Container | Mapping[str, Any]") -> None:
        """Add a container that runs before the others, or beside them with `restartPolicy: Always` (Kubernetes 1.29).

        Raises:
            ValueError: there is a container of this name, or Kubernetes does not know a field or its value.
        """
        self.put_init_container(_checked(container, "initContainers"))

    def add_volume(self, volume: "k8s.Volume | Mapping[str, Any]") -> None:
        """Add a volume, as `k8s.Volume` or in plain fields.

        Raises:
            ValueError: there is a volume of this name, or Kubernetes does not know a field or its value.
        """
        self.put_volume(_checked(volume, "volumes"))

    def put_container(self, container: Mapping[str, Any]) -> None:
        """Add a container that a spec has checked, as `add_container` does."""
        self._add(self._containers, "container", container)

    def put_init_container(self, container: Mapping[str, Any]) -> None:
        """Add a container that a spec has checked, as `add_init_container` does."""
        self._add(self._init_containers, "init container", container)

    def put_volume(self, volume: Mapping[str, Any]) -> None:
        """Add a volume that a spec has checked, as `add_volume` does."""
        self._add(self._volumes, "volume", volume)

    def add_late_container(
        self, name: str, container: Callable[[], Mapping[str, Any]], *, publishes: bool = False
    ) -> None:
        """Add a container whose content is asked for when the pod is written.

        One that `publishes` is in no pod that only reads.
        """
        self._add(self._containers, "container", container, name)
        if publishes:
            self._publishing.add(name)

    def add_late_volume(self, name: str, volume: Callable[[], Mapping[str, Any]]) -> None:
        """Add a volume whose content is asked for when the pod is written."""
        self._add(self._volumes, "volume", volume, name)

    def add_annotation(self, key: str, value: str) -> None:
        """Put an annotation on the pods alone.

        Raises:
            ValueError: Kubernetes would refuse it.
        """
        check_annotation(key, value)
        self._annotations[key] = value

    def add_label(self, key: str, value: str) -> None:
        """Put a label on the pods alone.

        Raises:
            ValueError: the label is one of those that every object has, or Kubernetes would refuse it.
        """
        check_label(key, value)
        if key in {*Identity(self._identity.name).labels, ROLE}:
            raise ValueError(f"label {key} ({value}) cannot be changed: the objects find each other by it")
        self._labels[key] = value

    def set_default(self, fields: Mapping[str, Any]) -> None:
        """Set fields of the pod spec, such as nodeSelector; what the user sets counts more. Mappings are merged."""
        self._defaults = merged(self._defaults, fields)

    def set(self, fields: Mapping[str, Any]) -> None:
        """Set fields of the pod spec, such as nodeSelector, whatever a concern has as its default. Mappings are merged.

        A field that is None is taken away.

        Raises:
            ValueError: Kubernetes does not know a field or its value, or there is a method of its own for it.
        """
        for field in fields:
            if field in _ADDED_BY:
                raise ValueError(f"{field} cannot be set: each is added, with {_ADDED_BY[field]}")
        check_pod_fields(fields)
        self.override(fields)

    def override(self, fields: Mapping[str, Any]) -> None:
        """Set fields of the pod spec that a spec has checked, as `set` does."""
        self._overrides = merged(self._overrides, fields)

    def fields_of_jobs(self) -> Manifest:
        """Return the fields of the pod spec that are those of a Job's pods as well.

        Such a pod is spread over nothing, has no volume of the registry's, and is nobody to the cloud.
        """
        fields = merged(self._defaults, self._overrides)
        found = {field: value for field, value in fields.items() if field not in _OF_SERVERS_ALONE}
        security = fields["securityContext"].items()
        found["securityContext"] = {field: value for field, value in security if not field.startswith("fsGroup")}
        nodes = (fields.get("affinity") or {}).get("nodeAffinity")
        return {**found, "affinity": {"nodeAffinity": nodes} if nodes else None}

    def containers(self) -> list[Manifest]:
        """Return the containers as they are now, init containers last."""
        return [_made(part) for part in (*self._containers.values(), *self._init_containers.values())]

    def keep_port(self, port: int, *, container: str) -> None:
        """Keep the port at which a container listens on loopback from all others."""
        self._kept_ports[port] = container

    def problems(self) -> Iterator[str]:
        """Yield why Kubernetes would not take the pods as they are now, or would never start them."""
        volumes, security = set(self._volumes), merged(self._defaults, self._overrides)["securityContext"] or {}
        containers = self.containers()
        for container in containers:
            first = self._ends_first(container)
            for problem in problems_of(container, volumes=volumes, pod_security=security, first=first):
                yield f"container {container['name']}: {problem}"
        for name, part in self._volumes.items():
            # Those that are made late are of the constructs here; to make one takes a hash of all its files.
            for problem in problems_of_volume(part) if not callable(part) else ():
                yield f"volume {name}: {problem}"
        yield from self._ports_taken(containers)

    def template(self, *, publishing: bool = True) -> Manifest:
        """Return the pod template as it is now, of pods that publish or of those that only read."""
        annotations = {**self._identity.annotations, **self._annotations}
        left_out = set() if publishing else self._publishing
        parts = {
            "containers": {name: part for name, part in self._containers.items() if name not in left_out},
            "initContainers": self._init_containers,
            "volumes": self._volumes,
        }
        spec = {field: [_made(part) for part in of.values()] for field, of in parts.items() if of}
        if left_out:
            kept = _mounted([*spec["containers"], *spec.get("initContainers", ())])
            needless = _mounted(_made(self._containers[name]) for name in left_out) - kept
            spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] not in needless]
        return {
            "metadata": {"labels": {**self._identity.labels, **self._labels}, "annotations": annotations},
            "spec": {**merged(self._defaults, self._overrides), **spec},
        }

    def _ports_taken(self, containers: Iterable[Manifest]) -> Iterator[str]:
        """Yield ports that another container has, or names of ports, of those that run beside each other."""
        taken = {(port, "TCP"): name for port, name in self._kept_ports.items()}
        named: dict[str, str] = {}
        for container in containers:
            name = container["name"]
            if self._ends_first(container):
                continue
            for port in container.get("ports") or ():
                number, called = port.get("containerPort"), port.get("name")
                other = taken.setdefault((number, port.get("protocol") or "TCP"), name)
                if other != name:
                    yield f"container {name}: ports.containerPort ({number}) must be another one: {other} listens there"
                # A Service that names a port leads to the first container that has it.
                if called and (other := named.setdefault(called, name)) != name:
                    yield f"container {name}: ports.name ({called}) must be another one: {other} has it"

    def _ends_first(self, container: Mapping[str, Any]) -> bool:
        return container["name"] in self._init_containers and container.get("restartPolicy") != "Always"

    def _add(self, to: dict[str, Part], what: str, part: Part, name: str | None = None) -> None:
        if name is None:
            name = str(_made(part).get("name", ""))
        if not name:
            raise ValueError(f"a {what} must have a name (got {part})")
        # Init containers share the names of the others.
        taken = to if to is self._volumes else {**self._containers, **self._init_containers}
        if name in taken:
            raise ValueError(f"{what} {name} is there already; give this one another name")
        to[name] = part


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Manifest:
    """Return `base` with these changes; mappings are merged, anything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        before = result.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            result[key] = merged(before, value)
        else:
            result[key] = value
    return result


def _mounted(containers: Iterable[Manifest]) -> set[str]:
    """Return the volumes that containers mount."""
    return {mount["name"] for container in containers for mount in container.get("volumeMounts") or ()}


def _made(part: Part) -> Manifest:
    return dict(part() if callable(part) else part)


def _checked(part: Any, field: str) -> Mapping[str, Any]:  # noqa: ANN401 - whatever somebody gives
    kind = _KINDS[field]
    plain = _plain(part, field)
    name = plain.get("name")
    check_part(kind, f"{kind.lower()} {name}" if isinstance(name, str) and name else kind, plain)
    return plain


def _plain(part: Any, field: str) -> Mapping[str, Any]:  # noqa: ANN401 - a struct of jsii or a mapping
    if isinstance(part, Mapping):
        return part
    if not hasattr(type(part), "__jsii_type__"):
        kind = _KINDS[field]
        raise ValueError(f"a {kind.lower()} ({part!r}) must be a k8s.{kind} or a mapping of its fields")
    # Loading the typed classes takes longer than a whole synth: whoever passes one has loaded them.
    from cdk8s_plus_27 import k8s  # noqa: PLC0415

    lists: dict[str, Any] = {"containers": [], _TYPED_FIELDS.get(field, field): [part]}
    spec = k8s.PodSpec(**lists)
    plain: Manifest = k8s.KubePod.manifest(spec=spec)["spec"][field][0]
    return plain
