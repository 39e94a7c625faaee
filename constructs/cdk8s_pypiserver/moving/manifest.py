"""What a directory cannot say of its packages by itself, in a file beside them."""

from __future__ import annotations

import json
import os
import threading
from datetime import datetime
from typing import TYPE_CHECKING

from .package import Package, is_package

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

FILE = "manifest.jsonl"
"""Its name."""


class Manifest:
    """A line of JSON for each package, the last of which counts.

    Lines are only ever added: a kill costs the last one at most, and two runs never write over each other's.
    """

    def __init__(self, directory: Path) -> None:
        """Read the manifest of a directory, which need not have one."""
        self._path = directory / FILE
        self._lock = threading.Lock()
        self._packages: dict[str, Package] = {}
        self._broken = False
        if self._path.exists():
            content = self._path.read_bytes()
            self._broken = not content.endswith(b"\n") and bool(content)
            self._packages |= noted(content)

    def get(self, filename: str) -> Package | None:
        """What is known of a file."""
        return self._packages.get(filename)

    def add(self, package: Package) -> None:
        """Note a package.

        Raises:
            OSError: It cannot be written.
        """
        line = {
            "filename": package.filename,
            "sha256": package.digests["sha256"],
            "size": package.size,
            "yanked": package.yanked,
            "upload-time": package.uploaded.isoformat() if package.uploaded else None,
            "requires-python": package.requires_python,
        }
        text = json.dumps(line, separators=(",", ":")) + "\n"
        with self._lock:
            # What a kill left of a line ends where this one begins.
            text = "\n" + text if self._broken else text
            with self._path.open("ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            self._broken = False
            self._packages[package.filename] = package


def noted(content: bytes) -> dict[str, Package]:
    """The packages that a manifest tells of, by file name; lines that tell of none are passed over."""
    found = filter(None, map(_read, content.splitlines()))
    return {package.filename: package for package in found}


def _read(line: bytes) -> Package | None:
    """A package of which a line tells all that has to be known, else None."""
    try:
        said: dict[str, Any] = json.loads(line)
        filename, digest, size, yanked = said["filename"], said["sha256"], said["size"], said["yanked"]
        uploaded = datetime.fromisoformat(said["upload-time"]) if said["upload-time"] else None
        requires_python = said["requires-python"]
        is_right = is_package(filename) and isinstance(digest, str) and isinstance(size, int)
    except (ValueError, TypeError, KeyError):
        return None
    if not is_right or not isinstance(yanked, str | None) or not isinstance(requires_python, str | None):
        return None
    return Package(
        filename=filename,
        location=filename,
        digests={"sha256": digest},
        size=size,
        yanked=yanked,
        uploaded=uploaded,
        requires_python=requires_python,
    )
