"""The component `permissions`: whose names are whose, for publishing and for reading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from e2e import cluster, samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry

COMPONENT = cluster.ROOT / "dist/components/permissions"


def test_each_publishes_and_reads_what_is_theirs(deploy: Callable[..., Registry], sample_directory: Path) -> None:
    publisher, reader = cluster.PUBLISHER, cluster.READER
    rules = [
        {"projects": ["owned-*"], "publish": [publisher.user]},
        {"projects": ["left-*"], "create": ["*"]},
        {"projects": ["*"], "excluding": ["owned-*", "left-*"], "read": ["*"]},
    ]
    file = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pypiserver-permissions"}}
    text = json.dumps({"rules": rules})
    patch = cluster.Patch("ConfigMap", {**file, "data": {"permissions.json": text}}, "pypiserver-permissions")
    overlay = cluster.OVERLAYS / "local"
    registry = deploy("permissions", overlay, [patch], components=[COMPONENT], accounts=True)
    owned, other = (samples.make(sample_directory, name) for name in ("owned-demo", "unowned-demo"))
    published = registry.client(publisher).twine([owned.path])
    assert published.returncode == 0, published.stdout
    refused = registry.client(publisher).twine([other.path])
    assert refused.returncode != 0
    assert f"{publisher.user} has no right to publish unowned-demo" in " ".join(refused.stdout.split())
    for path in ("simple/owned-demo/", f"packages/{owned.path.name}"):
        assert registry.client(publisher).get(path).status_code == 200
        hidden, missing = registry.client(reader).get(path), registry.client(reader).get("simple/owned-none/")
        assert (hidden.status_code, hidden.text) == (missing.status_code, missing.text) == (404, "Not found.\n")
    assert "owned-demo" in registry.client(publisher).get("simple/").text
    assert "owned-demo" not in registry.client(reader).get("simple/").text
    assert registry.client(publisher).pip_install([owned], sample_directory / "target").returncode == 0
    # What is left to whoever comes first is theirs.
    for version in ("1.0", "2.0"):
        left = samples.make(sample_directory, "left-demo", version)
        published = registry.client(publisher).twine([left.path])
        assert published.returncode == 0, published.stdout
    assert json.loads(registry.exec("cat /data/packages/.pypiserver/owners/left-demo")) == {"owner": publisher.user}
    assert registry.client(publisher).get("simple/left-demo/").status_code == 200
    assert registry.client(reader).get("simple/left-demo/").status_code == 404
