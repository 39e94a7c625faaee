"""The commands of docs/moving.md, one after the other, between registries that run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from copying import pypiserver
from documents import blocks
from gateway_programs import Registry, make_sdist, make_wheel, run
from manifests import ROOT
from moving.test_registries import listed
from remote_programs import KEYS, s3

if TYPE_CHECKING:
    import pytest

PROJECT = """\
[project]
name = "site"
version = "1"
requires-python = ">=3.10"
dependencies = ["acme-one"]
"""


def test_commands_of_the_document(tmp_path: Path, target: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    commands = [text for kind, text in blocks(ROOT / "docs/moving.md") if kind == "bash moving"]
    assert len(commands) >= 4
    stored = tmp_path / "stores" / "packages" / "team"
    stored.mkdir(parents=True)
    make_wheel(stored, "stored", "1.0")
    with pypiserver(tmp_path / "old") as (url, packages), s3(tmp_path / "stores") as store:
        make_wheel(packages, "acme_one", "1.0")
        make_sdist(packages, "tools", "1.0")
        (tmp_path / "pyproject.toml").write_text(PROJECT)
        where = ("--default-index", f"{url}simple/")
        for command in (
            ("lock", *where),
            ("export", *where, "--no-emit-project", "--output-file", "requirements.txt"),
        ):
            done = run(tmp_path, "uv", *command)
            assert done.returncode == 0, done.stdout
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OLD": url.rstrip("/"),
            "REGISTRY": target.gateway.url,
            "publisher_password": "publisher-password",
            "PROVIDER": "Rclone",
            "ENDPOINT": f"http://localhost:{store.port}",
            "ACCESS_KEY_ID": KEYS["access_key_id"],
            "SECRET_ACCESS_KEY": KEYS["secret_access_key"],
        }
        script = "set -eu\n" + "".join(commands)
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert set(listed(target, "acme-one")) == {"acme_one-1.0-py3-none-any.whl"}
    assert set(listed(target, "tools")) == {"tools-1.0.tar.gz"}
    assert set(listed(target, "stored")) == {"stored-1.0-py3-none-any.whl"}
    assert (tmp_path / "carried/manifest.jsonl").exists()
