"""Names, labels and annotations of the objects of one registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import cdk8s
from cdk8s_plus_27 import k8s

APPLICATION = "pypiserver"
"""The value of app.kubernetes.io/name."""

SERVER_COMPONENT = "server"
"""The value of app.kubernetes.io/component on every workload that serves the index: patches are aimed by it."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Makes the metadata of each object of one registry.

    Attributes:
        name: Name of the registry; every object is called so, or `<name>-<suffix>`.
        annotations: Annotations of every object and of the pods.
        labels: Labels of every object and of the pods besides the standard ones.
    """

    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select the pods: never a version, since a Deployment's selector cannot change."""
        return {
            "app.kubernetes.io/name": APPLICATION,
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": SERVER_COMPONENT,
        }

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels that every object bears."""
        return {**self.labels, **self.selector, "app.kubernetes.io/part-of": APPLICATION}

    def name_of(self, suffix: str = "") -> str:
        """Return the name of the object with this suffix, e.g. `pypiserver-gateway`."""
        return f"{self.name}-{suffix}" if suffix else self.name

    def of(
        self, suffix: str = "", annotations: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
    ) -> k8s.ObjectMeta:
        """Return the metadata of the object with this suffix.

        Args:
            suffix: What follows the registry's name.
            annotations: Annotations of this object besides those of every object.
            labels: Labels of this object besides those of every object.
        """
        merged = {**(annotations or {}), **self.annotations}
        return k8s.ObjectMeta(
            name=self.name_of(suffix), labels={**(labels or {}), **self.all_labels}, annotations=merged or None
        )

    def of_custom(self, suffix: str = "", labels: Mapping[str, str] | None = None) -> cdk8s.ApiObjectMetadata:
        """Return the metadata of an object of a custom resource; `labels` are those besides the usual ones."""
        return cdk8s.ApiObjectMetadata(
            name=self.name_of(suffix),
            labels={**(labels or {}), **self.all_labels},
            annotations=dict(self.annotations) or None,
        )

    def of_pod(self, annotations: Mapping[str, str]) -> k8s.ObjectMeta:
        """Return the metadata of the pod template; without a name, and with these annotations too."""
        return k8s.ObjectMeta(labels=self.all_labels, annotations={**annotations, **self.annotations})
