"""The digests of images: read from registries, and applied to whatever is written from then on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.image_lock import LOCK, PLATFORMS, Locked, pinned, read_lock
from image_registry import ImageRegistry, running
from manifests import ROOT
from programs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAGS = [image.partition("@")[0] for image in images.ALL]
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
ENTRY = {"digest": DIGEST, "platforms": dict.fromkeys(PLATFORMS, DIGEST)}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    """A registry with all of the images."""
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def lock(file: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cdk8s_pypiserver", "images", "lock", str(file)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


@needs("skopeo")
@needs("docker-registry")
def test_the_lock_has_what_the_registries_have(registry: ImageRegistry, tmp_path: Path) -> None:
    pushed = {tag: registry.push(tag) for tag in TAGS}
    file = tmp_path / "images.lock"
    file.write_text("{}\n")
    done = lock(file, registry.environment)
    assert (done.returncode, done.stderr) == (0, "")
    expected = {
        tag: Locked(made[""], {"linux/amd64": made["linux/amd64"], "linux/arm64": made["linux/arm64/v8"]})
        for tag, made in pushed.items()
    }
    assert read_lock.__wrapped__(file) == expected
    assert done.stdout.splitlines() == [f"{tag} is {expected[tag].digest}" for tag in sorted(TAGS)]
    before = file.read_text()
    # A tag that names something else by now.
    moved = registry.push(TAGS[0], ["linux/amd64", "linux/arm64", "linux/riscv64"])
    again = lock(file, registry.environment)
    assert [line for line in again.stdout.splitlines() if not line.endswith("is as it was")] == [
        f"{TAGS[0]} is {moved['']}"
    ]
    assert file.read_text() == before.replace(pushed[TAGS[0]][""], moved[""]).replace(
        pushed[TAGS[0]]["linux/arm64/v8"], moved["linux/arm64"]
    )


@needs("skopeo")
@needs("docker-registry")
@pytest.mark.parametrize(
    ("platforms", "index", "says"),
    [
        (["linux/amd64"], True, "has no images for linux/arm64, not one"),
        (["linux/arm64"], True, "has no images for linux/amd64, not one"),
        (["linux/amd64", "linux/arm/v7"], True, "has no images for linux/arm64, not one"),
        (["linux/amd64", "linux/arm64", "linux/arm64/v8"], True, "has 2 images for linux/arm64, not one"),
        (["linux/amd64"], False, "has no index of platforms"),
    ],
)
def test_an_image_for_other_platforms_is_refused(tmp_path: Path, platforms: list[str], index: bool, says: str) -> None:
    with running(tmp_path) as registry:
        for tag in TAGS[:-1]:
            registry.push(tag)
        registry.push(TAGS[-1], platforms, index=index)
        file = tmp_path / "images.lock"
        file.write_text("{}\n")
        refused = lock(file, registry.environment)
    assert (refused.returncode, refused.stderr) == (2, f"images: error: {TAGS[-1]} {says}\n")
    assert file.read_text() == "{}\n"


@needs("skopeo")
@needs("docker-registry")
def test_what_a_registry_does_not_have_or_say_is_told(tmp_path: Path) -> None:
    file = tmp_path / "images.lock"
    with running(tmp_path) as registry:
        missing = lock(file, registry.environment)
    away = lock(file, registry.environment)
    assert (missing.returncode, away.returncode) == (2, 2)
    assert missing.stderr.startswith(f"images: error: {TAGS[0]}: ")
    assert "manifest unknown" in missing.stderr
    assert "connection refused" in away.stderr
    assert not file.exists()


def test_without_skopeo_nothing_is_written(tmp_path: Path) -> None:
    refused = lock(tmp_path / "images.lock", {**os.environ, "PATH": str(tmp_path)})
    assert refused.returncode == 2
    assert refused.stderr == "images: error: there is no skopeo, which asks the registries\n"
    assert list(tmp_path.iterdir()) == []


def test_the_lock_that_ships_has_all_images_or_none() -> None:
    assert set(read_lock(LOCK)) in (set(), set(TAGS))


def test_an_image_is_named_with_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "images.lock"
    file.write_text(json.dumps({"docker.io/team/name:1": ENTRY}))
    assert pinned("docker.io/team/name:1", file) == f"docker.io/team/name:1@{DIGEST}"
    assert pinned("docker.io/team/name:2", file) == "docker.io/team/name:2"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no lock of images"),
        ("[]", "is no lock of images"),
        ({"a:1": DIGEST}, "a:1 must have a digest and platforms, and nothing else"),
        ({"a:1": {"digest": DIGEST}}, "a:1 must have a digest and platforms"),
        ({"a:1": {**ENTRY, "platforms": {"linux/amd64": DIGEST}}}, "a:1 must have linux/amd64 and linux/arm64"),
        ({"a:1": {**ENTRY, "digest": DIGEST[:-1]}}, "which is no digest"),
        ({"a:1": {**ENTRY, "platforms": dict.fromkeys(PLATFORMS, 1)}}, "a:1 has 1, which is no digest"),
    ],
)
def test_a_lock_that_is_none_is_refused(tmp_path: Path, content: Any, says: str) -> None:  # noqa: ANN401
    file = tmp_path / "images.lock"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=re.escape(says)):
        pinned("a:1", file)


def test_what_is_written_with_a_lock_names_digests(tmp_path: Path) -> None:
    """app.py with the package elsewhere, whose lock is filled."""
    package = tmp_path / "source/cdk8s_pypiserver"
    shutil.copytree(ROOT / "constructs/cdk8s_pypiserver", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "base/images.lock").write_text(json.dumps(dict.fromkeys(TAGS, ENTRY)))
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    subprocess.run(
        [sys.executable, str(ROOT / "app.py")], check=True, cwd=tmp_path, env=environment, capture_output=True
    )
    found = set()
    for file in (tmp_path / "dist").rglob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            found |= set(re.findall(r"'image': '([^']+)'", str(document)))
    verifier = images.VERIFIER.partition("@")[0]
    assert found == {f"{tag}@{DIGEST}" for tag in TAGS if tag != verifier}
