"""Snapshots are one YAML file a case, so that a reviewer reads manifests."""

from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from manifests import Manifest

pytest_plugins = ["strictness"]


class _Manifests(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "yaml"

    def serialize(self, data: Any, **_: Any) -> str:  # noqa: ANN401
        return yaml.safe_dump_all([_without_programs(manifest) for manifest in data], sort_keys=False, width=10_000)


def _without_programs(manifest: Manifest) -> Manifest:
    """Leave out the shipped files, which are sources of their own, and their checksums."""
    if manifest["kind"] == "ConfigMap":
        return {**manifest, "data": dict.fromkeys(manifest["data"], "(shipped file)")}
    if manifest["kind"] == "Deployment":
        template = manifest["spec"]["template"]
        annotations = {
            key: "(checksum)" if key.startswith("checksum/") else value
            for key, value in template["metadata"]["annotations"].items()
        }
        template = {**template, "metadata": {**template["metadata"], "annotations": annotations}}
        return {**manifest, "spec": {**manifest["spec"], "template": template}}
    return manifest


@pytest.fixture
def manifests_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Return a snapshot of manifests as a YAML file."""
    return snapshot.use_extension(_Manifests)
