"""The commands of docs/air-gap.md, with a registry that is the source and the mirror."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from cdk8s_pypiserver.base import images
from documents import blocks
from image_registry import running
from manifests import ROOT
from programs import needs

DOCUMENT = ROOT / "docs/air-gap.md"
SHIPPED = [images.GATEWAY, images.SERVER]


@needs("skopeo")
@needs("docker-registry")
def test_commands_of_the_document(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    for folder in ("dist", "overlays"):
        (tmp_path / "site" / folder).symlink_to(ROOT / folder)
    script = "".join(text for kind, text in blocks(DOCUMENT) if kind == "bash images")
    with running(tmp_path) as registry:
        pushed = {image: registry.push(image.partition("@")[0]) for image in SHIPPED}
        environment = {
            **registry.environment,
            "PATH": f"{Path(sys.executable).parent}:{registry.environment['PATH']}",
            "MIRROR": f"{registry.address}/mirror",
        }
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path / "site",
            env=environment,
        )
        assert ran.returncode == 0, ran.stderr
        assert (tmp_path / "site/images.txt").read_text().splitlines() == SHIPPED
        for image, digests in pushed.items():
            mirrored = f"docker://{registry.address}/mirror/{image.partition('@')[0]}"
            index = subprocess.run(
                ["skopeo", "inspect", "--raw", mirrored], check=True, capture_output=True, env=environment
            )
            assert f"sha256:{hashlib.sha256(index.stdout).hexdigest()}" == digests[""]
