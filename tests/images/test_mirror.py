"""Every image of whatever is composed comes from a mirror, and nothing else changes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from everything import EVERYTHING
from manifests import ROOT, Manifest, compose, objects, render

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "examples/air-gap"
PREFIX = "registry.example.net/mirror/"


def prefixed(part: Any) -> Any:  # noqa: ANN401 - any part of a manifest
    if isinstance(part, list):
        return [prefixed(item) for item in part]
    if isinstance(part, dict):
        return {
            field: f"{PREFIX}{value}" if field == "image" and isinstance(value, str) else prefixed(value)
            for field, value in part.items()
        }
    return part


def without_text(manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] != "ConfigMap"]


def test_the_example_is_its_overlay_from_a_mirror() -> None:
    plain = render(ROOT / "overlays/ha")
    assert objects(render(EXAMPLE)) == objects(prefixed(plain)) != objects(plain)


@pytest.mark.parametrize(("chart", "components"), EVERYTHING.values(), ids=EVERYTHING)
def test_every_container_has_the_prefix(chart: str, components: list[str], tmp_path: Path) -> None:
    plain = compose(tmp_path / "plain", chart, *components)
    folder = tmp_path / "mirrored"
    compose(folder, chart, *components)
    shutil.copy(EXAMPLE / "images.yaml", folder)
    file = folder / "kustomization.yaml"
    file.write_text(f"{file.read_text()}transformers: [images.yaml]\n")
    assert without_text(render(folder)) == without_text(prefixed(plain)) != without_text(plain)
