"""A directory of packages: one that was filled by hand or by a server, or one to carry over."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from .manifest import Manifest
from .package import Content, Digester, Package, is_package, same
from .problems import CopyError, ExistsError, HopelessError, InputError, why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .pace import Pace

BLOCK = 2**20
PARTIAL = ".partial"
"""Where unfinished files of a target are."""


class Directory:
    """Packages in files."""

    def __init__(self, path: Path, pace: Pace) -> None:
        """Use the packages below `path`, read as fast as `pace` allows."""
        self.name = str(path)
        self._path = path
        self._pace = pace
        self._manifest = Manifest(path)
        self._projects: dict[str, list[Package]] = {}
        for folder, folders, files in os.walk(path):
            # What a server keeps for itself is hidden.
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for filename in sorted(files):
                if is_package(filename):
                    self._list(Path(folder) / filename)

    def _list(self, path: Path) -> None:
        status = path.stat()
        written = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        noted = self._manifest.get(path.name)
        if noted is None or noted.size != status.st_size:
            package = Package(filename=path.name, location=str(path), size=status.st_size, uploaded=written)
        else:
            package = replace(noted, location=str(path), uploaded=noted.uploaded or written)
        try:
            project = package.project
        except CopyError:
            # Told of when it is its turn.
            project = canonicalize_name(path.name)
        self._projects.setdefault(project, []).append(package)

    def projects(self) -> list[str]:
        """See Source."""
        return sorted(self._projects)

    def packages(self, project: str) -> list[Package]:
        """See Source."""
        return self._projects.get(project, [])

    @contextmanager
    def fetch(self, package: Package, algorithms: Iterable[str]) -> Iterator[Content]:
        """See Source."""
        path = Path(package.location)
        digests = self.digest(package, algorithms)
        if same(package.digests, digests) is False:
            raise CopyError("it is not what the manifest says")
        yield Content(path, digests, draft=False)

    def forget(self, package: Package) -> None:
        """See Source: nothing is kept."""

    def digest(self, package: Package, algorithms: Iterable[str]) -> dict[str, str]:
        """See Target."""
        digester = Digester([*algorithms, *package.digests])
        try:
            with Path(package.location).open("rb") as file:
                while block := file.read(BLOCK):
                    self._pace.passed(len(block))
                    digester.update(block)
        except OSError as error:
            raise CopyError(why(error)) from error
        return digester.digests()


class TargetDirectory:
    """A directory to carry over: the packages side by side, and a manifest of what files do not say."""

    def __init__(self, path: Path, pace: Pace) -> None:
        """Fill the directory `path`, which is made if its parent is there.

        Raises:
            InputError: It cannot be written to.
        """
        self.name = str(path)
        self.partial = path / PARTIAL
        self._path = path
        self._pace = pace
        if not path.parent.is_dir():
            raise InputError("TARGET", path, "cannot be made: there is no such parent")
        if path.exists() and not path.is_dir():
            raise InputError("TARGET", path, "is no directory")
        if not os.access(path if path.exists() else path.parent, os.W_OK | os.X_OK):
            raise InputError("TARGET", path, "cannot be written to")
        try:
            self._manifest = Manifest(path)
        except OSError as error:
            raise InputError("TARGET", path, f"has a manifest that cannot be read: {why(error)}") from error
        self._there: dict[str, dict[str, Package]] = {}
        for package in (each for project in self._listed() for each in project):
            self._there.setdefault(canonicalize_name(_project(package)), {})[package.filename] = package

    def _listed(self) -> Iterator[list[Package]]:
        if self._path.is_dir():
            there = Directory(self._path, self._pace)
            yield from (there.packages(project) for project in there.projects())

    def packages(self, project: str) -> dict[str, Package]:
        """See Target."""
        return dict(self._there.get(project, {}))

    def put(self, package: Package, content: Content) -> None:
        """See Target."""
        final = self._path / package.filename
        content.whole()
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            with self._draft(content) as draft:
                if package.uploaded:
                    # Servers tell it as the time of the upload.
                    os.utime(draft, (package.uploaded.timestamp(),) * 2)
                size = draft.stat().st_size
                _link(draft, final)
            self._note(replace(package, digests={"sha256": content.digests["sha256"]}, size=size, location=str(final)))
        except FileExistsError as error:
            there = Package(filename=package.filename, location=str(final))
            self._there.setdefault(package.project, {})[package.filename] = there
            raise ExistsError(why(error)) from error
        except OSError as error:
            kind = HopelessError if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS} else CopyError
            raise kind(why(error)) from error

    def _note(self, package: Package) -> None:
        self._manifest.add(package)
        self._there.setdefault(package.project, {})[package.filename] = package

    @contextmanager
    def _draft(self, content: Content) -> Iterator[Path]:
        """A file of this file system with the content, on disk."""
        if content.draft and content.path.stat().st_dev == self._path.stat().st_dev:
            with content.path.open("rb") as file:
                os.fsync(file.fileno())
            yield content.path
            return
        with content.path.open("rb") as source, tempfile.NamedTemporaryFile(dir=self.partial) as draft:
            shutil.copyfileobj(source, draft, BLOCK)
            draft.flush()
            os.fsync(draft.fileno())
            os.fchmod(draft.fileno(), 0o644)
            yield Path(draft.name)

    def digest(self, package: Package, algorithms: Iterable[str]) -> dict[str, str]:
        """See Target."""
        return Directory(self._path, self._pace).digest(package, algorithms)

    def withdraw(self, package: Package, there: Package | None, of_version: list[Package]) -> None:
        """See Target: the manifest says of each file what the source says."""
        del of_version
        noted = self._manifest.get(package.filename)
        if noted is not None and noted.yanked == package.yanked:
            return
        known = noted or there
        if known is None:
            return
        digests = known.digests if "sha256" in known.digests else self.digest(known, ())
        size = (self._path / package.filename).stat().st_size
        try:
            self._note(replace(package, digests=digests, size=size, location=str(self._path / package.filename)))
        except OSError as error:
            raise CopyError(why(error)) from error

    def close(self) -> None:
        """Remove what is empty."""
        with suppress(OSError):
            self.partial.rmdir()


def _project(package: Package) -> str:
    try:
        return package.project
    except CopyError:
        return package.filename


def _link(draft: Path, final: Path) -> None:
    """Give a file its name, unless there is one."""
    try:
        os.link(draft, final)
    except OSError as error:
        # FAT, which disks that are carried over often have, knows no links.
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        with final.open("xb"):
            pass
        try:
            shutil.copy2(draft, final)
        except BaseException:
            final.unlink()
            raise
