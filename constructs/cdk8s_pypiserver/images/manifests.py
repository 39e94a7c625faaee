"""The images in manifests, and the containers that run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .problems import ImagesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KUSTOMIZATION = "kustomization.yaml"
_LISTS = ("initContainers", "containers", "ephemeralContainers")


def images_of(sources: Iterable[str]) -> dict[str, list[str]]:
    """Return the images in what is applied, each with its containers as `Kind/name/container`.

    Args:
        sources: Folders with a kustomization, files, or `-` for standard input.

    Raises:
        ImagesError: A source cannot be read or rendered.
    """
    found: dict[str, list[str]] = {}
    for source in sources:
        try:
            documents = list(yaml.load_all(_text(source), yaml.CSafeLoader))
        except yaml.YAMLError as error:
            raise ImagesError(f"{source} is no YAML: {error}") from error
        for document in documents:
            if isinstance(document, dict):
                name = f"{document.get('kind')}/{(document.get('metadata') or {}).get('name')}"
                for container in _containers(document):
                    found.setdefault(str(container["image"]), []).append(f"{name}/{container.get('name')}")
    return dict(sorted(found.items()))


def _text(source: str) -> str:
    if source == "-":
        return sys.stdin.read()
    path = Path(source)
    if path.is_dir():
        if not (path / KUSTOMIZATION).exists():
            raise ImagesError(f"{source} has no {KUSTOMIZATION}")
        return _rendered(source)
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ImagesError(f"{source} cannot be read: {error}") from error


def _rendered(folder: str) -> str:
    try:
        done = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise ImagesError("there is no kubectl, which renders folders") from None
    if done.returncode:
        raise ImagesError(f"{folder} does not render: {done.stderr.strip()}")
    return done.stdout


def _containers(part: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any part of a manifest
    """Yield the containers, wherever the pods are."""
    if isinstance(part, list):
        for item in part:
            yield from _containers(item)
    elif isinstance(part, dict):
        for field, value in part.items():
            if field in _LISTS and isinstance(value, list):
                yield from (each for each in value if isinstance(each, dict) and "image" in each)
            else:
                yield from _containers(value)
