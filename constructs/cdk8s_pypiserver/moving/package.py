"""A package on the move: one file, and what its source says of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from packaging.utils import InvalidWheelFilename, canonicalize_name, canonicalize_version, parse_wheel_filename
from pypi_simple import UnparsableFilenameError, parse_filename

from .problems import CopyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

BLOCK = 2**18
"""How many bytes are read at a time."""
_ENDINGS = (".whl", ".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tar.xz", ".egg", ".exe", ".msi")
_NAME = re.compile(r"[A-Za-z0-9_!+-][A-Za-z0-9_.!+-]*")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A file; `location` is where its source has it, `yanked` why it was withdrawn ("" if nobody said)."""

    filename: str
    location: str
    digests: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    yanked: str | None = None
    uploaded: datetime | None = None
    requires_python: str | None = None
    project_hint: str | None = None
    metadata: str | None = None
    """The sha256 of the METADATA that its source has beside it (PEP 714)."""

    def parsed(self) -> tuple[str, str, str]:
        """Project, version and kind ("wheel", "sdist", …), as the name tells them.

        Raises:
            CopyError: It tells none.
        """
        try:
            return parse_filename(self.filename, self.project_hint)
        except UnparsableFilenameError:
            raise CopyError("its name tells no project and version") from None

    @property
    def project(self) -> str:
        """The normalised name of the project."""
        return canonicalize_name(self.parsed()[0])

    @property
    def release(self) -> str:
        """The normalised version."""
        return canonicalize_version(self.parsed()[1])

    def means(self, other: Package) -> bool:
        """Whether another name says the same of its file, so that a registry has room for one of them."""
        try:
            if self.filename.endswith(".whl") and other.filename.endswith(".whl"):
                return parse_wheel_filename(self.filename) == parse_wheel_filename(other.filename)
            mine, others = (self.parsed()[2], self.release), (other.parsed()[2], other.release)
        except (CopyError, InvalidWheelFilename):
            return self.filename == other.filename
        return mine == others


def is_package(filename: str) -> bool:
    """Whether a name is that of a package, and of nothing outside the directory that it is written to."""
    return filename.endswith(_ENDINGS) and _NAME.fullmatch(filename) is not None


class Digester:
    """Computes sha256, and whatever else there is to be compared with."""

    def __init__(self, algorithms: Iterable[str]) -> None:
        """Compute these besides, as far as they are known here."""
        known = {"sha256", *algorithms} & hashlib.algorithms_available
        self._hashes: dict[str, Any] = {each: hashlib.new(each, usedforsecurity=False) for each in known}

    def update(self, block: bytes) -> None:
        """Take what comes next."""
        for each in self._hashes.values():
            each.update(block)

    def digests(self) -> dict[str, str]:
        """The digests of what has come."""
        return {name: each.hexdigest() for name, each in self._hashes.items() if each.digest_size}


def same(one: Mapping[str, str], other: Mapping[str, str]) -> bool | None:
    """Whether two files are the same by the strongest digest that both have; None if they have none in common."""
    for algorithm in sorted(one.keys() & other.keys(), key=lambda each: (each == "sha256", each), reverse=True):
        return one[algorithm].lower() == other[algorithm].lower()
    return None


class Content:
    """The content of a package, in a file; its digests are what is in there, and what the source promised.

    The file of a `draft` is nobody's else, and may be linked. `metadata` is its METADATA, if nobody has to look into it
    for that.
    """

    def __init__(self, path: Path, digests: Mapping[str, str], *, draft: bool, metadata: bytes | None = None) -> None:
        """Know this of it."""
        self.path = path
        self.digests = digests
        self.draft = draft
        self.metadata = metadata

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size

    def whole(self) -> None:
        """Wait until it is all there.

        Raises:
            CopyError: It will not come, or is not what its source says.
        """

    def blocks(self, size: int) -> Iterator[bytes]:
        """The bytes, a block after the other; `size` is how many were announced.

        Raises:
            CopyError: They will not come, or others.
        """
        del size
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block


class Source(Protocol):
    """Where packages come from."""

    name: str

    def projects(self) -> list[str]:
        """The normalised names of all projects."""

    def packages(self, project: str) -> list[Package]:
        """The packages of a project.

        Raises:
            CopyError: They cannot be found out.
        """

    def fetch(self, package: Package, algorithms: Iterable[str]) -> AbstractContextManager[Content]:
        """The content, with the digests that are wanted besides sha256.

        Raises:
            CopyError: It does not come, or is not what its source says.
        """

    def forget(self, package: Package) -> None:
        """Drop what is kept of a package for the next run: it is at the target."""


class Target(Protocol):
    """Where packages go to."""

    name: str

    def packages(self, project: str) -> dict[str, Package]:
        """What is there of a project, by file name.

        Raises:
            CopyError: It cannot be found out.
        """

    def put(self, package: Package, content: Content) -> None:
        """Add a package.

        Raises:
            CopyError: It was not taken; ExistsError if there is one of its name.
        """

    def digest(self, package: Package, algorithms: Iterable[str]) -> dict[str, str]:
        """The digests of a package that is there.

        Raises:
            CopyError: It cannot be read.
        """

    def withdraw(self, package: Package, there: Package | None, of_version: list[Package]) -> None:
        """Keep the yanked state of a package; `of_version` are all packages of its version at the source.

        Raises:
            CopyError: The target cannot keep it.
        """
