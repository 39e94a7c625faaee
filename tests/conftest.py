"""Snapshots are one YAML file a case, so that a reviewer reads manifests."""

from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from manifests import Manifest, hashed, without_hashes

pytest_plugins = ["strictness"]


class _Manifests(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "yaml"

    def serialize(self, data: Any, **_: Any) -> str:  # noqa: ANN401
        plain = without_hashes(data, hashed(data))
        return yaml.safe_dump_all(map(_without_programs, plain), sort_keys=False, width=10_000)


def _without_programs(manifest: Manifest) -> Manifest:
    """Leave out the shipped files, which are sources of their own."""
    if manifest["kind"] == "ConfigMap":
        return {**manifest, "data": dict.fromkeys(manifest["data"], "(shipped file)")}
    return manifest


@pytest.fixture
def manifests_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """Return a snapshot of manifests as a YAML file."""
    return snapshot.use_extension(_Manifests)
