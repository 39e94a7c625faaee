"""A lock file as a source: the files that it names, from where it says or from one index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .downloads import Downloaded
from .index import SimpleIndex
from .package import is_package
from .problems import CopyError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .downloads import Downloads
    from .locks import Locked
    from .package import Package
    from .web import Web


class LockedSource(Downloaded):
    """What a lock file names."""

    def __init__(
        self, name: str, locked: Sequence[Locked], web: Web, downloads: Downloads, index: SimpleIndex | None = None
    ) -> None:
        """Take all files from `index` if there is one, else those that have no address from where `locked` says.

        Raises:
            InputError: It says so of none.
        """
        super().__init__(downloads)
        self.name = name
        self._locked = locked
        self._web = web
        self._index = index
        for each in locked:
            if not (index or each.problem or each.index or _has_addresses(each)):
                raise InputError("--index", "", f"has to be given: {name} does not say where {each.project} is")

    def projects(self) -> list[str]:
        """See Source."""
        return sorted({each.project for each in self._locked})

    def packages(self, project: str) -> list[Package]:
        """See Source."""
        found: dict[tuple[str, str], Package] = {}
        for locked in self._locked:
            if locked.project == project:
                for package in _installed(locked, self._files(locked)):
                    found[package.filename, package.digests.get("sha256", "")] = package
        return list(found.values())

    def _files(self, locked: Locked) -> list[Package]:
        """The files of an entry, with their addresses."""
        if locked.problem:
            raise CopyError(locked.problem)
        if not self._index and _has_addresses(locked):
            packages = list(locked.packages)
        else:
            index = self._index or SimpleIndex(locked.index or "", self._web)
            packages = [each for each in index.packages(locked.project) or () if _is_in(each, locked)]
            if not packages:
                raise CopyError(f"no file at {index.url} has a hash of the lock file")
        if not all(is_package(each.filename) for each in packages):
            raise CopyError("the lock file names a file that is no package")
        return packages


def _installed(locked: Locked, packages: list[Package]) -> list[Package]:
    """Of the files of an entry those that its environments install."""
    if locked.chosen or not locked.environments:
        return packages
    chosen = {}
    for environment in locked.environments:
        package = environment.chosen(packages)
        if package is None:
            raise CopyError(f"there is no file of it for {environment}")
        chosen[package.filename] = package
    return list(chosen.values())


def _is_in(package: Package, locked: Locked) -> bool:
    return any((name, value.lower()) in locked.hashes for name, value in package.digests.items())


def _has_addresses(locked: Locked) -> bool:
    return bool(locked.packages) and all(each.location for each in locked.packages)
