"""A chart as Kustomize gets it: files are files, and what Kustomize names is named without its hash."""

from collections.abc import Mapping
from typing import Any

import cdk8s

from cdk8s_pypiserver.base.config_files import ConfigFiles

from .patches import Manifest  # noqa: TC001


class Rendering:
    """A chart as it is written: its objects, and apart from them the files that Kustomize makes ConfigMaps of.

    Attributes:
        manifests: The objects; they name a ConfigMap of files without its hash.
        files: The files of each such ConfigMap.
        metadata: Labels and annotations of each such ConfigMap.
    """

    def __init__(self, chart: cdk8s.Chart) -> None:
        """Render a chart."""
        manifests: list[Manifest] = chart.to_json()
        made = {each.object_name: each for each in chart.node.find_all() if isinstance(each, ConfigFiles)}
        self.files = {each.base_name: dict(each.files) for each in made.values()}
        self.metadata: dict[str, Manifest] = {}
        self.manifests: list[Manifest] = []
        for manifest in manifests:
            if manifest["kind"] == "ConfigMap" and (each := made.get(manifest["metadata"]["name"])):
                kept = {field: manifest["metadata"].get(field) for field in ("labels", "annotations")}
                self.metadata[each.base_name] = {field: value for field, value in kept.items() if value}
            else:
                self.manifests.append(_renamed(manifest, {name: each.base_name for name, each in made.items()}))


def _renamed(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any part of a manifest
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
