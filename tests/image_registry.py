"""A registry of images on loopback, Debian's docker-registry, and images of several platforms in it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import requests
import yaml

from programs import free_port, installed, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OCI = "application/vnd.oci.image"
BOTH = ("linux/amd64", "linux/arm64/v8")


class ImageRegistry:
    """A registry that stands for those of the images: skopeo is told so by its own configuration."""

    def __init__(self, directory: Path, port: int) -> None:
        """Know where it is; `running` starts it."""
        self.directory = directory
        self.address = f"127.0.0.1:{port}"
        conf = directory / ".config/containers/registries.conf"
        conf.parent.mkdir(parents=True)
        conf.write_text(
            "".join(
                f'[[registry]]\nprefix = "{host}"\nlocation = "{self.address}/{host}"\ninsecure = true\n'
                for host in ("docker.io", "ghcr.io", "quay.io")
            )
            + f'[[registry]]\nlocation = "{self.address}"\ninsecure = true\n'
        )
        conf.with_name("policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self.environment = {**os.environ, "HOME": str(directory)}

    def push(self, image: str, platforms: Sequence[str] = BOTH, *, index: bool = True) -> dict[str, str]:
        """Put an image under its tag; return the digest of the index as `""`, and of each platform's image."""
        layout = self.directory / hashlib.sha256(f"{image} {platforms} {index}".encode()).hexdigest()[:16]
        digests = _layout(layout, image, platforms, index=index)
        # Mirrors are for reading: what is written goes where the name says.
        target = f"docker://{self.address}/{image}"
        command = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests", f"oci:{layout}:made", target]
        subprocess.run(command, check=True, env=self.environment)
        return digests


@contextlib.contextmanager
def running(directory: Path) -> Iterator[ImageRegistry]:
    """Start a registry whose images are in a directory."""
    program, port = installed("docker-registry"), free_port()
    assert program
    configuration = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "stored")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (directory / "config.yml").write_text(yaml.safe_dump(configuration))
    with subprocess.Popen([program, "serve", str(directory / "config.yml")]) as process:
        try:
            wait_for(lambda: _answers(port), "the registry of images")
            yield ImageRegistry(directory, port)
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"http://127.0.0.1:{port}/v2/", timeout=5).ok
    return False


def _layout(layout: Path, content: str, platforms: Sequence[str], *, index: bool) -> dict[str, str]:
    """Write an OCI image layout, with what builders put beside the images of the platforms."""
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(media: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    def document(media: str, value: dict[str, Any]) -> dict[str, Any]:
        return blob(f"{OCI}.{media}.v1+json", json.dumps(value).encode())

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        files.addfile(tarfile.TarInfo("empty"))
    layer = blob(f"{OCI}.layer.v1.tar", archive.getvalue())
    images: list[dict[str, Any]] = []
    digests: dict[str, str] = {}
    for platform in [*platforms, "unknown/unknown"]:
        system, architecture, *variant = platform.split("/")
        config = document(
            "config",
            {
                "os": system,
                "architecture": architecture,
                "config": {"Labels": {"made-from": content}},
                "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            },
        )
        image = document("manifest", {"schemaVersion": 2, "config": config, "layers": [layer]})
        named = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        images.append({**image, "platform": named})
        digests[platform] = str(image["digest"])
    made = images[0]
    if index:
        made = document("index", {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": images})
        digests[""] = str(made["digest"])
    tagged = {**made, "annotations": {"org.opencontainers.image.ref.name": "made"}}
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    return digests
