"""Objects whose content is decided when they are written, so that a registry stays open until synth."""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import cdk8s
from constructs import Construct

from .identity import Identity

Manifest = dict[str, Any]
"""A Kubernetes object or a part of one, as YAML and the API know it."""


class KubernetesObject(cdk8s.ApiObject):
    """An object of one registry: named and labelled as such, its content asked for when it is written.

    `cdk8s.ApiObject.of`, `metadata.add_label` and `add_json_patch` work on it as on any object of cdk8s.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id_: str,
        *,
        kind: str,
        identity: Identity,
        content: Callable[[], Mapping[str, Any]],
        api_version: str = "v1",
        suffix: str = "",
        cluster_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Make the object `<name>-<suffix>`.

        Args:
            scope: The construct that it belongs to.
            id_: Name of this construct in its scope; "Default" makes it what `ApiObject.of` finds there.
            kind: Kind of the object.
            identity: Whose object it is.
            content: Returns what the object has besides apiVersion, kind and metadata.
            api_version: API group and version.
            suffix: What follows the registry's name.
            cluster_name: Name of an object that is the whole cluster's, and so in no namespace.
            labels: Labels of this object besides those of every object.
            annotations: Annotations of this object besides those of every object.
        """
        metadata = cdk8s.ApiObjectMetadata(
            name=cluster_name or identity.name_of(suffix),
            labels={**(labels or {}), **identity.labels},
            annotations={**(annotations or {}), **identity.annotations} or None,
        )
        super().__init__(scope, id_, api_version=api_version, kind=kind, metadata=metadata)
        self._content = content
        self._cluster_wide = cluster_name is not None
        self._json_patches: list[cdk8s.JsonPatch] = []
        identity.follow(self)

    def add_json_patch(self, *ops: cdk8s.JsonPatch) -> None:
        """Change the object by these operations when it is written, after everything else."""
        # cdk8s would apply them before the content is there.
        self._json_patches.extend(ops)

    def to_json(self) -> Any:  # noqa: ANN401 - as in cdk8s
        """Return the object; cdk8s calls this at synth."""
        manifest = sanitized({**super().to_json(), **self._content()})
        if self._cluster_wide:
            # cdk8s gives the chart's namespace to every object.
            manifest["metadata"].pop("namespace", None)
        return cdk8s.JsonPatch.apply(manifest, *self._json_patches) if self._json_patches else manifest


def sanitized(value: Mapping[str, Any]) -> Manifest:
    """Return a copy with sorted keys and without fields that are None.

    Raises:
        TypeError: something in it is not JSON.
    """
    return cast("Manifest", json.loads(json.dumps(_without_none(value), sort_keys=True)))


def _without_none(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value
