"""The form of an upload, as twine sends it, read from disk while it is sent."""

from __future__ import annotations

import tarfile
import uuid
import zipfile
from typing import TYPE_CHECKING

import urllib3
from packaging.metadata import parse_email

from .problems import CopyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .pace import Pace
    from .package import Content, Package

LARGEST_METADATA = 2**22
_KINDS = {"wheel": "bdist_wheel", "egg": "bdist_egg", "wininst": "bdist_wininst", "msi": "bdist_msi"}
_FIELDS = (
    "metadata_version",
    "summary",
    "author",
    "author_email",
    "maintainer",
    "maintainer_email",
    "license",
    "license_expression",
    "license_files",
    "keywords",
    "classifiers",
    "home_page",
    "download_url",
    "description_content_type",
    "requires_python",
    "requires_dist",
    "provides_extra",
    "project_urls",
    "dynamic",
)
"""What is sent of a package's metadata under the names of `packaging`: not the description, which can be long."""


class Form:
    """A body that can be sent more than once."""

    def __init__(self, package: Package, content: Content, pace: Pace) -> None:
        """Send `content` as `package`, as fast as `pace` allows.

        Raises:
            CopyError: The name of the package does not say what it is.
        """
        name, version, kind = package.parsed()
        fields = [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("name", name),
            ("version", version),
            ("filetype", _KINDS.get(kind, "sdist")),
            ("pyversion", package.filename.split("-")[-3] if kind == "wheel" else "source"),
            ("sha256_digest", content.digests["sha256"]),
            *_metadata(content, kind),
        ]
        place = uuid.uuid4().hex
        # twine's order: servers read the fields before the file comes.
        body, self.content_type = urllib3.encode_multipart_formdata(
            [*fields, ("content", (package.filename, place, "application/octet-stream"))]
        )
        self._head, _, self._tail = body.partition(place.encode())
        self._content = content
        self._pace = pace
        self._size = 0

    def __len__(self) -> int:
        """The length of the body, which requests asks for before it reads it."""
        self._size = self._content.size
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """The body in blocks."""
        yield self._head
        for block in self._content.blocks(self._size):
            self._pace.passed(len(block))
            yield block
        yield self._tail


def _metadata(content: Content, kind: str) -> Iterator[tuple[str, str]]:
    """The fields of a package's metadata, none if it has none that can be read."""
    try:
        text = content.metadata
        if text is None:
            text = (_wheel_metadata if kind == "wheel" else _source_metadata)(content.path)
        raw = parse_email(text)[0]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, tarfile.TarError):
        return
    for field in _FIELDS:
        value = raw.get(field)
        if isinstance(value, str):
            yield field, value
        elif isinstance(value, dict):
            yield from ((field, f"{key}, {url}") for key, url in value.items())
        elif isinstance(value, list):
            yield from ((field, str(each)) for each in value)


def _wheel_metadata(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        name = next(
            each for each in archive.namelist() if each.endswith(".dist-info/METADATA") and each.count("/") == 1
        )
        with archive.open(name) as member:
            return member.read(LARGEST_METADATA)


def _source_metadata(path: Path) -> bytes:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next(each for each in archive.namelist() if each.endswith("/PKG-INFO") and each.count("/") == 1)
            with archive.open(name) as member:
                return member.read(LARGEST_METADATA)
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            if entry.isfile() and entry.name.endswith("/PKG-INFO") and entry.name.count("/") == 1:
                content = archive.extractfile(entry)
                return content.read(LARGEST_METADATA) if content else b""
    raise CopyError("it has no metadata")
