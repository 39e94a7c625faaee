"""The versions of a project as a registry lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packaging.version import InvalidVersion, Version

from server.index.names import name_and_version, version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class File(NamedTuple):
    """A file of a project's page."""

    name: str
    size: int
    uploaded: datetime | None
    """None if the page does not say it."""
    hashes: frozenset[tuple[str, str]]
    yanked: bool

    @property
    def written(self) -> str:
        """Its version as the registry reads it from its name, by which it is removed: 1.0, 1.0.0 and 1.0-1 differ."""
        return (name_and_version(self.name) or ("", ""))[1]


class Release(NamedTuple):
    """All files of one version, in whatever spelling."""

    project: str
    version: Version
    files: tuple[File, ...]

    def __str__(self) -> str:
        """Project and version."""
        return f"{self.project} {self.version}"

    @property
    def is_yanked(self) -> bool:
        """Whether nobody gets it who does not name it."""
        return all(file.yanked for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)

    @property
    def uploaded(self) -> datetime | None:
        """When its youngest file came; None if that of any is unknown."""
        times = [file.uploaded for file in self.files]
        known = [time for time in times if time is not None]
        return max(known) if known and len(known) == len(times) else None

    @property
    def spellings(self) -> dict[str, list[str]]:
        """The names of its files by the version as it is written in them."""
        found: dict[str, list[str]] = {}
        for file in self.files:
            found.setdefault(file.written, []).append(file.name)
        return found


def of(project: str, files: Iterable[File]) -> tuple[list[Release], list[File]]:
    """The releases of a project, the newest first, and the files whose version cannot be compared (PEP 440)."""
    found: dict[Version, list[File]] = {}
    unordered = []
    for file in files:
        if (parsed := _parsed(file)) is None:
            unordered.append(file)
        else:
            found.setdefault(parsed, []).append(file)
    return [Release(project, each, tuple(found[each])) for each in sorted(found, reverse=True)], unordered


def _parsed(file: File) -> Version | None:
    try:
        return Version(version(file.name))
    except InvalidVersion:
        return None
