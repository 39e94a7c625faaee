"""What `images` tells and writes."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from cdk8s_pypiserver.base import images
from cdk8s_pypiserver.base.image_lock import LOCK, Locked, read_lock

from .manifests import images_of
from .problems import ImagesError
from .registries import locked

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

EXTRA = "sbom"
"""What to install for the bill of materials."""


def run(given: Namespace) -> int:
    """Do what the command line says, and return the exit status."""
    try:
        if given.action == "lock":
            _lock(given.file)
        elif given.action == "sbom":
            sys.stdout.write(_bill(given.sources))
        else:
            _list(given)
    except ImagesError as error:
        sys.stderr.write(f"images: error: {error}\n")
        return 2
    return 0


def _found(sources: Sequence[str]) -> dict[str, list[str]]:
    return images_of(sources) if sources else {image: [] for image in sorted(images.ALL)}


def _bill(sources: Sequence[str]) -> str:
    try:
        from .bom import bill_of_materials  # noqa: PLC0415 - its library may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("cdk8s_pypiserver"):
            raise
        raise ImagesError(f"there is no {error.name} here: install the extra '{EXTRA}' of cdk8s-pypiserver") from None
    return bill_of_materials(_found(sources))


def _list(given: Namespace) -> None:
    found = _found(given.sources)
    if given.json:
        described = [_description(image, containers) for image, containers in found.items()]
        sys.stdout.write(f"{json.dumps(described, indent=2)}\n")
    else:
        sys.stdout.writelines(f"{image}\n" for image in found)


def _description(image: str, containers: list[str]) -> dict[str, Any]:
    named, _, digest = image.partition("@")
    entry = read_lock(LOCK).get(named)
    platforms = entry.platforms if entry and entry.digest == digest else {}
    return {"image": named, "digest": digest or None, "platforms": platforms, "containers": containers}


def _lock(path: Path) -> None:
    tags = [image.partition("@")[0] for image in images.ALL]
    found = {tag: locked(tag) for tag in tags}
    before = _before(path)
    text = json.dumps({tag: entry._asdict() for tag, entry in sorted(found.items())}, indent=2)
    try:
        path.write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise ImagesError(f"{path} cannot be written: {error.strerror}") from error
    for tag, entry in sorted(found.items()):
        state = "is as it was" if before.get(tag) == entry else f"is {entry.digest}"
        sys.stdout.write(f"{tag} {state}\n")


def _before(path: Path) -> dict[str, Locked]:
    try:
        return read_lock(path)
    except (FileNotFoundError, ValueError):
        # It is written anew.
        return {}
