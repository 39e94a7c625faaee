"""The packages, as pypiserver asks for them: from memory, except for what has not been read yet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from server.http.upstream import Backend, PkgFile, name_and_version, request
from server.volume.durable import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from server.index.digests import Digests, Upload
    from server.index.listing import Change, Entry, Listing

_log = logging.getLogger("packages")


class Packages(Backend):
    """pypiserver's backend over the listing and the package volume."""

    def __init__(
        self,
        root: Path,
        listing: Listing,
        digests: Digests,
        stale: Callable[[Change], None],
    ) -> None:
        """Serve `root`; `stale` is told what changes before the change is acknowledged."""
        # pypiserver's own constructor only copies the digest's name from its configuration.
        self.hash_algo = "sha256"
        self._root = root
        self._listing = listing
        self._digests = digests
        self._stale = stale

    def get_all_packages(self) -> Iterator[PkgFile]:
        """Every file that is listed."""
        return map(self._package, self._listing)

    def find_project_packages(self, project: str) -> Iterator[PkgFile]:
        """The files of a project, given by any spelling of its name."""
        return map(self._package, self._listing.of_project(project))

    def find_version(self, name: str, version: str) -> Iterator[PkgFile]:
        """The files of one version; the name in any spelling, the version as in the files' names."""
        return (package for package in self.find_project_packages(name) if package.version == version)

    def get_projects(self) -> Iterable[str]:
        """The normalised names of all projects."""
        return self._listing.projects()

    def package_count(self) -> int:
        """How many files are listed."""
        return len(self._listing)

    def exists(self, filename: str) -> bool:
        """Whether a file of this name is listed, in whatever directory."""
        return filename in self._listing

    def digest(self, pkg: PkgFile) -> str | None:
        """The digest of a file, as a link to it carries it; None if the file is gone.

        Raises:
            HTTPError: 503, the volume cannot be read.
        """
        entry = self._listing.at(pkg.relfn or "")
        return self._digests.of(entry) if entry else None

    def add_package(self, filename: str, upload: Upload) -> None:
        """Publish a file; when this returns, it is durable and every page of this server shows it.

        Raises:
            FileExistsError: There is a file of this name.
            OSError: The volume did not take it.
        """
        stamp = upload.publish(filename)
        self._stale(self._listing.add("", filename, stamp, upload.digest))
        user = (request.auth or ("anonymous",))[0]
        _log.info("%r published %s: %d bytes, %s", user, filename, stamp.size, upload.digest)

    def remove_package(self, pkg: PkgFile) -> None:
        """Remove a file for good; one that is gone already is not an error.

        Raises:
            OSError: The volume does not let it go.
        """
        if pkg.relfn is None:
            return
        path = self._root / pkg.relfn
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
        self._stale(self._listing.remove(pkg.relfn))
        _log.info("%r removed %s", (request.auth or ("anonymous",))[0], pkg.relfn)

    def _package(self, entry: Entry) -> PkgFile:
        name, version = name_and_version(entry.name) or (entry.project, "")
        package = PkgFile(name, version, fn=f"{self._root}/{entry.path}", root=str(self._root), relfn=entry.path)
        package.digest = entry.digest
        return package
