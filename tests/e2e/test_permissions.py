"""Permissions: whose names are whose, for publishing and for reading, and what is everybody's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cdk8s_pypiserver import (
    KustomizeApp,
    LocalVolumeSpec,
    NamespaceChart,
    PermissionRuleSpec,
    PermissionsSpec,
    PyPIServerChart,
    PyPIServerSpec,
    VolumeChart,
)
from e2e import cluster, samples
from manifests import kustomization

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.cluster import Registry

COMPONENTS = cluster.ROOT / "dist/components"


def test_each_publishes_and_reads_what_is_theirs(deploy: Callable[..., Registry], sample_directory: Path) -> None:
    publisher, reader = cluster.PUBLISHER, cluster.READER
    rules = [
        {"projects": ["owned-*"], "publish": [publisher.user]},
        {"projects": ["left-*"], "create": ["*"]},
        {"projects": ["*"], "excluding": ["owned-*", "left-*"], "read": ["*"]},
    ]
    patch = _file(json.dumps({"rules": rules}))
    overlay = cluster.OVERLAYS / "local"
    registry = deploy("permissions", overlay, [patch], components=[COMPONENTS / "permissions"], accounts=True)
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


def _file(text: str) -> cluster.Patch:
    """The rules in the place of those that the component has."""
    file = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pypiserver-permissions"}}
    return cluster.Patch("ConfigMap", {**file, "data": {"permissions.json": text}}, "pypiserver-permissions")


@pytest.mark.parametrize("how", ["constructs", "components"])
def test_some_projects_are_everybodys(
    how: str, deploy: Callable[..., Registry], tmp_path: Path, sample_directory: Path
) -> None:
    rules = [
        PermissionRuleSpec(projects=["open-*"], read=["@anonymous"]),
        PermissionRuleSpec(projects=["*"], publish=[cluster.PUBLISHER.user]),
    ]
    permissions = PermissionsSpec(rules=rules)
    if how == "constructs":
        registry = deploy("everybody", _made(tmp_path, permissions), accounts=True)
    else:
        components = [COMPONENTS / name for name in ("permissions", "anonymous-projects")]
        overlay = cluster.OVERLAYS / "local"
        registry = deploy("public", overlay, [_file(permissions.text)], components=components, accounts=True)
    _check(registry, tmp_path / "installed", sample_directory)


def _made(directory: Path, permissions: PermissionsSpec) -> Path:
    """A registry of an app of its own."""
    app = KustomizeApp(directory / "dist", name="everybody")
    NamespaceChart(app, "namespace")
    VolumeChart(app, "volume", PyPIServerSpec())
    kept = LocalVolumeSpec(existing_claim="pypiserver-packages")
    PyPIServerChart(app, "registry", PyPIServerSpec(storage=kept, permissions=permissions))
    app.synth()
    folders = [directory / "dist" / name for name in ("namespace", "volume", "registry")]
    return kustomization(directory / "site", resources=folders)


def _check(registry: Registry, directory: Path, sample_directory: Path) -> None:
    publisher = cluster.PUBLISHER
    everybodys, own = (samples.make(sample_directory, name) for name in ("open-demo", "own-demo"))
    published = registry.client(publisher).twine([everybodys.path, own.path])
    assert published.returncode == 0, published.stdout
    anybody = registry.client(None)
    assert anybody.pip_install([everybodys], directory / "of-anybody").returncode == 0
    assert anybody.pip_install([own], directory / "of-nobody").returncode != 0
    for path in ("simple/own-demo/", f"packages/{own.path.name}", "simple/absent/"):
        answer = anybody.get(path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="pypiserver"')
    assert registry.client(publisher).pip_install([everybodys, own], directory / "of-both").returncode == 0
    assert "own-demo" in registry.client(publisher).get("simple/").text
    listed = anybody.get("simple/").text
    assert "open-demo" in listed
    assert "own-demo" not in listed
