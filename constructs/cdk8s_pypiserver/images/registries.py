"""What registries have under a tag, through skopeo."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import Any

from cdk8s_pypiserver.base.image_lock import PLATFORMS, Locked

from .problems import ImagesError


def locked(image: str) -> Locked:
    """Return the digests of an image by its tag.

    Raises:
        ImagesError: The registry does not say, or it has no index of all platforms.
    """
    raw = _raw(image)
    try:
        index = json.loads(raw)
        entries = [(_platform(each["platform"]), str(each["digest"])) for each in index["manifests"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ImagesError(f"{image} has no index of platforms") from error
    platforms = {}
    for platform in PLATFORMS:
        digests = [digest for each, digest in entries if each == platform]
        if len(digests) != 1:
            raise ImagesError(f"{image} has {len(digests) or 'no'} images for {platform}, not one")
        platforms[platform] = digests[0]
    # By the specification of images: the digest of an index is that of its bytes.
    return Locked(f"sha256:{hashlib.sha256(raw).hexdigest()}", platforms)


def _platform(platform: dict[str, Any]) -> str:
    name = f"{platform['os']}/{platform['architecture']}"
    variant = platform.get("variant", "")
    # Of arm64 v8 is the only one, and some builders name it.
    return f"{name}/{variant}" if variant and (platform["architecture"], variant) != ("arm64", "v8") else name


def _raw(image: str) -> bytes:
    try:
        done = subprocess.run(
            ["skopeo", "inspect", "--raw", f"docker://{image}"], check=False, capture_output=True, timeout=120
        )
    except FileNotFoundError:
        raise ImagesError("there is no skopeo, which asks the registries") from None
    except subprocess.TimeoutExpired:
        raise ImagesError(f"{image}: the registry does not answer") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ImagesError(f"{image}: {said[-1] if said else 'skopeo failed'}")
    return done.stdout
