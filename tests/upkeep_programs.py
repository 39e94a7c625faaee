"""Run what backs up, restores and tries as the processes that they are in the pod."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from cdk8s_pypiserver.base.remote import BEHAVIOUR
from programs import PATIENCE, RUNTIME, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass
class Ended:
    """How a run ended."""

    status: int
    said: str
    told: dict[str, Any]
    """What the server reads of it."""


class Upkeep:
    """Runs about one volume and one store, with a directory that keeps their status."""

    def __init__(
        self, directory: Path, packages: Path, store: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.packages = packages
        self.status = directory / "status"
        self.status.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            # As container runtimes have it for a user whom the image does not know.
            "HOME": "/",
            "PYTHONPATH": str(RUNTIME),
            "PYTHONDONTWRITEBYTECODE": "1",
            **BEHAVIOUR,
            "RCLONE_RETRIES": "1",
            "BACKUP_STORE": store,
            "BACKUP_STATUS": str(self.status),
            "PACKAGES_DIRECTORY": str(packages),
            **(environment or {}),
        }

    def launch(self, kind: str, **variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "backup.main", kind]
        environment = {**self.environment, **variables}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ended(self, process: subprocess.Popen[str], kind: str) -> Ended:
        said, _ = process.communicate(timeout=6 * PATIENCE)
        path = self.status / f"{kind}.json"
        return Ended(process.returncode, said, json.loads(path.read_text()) if path.exists() else {})

    def run(self, kind: str, **variables: str) -> Ended:
        return self.ended(self.launch(kind, **variables), kind)

    def restore(self, **variables: str) -> Ended:
        """Not only tell what it would do."""
        return self.run("restore", RESTORE_DRY_RUN="no", **variables)


def content(directory: Path) -> dict[str, bytes]:
    """The files below a directory, but for what a registry only remembers."""
    memory = (".pypiserver/facts-1", ".pypiserver/in-use", ".pypiserver/unfinished", ".pypiserver/claims")
    found = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    return {path: data for path, data in found.items() if not path.startswith(memory)}


def yank(server: Server, name: str, version: str, reason: str) -> None:
    """Withdraw a version as its publisher does."""
    form = {":action": "yank", "name": name, "version": version, "reason": reason}
    requests.post(f"{server.url}/", data=form, timeout=PATIENCE).raise_for_status()


def remove(server: Server, name: str, version: str) -> None:
    """Remove a version as its publisher does."""
    form = {":action": "remove_pkg", "name": name, "version": version}
    requests.post(f"{server.url}/", data=form, timeout=PATIENCE).raise_for_status()
