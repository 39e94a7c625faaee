"""A chart as Kustomize gets it: files are files, and what Kustomize names is named without its hash."""

import json
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import cdk8s
from constructs import Node

from cdk8s_pypiserver.base.config_files import ConfigFiles
from cdk8s_pypiserver.base.manifest import Manifest
from cdk8s_pypiserver.base.objects import chart_of, know_chart

# Node.js is asked for it each time, of a chart that many concerns join.
_NODES: WeakKeyDictionary[cdk8s.Chart, Node] = WeakKeyDictionary()


class Rendering:
    """A chart as it is written: its objects, and apart from them the files that Kustomize makes ConfigMaps of.

    Attributes:
        chart: The chart.
        namespace: The chart's namespace, if it has one.
        manifests: The objects; they name a ConfigMap of files without its hash, and have no namespace but another than
            the chart's.
        files: The files of each such ConfigMap.
        metadata: Labels and annotations of each such ConfigMap.
    """

    def __init__(self, chart: cdk8s.Chart) -> None:
        """Render a chart as it is now; what joins it later is not in here."""
        self.chart = chart
        objects = _objects(chart)
        self.namespace = chart_of(chart).namespace
        made = [each for each in objects if isinstance(each, ConfigFiles)]
        names = {each.object_name: each.base_name for each in made}
        self.files = {each.base_name: dict(each.files) for each in made}
        self.metadata: dict[str, Manifest] = {}
        self.manifests: list[Manifest] = []
        for each in objects:
            manifest: Manifest = each.to_json()
            if self.namespace and manifest["metadata"].get("namespace") == self.namespace:
                # Kustomize gives it to the objects, and to what it makes of files and other layers add to.
                del manifest["metadata"]["namespace"]
            if isinstance(each, ConfigFiles):
                kept = {field: manifest["metadata"].get(field) for field in ("labels", "annotations")}
                self.metadata[each.base_name] = {field: value for field, value in kept.items() if value}
            else:
                self.manifests.append(_renamed(manifest, names))


def _objects(chart: cdk8s.Chart) -> list[cdk8s.ApiObject]:
    """Return the objects of a chart without those of charts in it.

    Each is asked for its content here: were the chart asked, Node.js would ask Python for most of it.
    """
    if chart not in _NODES:
        _NODES[chart] = chart.node
    constructs = _NODES[chart].find_all()
    objects = [each for each in constructs if isinstance(each, cdk8s.ApiObject)]
    if sum(isinstance(each, cdk8s.Chart) for each in constructs) > 1:
        return [each for each in objects if each.chart is chart]
    know_chart(chart, constructs)
    return objects


def _renamed(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
    """Return the manifest with other names wherever one is a whole value."""
    # As JSON, since to look at each value takes twice as long.
    text = json.dumps(manifest)
    if not any(name in text for name in names):
        return manifest
    for name, other in names.items():
        text = text.replace(f'"{name}"', f'"{other}"')
    renamed: Manifest = json.loads(text)
    return renamed
