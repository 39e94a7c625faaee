"""Who a registry is: the names, labels and annotations that its objects share."""

from typing import Protocol

from .fields import check_annotation, check_label

APPLICATION = "pypiserver"
"""The value of app.kubernetes.io/name."""

INSTANCE = "app.kubernetes.io/instance"
"""The label that has the name of the registry."""

ROLE = "pypiserver/role"
"""The label that tells the pods of a writer from those of its readers; elsewhere there is none."""
READER, WRITER = "reader", "writer"
"""Its values, and of ROLE in the environment of the server."""

SERVER_COMPONENT = "server"
"""The value of app.kubernetes.io/component on every workload that serves the index."""

KEPT = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""Annotations of what holds packages: Argo CD and Flux do not delete it when it is gone from their source."""


class Labelled(Protocol):
    """What bears labels and annotations: an object of a registry, or the metadata of any."""

    def add_label(self, key: str, value: str) -> None:
        """Put a label on it."""

    def add_annotation(self, key: str, value: str) -> None:
        """Put an annotation on it."""


class Identity:
    """The name of a registry, and what all its objects bear.

    Attributes:
        name: Name of the registry; every object is called so, or `<name>-<suffix>`.
        has_readers: Whether clients reach pods that only read, and those a writer.
    """

    def __init__(self, name: str) -> None:
        """Begin with the standard labels and no annotation."""
        self.name = name
        self.has_readers = False
        self._labels: dict[str, str] = {}
        self._annotations: dict[str, str] = {}
        self._followers: list[Labelled] = []

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select the pods: never a version, since a Deployment's selector cannot change."""
        return self.selector_of(SERVER_COMPONENT)

    @property
    def served(self) -> dict[str, str]:
        """The labels that select the pods which clients reach: all of them, or the readers."""
        return self.in_role(READER) if self.has_readers else self.selector

    def in_role(self, role: str) -> dict[str, str]:
        """Return the labels that select the pods of a role."""
        return {**self.selector, ROLE: role}

    @property
    def labels(self) -> dict[str, str]:
        """The labels that every object and the pods bear."""
        return {**self._labels, **self.selector, "app.kubernetes.io/part-of": APPLICATION}

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that every object and the pods bear."""
        return dict(self._annotations)

    def selector_of(self, component: str) -> dict[str, str]:
        """Return the labels that select the pods of a component, such as those of a CronJob."""
        return {
            "app.kubernetes.io/name": APPLICATION,
            INSTANCE: self.name,
            "app.kubernetes.io/component": component,
        }

    def name_of(self, suffix: str = "") -> str:
        """Return the name of the object with this suffix, e.g. `pypiserver-gateway`."""
        return f"{self.name}-{suffix}" if suffix else self.name

    def add_label(self, key: str, value: str) -> None:
        """Put a label on every object, those that are still to be made included, and on the pods.

        Raises:
            ValueError: the label is one of those that select the pods, or Kubernetes would refuse it.
        """
        check_label(key, value)
        if key == ROLE or (key in self.labels and key not in self._labels):
            raise ValueError(f"label {key} ({value}) cannot be changed: the registry's objects find each other by it")
        self._labels[key] = value
        for each in self._followers:
            each.add_label(key, value)

    def add_annotation(self, key: str, value: str) -> None:
        """Put an annotation on every object, those that are still to be made included, and on the pods.

        Raises:
            ValueError: Kubernetes would refuse it.
        """
        check_annotation(key, value)
        self._annotations[key] = value
        for each in self._followers:
            each.add_annotation(key, value)

    def follow(self, made: Labelled) -> None:
        """Have labels and annotations that are added later put on this object too."""
        self._followers.append(made)
