"""A build backend (PEP 517) that needs nothing but Python, so that a source distribution installs without a network.

The samples are made with it, and every sample that is a source distribution carries it: `pip install` of one must not
look for a build system on an index that holds the samples alone.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every member, since the same sample must have the same digest: the first a ZIP file can name."""


def write_wheel(directory: Path, stem: str, metadata: str, files: Mapping[str, bytes]) -> Path:
    """Write `<stem>-py3-none-any.whl`; `stem` is the escaped name and the version, joined by a hyphen."""
    information = f"{stem}.dist-info"
    members = {
        **files,
        f"{information}/METADATA": metadata.encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: samples\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in members.items()]
    record = f"{information}/RECORD"
    members[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    path = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EARLIEST), content)
    return path


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """Build the unpacked source distribution in the working directory (PEP 517's hook)."""
    del config_settings, metadata_directory
    root = Path.cwd()
    metadata = (root / "PKG-INFO").read_text()
    files = {
        path.relative_to(root / "src").as_posix(): path.read_bytes()
        for path in sorted((root / "src").rglob("*"))
        if path.is_file()
    }
    return write_wheel(Path(wheel_directory), (root / "stem").read_text(), metadata, files).name


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
