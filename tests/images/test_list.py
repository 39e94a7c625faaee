"""Which images run, as text and as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from cdk8s_pypiserver.base import images
from manifests import OVERLAYS, ROOT, render

if TYPE_CHECKING:
    from pathlib import Path


def listed(*sources: object, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cdk8s_pypiserver", "images", "list", *map(str, sources)]
    return subprocess.run(command, check=False, capture_output=True, text=True, input=given)


@pytest.mark.parametrize("name", sorted(path.name for path in OVERLAYS.iterdir()))
def test_the_images_of_an_overlay(name: str) -> None:
    done = listed(OVERLAYS / name, OVERLAYS / name / "volume")
    assert (done.returncode, done.stderr) == (0, "")
    expected = {images.SERVER, images.GATEWAY}
    if name in {"object-store", "hetzner-s3"}:
        expected.add(images.STORE)
    assert done.stdout.splitlines() == sorted(expected)
    described = json.loads(listed(OVERLAYS / name, "--json").stdout)
    pods = {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
        for each in render(OVERLAYS / name)
        if each["kind"] in {"Deployment", "StatefulSet"}
    }
    containers = {
        f"{owner}/{container['name']}": container["image"]
        for owner, pod in pods.items()
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    }
    assert {named: each["image"] for each in described for named in each["containers"]} == containers
    for each in described:
        assert bool(each["digest"]) == bool(each["platforms"])


def test_all_that_the_constructs_use() -> None:
    assert listed().stdout.splitlines() == sorted(images.ALL)
    # By the text of the files alone.
    texts = [file.read_text() for file in (ROOT / "dist").rglob("*.yaml")]
    lines = {line.strip().removeprefix("- ") for text in texts for line in text.splitlines()}
    # Into a pod it is the user's own app that puts a verifier.
    used = {line.removeprefix("image: ") for line in lines if line.startswith("image: ")}
    assert used == {*images.ALL} - {images.VERIFIER}


def test_the_verifier_is_what_the_tests_run() -> None:
    version = images.VERIFIER.partition("@")[0].rpartition(":")[2]
    assert f"go install github.com/oauth2-proxy/oauth2-proxy/v7@{version}\n" in (ROOT / "Makefile").read_text()
    assert f"oauth2-proxy {version.removeprefix('v')}" in (ROOT / "docs/trusted-publishing.md").read_text()


def test_no_example_names_an_image_beside_the_lock() -> None:
    apps = (ROOT / "examples").glob("*/app.py")
    text = "".join(app.read_text() for app in apps)
    assert text.count("TrustedPublishingSpec.VERIFIER") == 2
    assert [image for image in images.ALL if image.partition(":")[0] in text] == []


def test_standard_input_and_files(tmp_path: Path) -> None:
    pod = {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "b", "image": "c:1@sha256:d"}]}}
    text = yaml.safe_dump_all([pod, None, {"kind": "List", "items": [pod]}])
    (tmp_path / "pods.yaml").write_text(text)
    for done in (listed("-", "--json", given=text), listed(tmp_path / "pods.yaml", "--json")):
        (found,) = json.loads(done.stdout)
        assert found == {
            "image": "c:1",
            "digest": "sha256:d",
            "platforms": {},
            "containers": ["Pod/a/b", "List/None/b"],
        }


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nothing", "nothing cannot be read"),
        (".", ". has no kustomization.yaml"),
        ("broken", "broken does not render: "),
        ("broken.yaml", "broken.yaml is no YAML"),
    ],
)
def test_what_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/kustomization.yaml").write_text("resources: [nothing.yaml]\n")
    (tmp_path / "broken.yaml").write_text("a: [")
    refused = listed(source)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"images: error: {says}" in refused.stderr
