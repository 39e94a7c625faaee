"""Real wheels and source distributions of any size, the same for the same seed."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from e2e import backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MEBIBYTE = 1024 * 1024
PAYLOAD = "payload.bin"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A distribution on this machine's disk.

    Attributes:
        project: The name as its author writes it, which need not be normalised.
        version: The version.
        path: The file.
        sha256: Digest of the file.
        payload: Digest of the one large file that an installation contains.
    """

    project: str
    version: str
    path: Path
    sha256: str
    payload: str

    @property
    def normalised(self) -> str:
        """The project's name in a URL (PEP 503)."""
        return re.sub(r"[-_.]+", "-", self.project).lower()

    @property
    def module(self) -> str:
        """The package that an installation contains."""
        return self.normalised.replace("-", "_")

    @property
    def requirement(self) -> str:
        """A line of a requirements file, which makes an installer compare the digest."""
        return f"{self.project}=={self.version} --hash=sha256:{self.sha256}"

    def installed_whole(self, target: Path) -> bool:
        """Whether `target`, where an installer has put packages, has this one byte for byte."""
        return digest_of(target / self.module / PAYLOAD) == self.payload


def digest_of(path: Path) -> str:
    """The SHA-256 digest of a file of any size, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(MEBIBYTE):
            digest.update(part)
    return digest.hexdigest()


def make(  # noqa: PLR0913
    directory: Path,
    project: str,
    version: str = "1.0",
    *,
    kind: Literal["wheel", "sdist"] = "wheel",
    size: int = 10_000,
    seed: int = 0,
) -> Sample:
    """Write a distribution of about `size` bytes, which no compression makes smaller; a wheel may be of any size."""
    digest = hashlib.sha256()

    def payload() -> Iterator[bytes]:
        # All arguments, since files of two sizes or projects must not begin with the same bytes.
        source = random.Random(f"{project} {version} {kind} {size} {seed}")  # noqa: S311 - no secret
        for begin in range(0, size, MEBIBYTE):
            part = source.randbytes(min(MEBIBYTE, size - begin))
            digest.update(part)
            yield part

    module = re.sub(r"[-_.]+", "_", project).lower()
    stem = f"{module}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: A sample.\n"
    code, data = f"{module}/__init__.py", f"{module}/{PAYLOAD}"
    content = f'__version__ = "{version}"\n'.encode()
    if kind == "wheel":
        path = backend.write_wheel(directory, stem, metadata, {code: content, data: payload()})
    else:
        path = _write_sdist(directory, stem, metadata, {code: content, data: b"".join(payload())})
    return Sample(
        project=project,
        version=version,
        path=path,
        sha256=digest_of(path),
        payload=digest.hexdigest(),
    )


def _write_sdist(directory: Path, stem: str, metadata: str, files: Mapping[str, bytes]) -> Path:
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    members = {
        "PKG-INFO": metadata.encode(),
        "pyproject.toml": project.encode(),
        "backend.py": Path(backend.__file__).read_bytes(),
        "stem": stem.encode(),
        **{f"src/{name}": content for name, content in files.items()},
    }
    path = directory / f"{stem}.tar.gz"
    # The level costs most of the time, and random bytes do not get smaller.
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 1, file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for name, content in members.items():
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
