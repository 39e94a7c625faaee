"""Files as public indexes have them: real wheels, and sparse files of any size."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from gateway_programs import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WHEEL = "{name}-{version}-py3-none-any.whl"


@dataclass(eq=False)
class PublicFile:
    """A file and what the index says about it; a test may change what is said, as an index that lies does."""

    name: str
    version: str
    sha256: str
    """The true one; what the page says are the `hashes`."""
    size: int
    content: Path | None = None
    """Where it is; None if it is only listed."""
    hashes: dict[str, str] = field(init=False)
    uploaded: datetime | None = field(default_factory=lambda: datetime.now(timezone.utc) - timedelta(days=100))
    requires_python: str | None = None
    yanked: str | bool = False
    metadata: bytes | None = None
    metadata_hashes: dict[str, str] = field(default_factory=dict)
    provenance: bytes | None = None
    url: str = ""
    """Where the page says it is; the index's own file host if empty."""

    def __post_init__(self) -> None:
        self.hashes = {"sha256": self.sha256}

    def age(self, days: float) -> None:
        """Let it have been uploaded so many days ago."""
        self.uploaded = datetime.now(timezone.utc) - timedelta(days=days)


def wheel(  # noqa: PLR0913 - a wheel has as much in it
    directory: Path,
    name: str,
    version: str,
    *,
    needs: Iterable[str] = (),
    requires_python: str | None = None,
    padding: bytes = b"",
) -> PublicFile:
    """Build a wheel; `name` is that of its module."""
    headers = "".join(f"Requires-Dist: {need}\n" for need in needs)
    if requires_python:
        headers += f"Requires-Python: {requires_python}\n"
    made = existing(make_wheel(directory, name, version, padding, headers), version)
    made.requires_python = requires_python
    return made


def existing(path: Path, version: str) -> PublicFile:
    """A wheel that is there."""
    name = path.name.partition("-")[0]
    with zipfile.ZipFile(path) as archive:
        metadata = archive.read(f"{name}-{version}.dist-info/METADATA")
    made = _file(path, version)
    made.metadata, made.metadata_hashes = metadata, {"sha256": hashlib.sha256(metadata).hexdigest()}
    return made


def sdist(directory: Path, name: str, version: str) -> PublicFile:
    """Build a source distribution."""
    return _file(make_sdist(directory, name, version), version)


def sparse(directory: Path, name: str, version: str, size: int) -> PublicFile:
    """A file of zeros of any size, with the name of a wheel, which takes no room on the disk."""
    path = directory / WHEEL.format(name=name, version=version)
    with path.open("wb") as file:
        file.truncate(size)
    return _file(path, version)


def listed(name: str, version: str) -> PublicFile:
    """A file of which there is nothing but its line on the page."""
    filename = WHEEL.format(name=name, version=version)
    return PublicFile(filename, version, hashlib.sha256(filename.encode()).hexdigest(), 1_000)


def _file(path: Path, version: str) -> PublicFile:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return PublicFile(path.name, version, digest.hexdigest(), path.stat().st_size, path)
