"""The bill of materials: valid by CycloneDX's own schema, and about what is installed and what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.images.bom import bill_of_materials
from manifests import OVERLAYS

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def sbom(*sources: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cdk8s_pypiserver", "images", "sbom", *map(str, sources)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    """That of an overlay."""
    done = sbom(OVERLAYS / "object-store")
    assert (done.returncode, done.stderr) == (0, "")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.stdout) is None
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_it_is_about_this_package_and_the_libraries_beside_it(bill: dict[str, Any]) -> None:
    root = bill["metadata"]["component"]
    assert (root["name"], root["type"]) == ("cdk8s-pypiserver", "application")
    libraries = {each["name"]: each["version"] for each in bill["components"] if each["type"] == "library"}
    assert {"cdk8s", "constructs", "jsii", "pydantic", "pydantic-core", "pyyaml"} <= libraries.keys()
    # Of the extras nothing.
    assert not {"pytest", "cyclonedx-python-lib", "rich"} & libraries.keys()
    assert {name: version(name) for name in libraries} == libraries
    needs = {each["ref"]: set(each.get("dependsOn", [])) for each in bill["dependencies"]}
    known = {each["bom-ref"] for each in bill["components"]} | {root["bom-ref"]}
    assert {each for found in needs.values() for each in found} <= known
    assert f"pkg:pypi/pydantic-core@{libraries['pydantic-core']}" in needs[f"pkg:pypi/pydantic@{libraries['pydantic']}"]


def test_the_images_are_those_that_run(bill: dict[str, Any]) -> None:
    runs = {each["bom-ref"]: each for each in bill["components"] if each["type"] == "container"}
    assert set(runs) == {images.SERVER, images.GATEWAY, images.STORE}
    named = {each["value"] for each in runs[images.STORE]["properties"]}
    assert named == {"Deployment/pypiserver/rclone", "StatefulSet/pypiserver-writer/rclone"}


def test_a_digest_is_the_version_in_the_address() -> None:
    made = bill_of_materials({f"registry.example.org:5000/team/name:1@{DIGEST}": ["Pod/a/b"], "plain": []})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made) is None
    found = {each["name"]: each for each in json.loads(made)["components"] if each["type"] == "container"}
    locked = found["registry.example.org:5000/team/name"]
    assert locked["version"] == "1"
    assert locked["hashes"] == [{"alg": "SHA-256", "content": DIGEST.removeprefix("sha256:")}]
    assert locked["purl"].startswith(f"pkg:oci/name@{DIGEST}?")
    assert "hashes" not in found["plain"]


def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "cyclonedx.py").write_text("raise ModuleNotFoundError('none', name='cyclonedx')")
    refused = sbom(PYTHONPATH=str(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr == "images: error: there is no cyclonedx here: install the extra 'sbom' of cdk8s-pypiserver\n"
