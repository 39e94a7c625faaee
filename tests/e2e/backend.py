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
    from collections.abc import Iterable, Mapping

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every member, since the same sample must have the same digest: the first a ZIP file can name."""


def write_wheel(directory: Path, stem: str, metadata: str, files: Mapping[str, bytes | Iterable[bytes]]) -> Path:
    """Write `<stem>-py3-none-any.whl`; `stem` is the escaped name and the version, joined by a hyphen.

    A file may be given in parts, of which one is in memory at a time.
    """
    information = f"{stem}.dist-info"
    members = {
        **files,
        f"{information}/METADATA": metadata.encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: samples\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{information}/RECORD"
    lines = []
    path = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            digest, size = hashlib.sha256(), 0
            with archive.open(zipfile.ZipInfo(name, EARLIEST), "w", force_zip64=True) as member:
                for part in [content] if isinstance(content, bytes) else content:
                    digest.update(part)
                    size += member.write(part)
            encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={encoded},{size}\n")
        archive.writestr(zipfile.ZipInfo(record, EARLIEST), "".join([*lines, f"{record},,\n"]))
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
