"""The digests of the images, as `python -m cdk8s_pypiserver images lock` has read them from their registries."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

PLATFORMS = ("linux/amd64", "linux/arm64")
"""What every image has to run on."""
LOCK = Path(__file__).with_name("images.lock")
"""The lock: empty until somebody with a way to the registries fills it."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Locked(NamedTuple):
    """What a registry has under the tag of an image."""

    digest: str
    """Digest of the index, which names an image for each platform."""
    platforms: dict[str, str]
    """Digest of the image for each of PLATFORMS."""


@cache
def read_lock(path: Path) -> dict[str, Locked]:
    """Return what a lock has of each image.

    Raises:
        ValueError: It is no such file; the text names the image and what is wrong.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        return {image: _entry(path, image, entry) for image, entry in content.items()}
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"{path} is no lock of images: {error}") from error


def pinned(image: str, path: Path = LOCK) -> str:
    """Return an image with the digest that the lock has of it; as it is if there is none.

    Raises:
        ValueError: The lock is malformed.
    """
    entry = read_lock(path).get(image)
    return f"{image}@{entry.digest}" if entry else image


def _entry(path: Path, image: str, entry: object) -> Locked:
    if not isinstance(entry, dict) or entry.keys() != {"digest", "platforms"}:
        raise ValueError(f"{path}: {image} must have a digest and platforms, and nothing else")
    digest, platforms = entry["digest"], entry["platforms"]
    if not isinstance(platforms, dict) or platforms.keys() != {*PLATFORMS}:
        raise ValueError(f"{path}: {image} must have {' and '.join(PLATFORMS)}")
    for each in (digest, *platforms.values()):
        if not isinstance(each, str) or not _DIGEST.fullmatch(each):
            raise ValueError(f"{path}: {image} has {each!r}, which is no digest (sha256: and 64 digits)")
    return Locked(digest, platforms)
