"""What the index says of a project: one record, of which each form of its page is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from packaging.version import InvalidVersion, Version

from server.index.names import name_and_version, version
from server.index.packed import Core

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from server.index.digests import Digests
    from server.index.listing import Entry
    from server.index.metadata import Insides
    from server.index.yanks import Yanks
    from server.volume.content import Stamp

SIGNATURE = ".asc"


class File(NamedTuple):
    """One file of a project."""

    name: str
    path: str
    """Relative to the package directory."""
    version: str
    """As the file's name has it, "" if it has none."""
    stamp: Stamp
    digest: str
    """The name of the algorithm, "=" and the digest in hexadecimal."""
    core: Core
    yanked: str | None
    """Why it is withdrawn, "" if nobody said, None if it is not."""
    attested: bool
    """Whether it has a provenance object."""
    signed: bool
    """Whether its signature is listed."""

    @property
    def is_wheel(self) -> bool:
        """Whether it can have METADATA of its own."""
        return self.name.endswith(".whl")

    @property
    def is_signature(self) -> bool:
        """Whether it is no distribution."""
        return self.name.endswith(SIGNATURE)


class Project(NamedTuple):
    """A project and its files, the oldest version first."""

    name: str
    files: tuple[File, ...]
    complete: bool
    """Whether nothing is left out that the volume could not be asked for."""

    @property
    def is_attested(self) -> bool:
        """Whether any file has a provenance object."""
        return any(file.attested for file in self.files)


class Records:
    """Makes the records of projects."""

    def __init__(
        self,
        digests: Digests,
        metadata: Insides,
        yanks: Yanks,
        provenance: Container[str],
        problem: Callable[[], str | None],
    ) -> None:
        """Ask these; while there is a `problem` with the volume, what is in the files is left out if it is unknown."""
        self._digests = digests
        self._metadata = metadata
        self._yanks = yanks
        self._provenance = provenance
        self._problem = problem

    def project(self, name: str, entries: Iterable[Entry]) -> Project:
        """The record of a project with these files.

        Raises:
            HTTPError: 503, a digest is unknown and the volume cannot be read.
        """
        complete = True
        files = []
        ordered = sorted(entries, key=_order)
        paths = {entry.path for entry in ordered}
        for entry in ordered:
            digest = self._digests.of(entry)
            if digest is None:
                # Somebody has just removed it, or it cannot be read, so that nobody could install it: a link without a
                # digest would let clients choose it and fail. The page is not kept, which asks again the next time.
                complete = False
                continue
            core = entry.core or (None if self._problem() else self._metadata.readable(entry))
            if core is None:
                core, complete = Core(None, None), False
            files.append(
                File(
                    entry.name,
                    entry.path,
                    version(entry.name),
                    entry.stamp,
                    digest,
                    core,
                    self._yanks.reason(entry),
                    entry.name in self._provenance,
                    f"{entry.path}{SIGNATURE}" in paths,
                )
            )
        return Project(name, tuple(files), complete)


def releases(entries: Iterable[Entry]) -> dict[str, list[str]]:
    """The paths of the files of each version, as pypiserver reads it, the newest version first."""
    found: dict[str, list[str]] = {}
    for entry in sorted(entries, key=_order, reverse=True):
        guess = name_and_version(entry.name)
        found.setdefault(guess[1] if guess else "", []).append(entry.path)
    return found


def _order(entry: Entry) -> tuple[int, Version | str, str]:
    text = version(entry.name)
    try:
        return 1, Version(text), entry.path
    except InvalidVersion:
        return 0, text, entry.path
