"""Objects whose content is decided when they are written, so that a registry stays open until synth."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import cdk8s
from constructs import Construct, IConstruct

from .fields import Label, check_annotation, check_label, refusal
from .identity import Identity
from .manifest import Manifest
from .problems import Problem, SpecError


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
            annotations: Annotations of this object besides those of every object; those that are added to the mapping
                until synth count too.
        """
        self._metadata: Manifest = {
            "name": cluster_name or identity.name_of(suffix),
            "labels": {**(labels or {}), **identity.labels},
            "annotations": {**(annotations or {}), **identity.annotations},
        }
        self._metadata_is_ours = True
        metadata = cdk8s.ApiObjectMetadata(name=self._metadata["name"])
        super().__init__(scope, id_, api_version=api_version, kind=kind, metadata=metadata)
        self._scope = scope
        self._type = {"apiVersion": api_version, "kind": kind}
        self._content = content
        self._annotations = {} if annotations is None else annotations
        self._cluster_wide = cluster_name is not None
        self._json_patches: list[cdk8s.JsonPatch] = []
        identity.follow(self)

    @property
    def metadata(self) -> cdk8s.ApiObjectMetadataDefinition:
        """The metadata as cdk8s has it, to be changed until synth."""
        # Code in Node.js comes by here too. What nobody asks for need neither be told to Node.js nor be read back.
        metadata = super().metadata
        if self._metadata_is_ours:
            self._metadata_is_ours = False
            for key, value in self._metadata["labels"].items():
                metadata.add_label(key, value)
            for key, value in self._metadata["annotations"].items():
                metadata.add_annotation(key, value)
        return metadata

    def add_label(self, key: str, value: str) -> None:
        """Put a label on the object.

        Raises:
            ValueError: Kubernetes would refuse it.
        """
        check_label(key, value)
        if self._metadata_is_ours:
            self._metadata["labels"][key] = value
        else:
            self.metadata.add_label(key, value)

    def add_annotation(self, key: str, value: str) -> None:
        """Put an annotation on the object.

        Raises:
            ValueError: Kubernetes would refuse it.
        """
        check_annotation(key, value)
        if self._metadata_is_ours:
            self._metadata["annotations"][key] = value
        else:
            self.metadata.add_annotation(key, value)

    def add_json_patch(self, *ops: cdk8s.JsonPatch) -> None:
        """Change the object by these operations when it is written, after everything else."""
        # cdk8s would apply them before the content is there.
        self._json_patches.extend(ops)

    def to_json(self) -> Any:  # noqa: ANN401 - as in cdk8s
        """Return the object; cdk8s calls this at synth."""
        metadata = self._own_metadata() if self._metadata_is_ours else super().to_json()["metadata"]
        metadata["annotations"] = {**self._annotations, **(metadata.get("annotations") or {})} or None
        if self._cluster_wide:
            # cdk8s gives the chart's namespace to every object.
            metadata["namespace"] = None
        manifest = sanitized({**self._type, "metadata": metadata, **self._content()})
        return cdk8s.JsonPatch.apply(manifest, *self._json_patches) if self._json_patches else manifest

    def _own_metadata(self) -> Manifest:
        """Return what cdk8s would make of the metadata."""
        chart = chart_of(self._scope)
        labels = {**chart.labels, **self._metadata["labels"]}
        return {**self._metadata, "namespace": chart.namespace, "labels": labels}


class _Chart(NamedTuple):
    """What a chart gives to its objects."""

    namespace: str | None
    labels: Mapping[str, str]


_CHARTS: WeakKeyDictionary[IConstruct, _Chart] = WeakKeyDictionary()


class KnownChart(cdk8s.Chart):
    """A chart that gives its objects a namespace at most, for which Node.js need not be asked."""

    def __init__(self, scope: Construct, id_: str, *, namespace: str | None = None) -> None:
        """Make the chart; arguments as for cdk8s.Chart.

        Raises:
            SpecError: there can be no such namespace.
        """
        if namespace is not None and (reason := refusal(Label, namespace)):
            raise SpecError(type(self).__name__, [Problem(("namespace",), namespace, reason)])
        super().__init__(scope, id_, namespace=namespace)
        _CHARTS[self] = _Chart(namespace, {})


def know_chart(chart: cdk8s.Chart, constructs: Iterable[IConstruct]) -> None:
    """Take note of the chart that constructs are in, which Node.js would be asked for each of them else."""
    if chart not in _CHARTS:
        _CHARTS[chart] = _Chart(chart.namespace, chart.labels)
    _CHARTS.update(dict.fromkeys(constructs, _CHARTS[chart]))


def chart_of(scope: IConstruct) -> _Chart:
    """Return what the chart of a construct gives to its objects, which never changes."""
    if scope not in _CHARTS:
        know_chart(cdk8s.Chart.of(scope), [scope])
    return _CHARTS[scope]


def sanitized(value: Mapping[str, Any]) -> Manifest:
    """Return a copy with sorted keys and without fields that are None.

    Raises:
        TypeError: something in it is not JSON.
    """
    # Most values are texts, and most of the time goes into calls.
    return {
        key: item if isinstance(item, str) else _sanitized(item)
        for key, item in sorted(value.items())
        if item is not None
    }


def _sanitized(value: object) -> object:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_sanitized(item) for item in value]
    if isinstance(value, (dict, Mapping)):
        return sanitized(value)
    raise TypeError(f"{value!r} is not JSON")
