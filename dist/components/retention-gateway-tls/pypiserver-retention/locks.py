"""Which versions lock files name: pylock.toml, uv.lock, poetry.lock, and requirements in *.txt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from retention.configuration import ConfigurationError

try:
    import tomllib
except ImportError:  # before Python 3.11
    tomllib = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from packaging.version import Version

_HASH = re.compile(r"--hash[= ](\w+):([0-9a-fA-F]+)")
_KINDS = "pylock.toml, uv.lock, poetry.lock or *.txt, with anything and a dot or - before the first three"


class Locked(NamedTuple):
    """What a line or a table of a lock file names."""

    file: str
    project: str
    versions: SpecifierSet
    """Every version if it is empty."""
    hashes: frozenset[tuple[str, str]]


class Locks:
    """What lock files name."""

    def __init__(self, locked: Iterable[Locked] = ()) -> None:
        """Take what they name."""
        self.files: dict[str, int] = {}
        self._by_project: dict[str, list[Locked]] = {}
        for each in locked:
            self.files[each.file] = self.files.get(each.file, 0) + 1
            self._by_project.setdefault(each.project, []).append(each)

    def naming(self, project: str, version: Version, hashes: Iterable[tuple[str, str]]) -> str | None:
        """The lock file that names this version of a project of this normalised name, or a file of it by its hash."""
        found = set(hashes)
        for each in self._by_project.get(project, ()):
            if each.versions.contains(version, prereleases=True) or each.hashes & found:
                return each.file
        return None


def read(directory: Path, config_maps: Sequence[str]) -> Locks:
    """Read all lock files of these ConfigMaps, each of which is a folder.

    Raises:
        ConfigurationError: One is missing or empty, or has a file that cannot be read: what it names could be taken
            away.
    """
    found: list[Locked] = []
    for name in config_maps:
        # What the kubelet keeps beside begins with two dots.
        paths = sorted(path for path in (directory / name).glob("*") if not path.name.startswith(".."))
        if not paths:
            raise ConfigurationError(f"the ConfigMap {name} is not there, or has no lock file")
        for path in paths:
            found += _read(path, f"{name}/{path.name}")
    return Locks(found)


def _read(path: Path, called: str) -> list[Locked]:
    reader = _reader(path.name)
    if reader is None:
        raise ConfigurationError(f"{called} is of no kind that is known by its name: {_KINDS}")
    try:
        return list(reader(path.read_text("utf-8"), called))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0]
        raise ConfigurationError(f"{called} cannot be read as a lock file: {said}") from error


def _reader(name: str) -> Callable[[str, str], Iterable[Locked]] | None:
    if name.endswith(".txt"):
        return _requirements
    if re.fullmatch(r"(?:.+[.-])?(?:uv|poetry)\.lock|(?:.+[.-])?pylock(?:\.[^.]+)?\.toml", name):
        return _tables
    return None


def _tables(text: str, called: str) -> Iterator[Locked]:
    if tomllib is None:
        raise ValueError("that needs Python 3.11")
    lock = tomllib.loads(text)
    entries = lock["packages" if "packages" in lock else "package"]
    for entry in entries:
        name, version = entry["name"], entry.get("version")
        hashes = frozenset(_hashes(entry))
        if version is None and not hashes:
            # Of a folder or a repository: an index has nothing of it that could be meant.
            continue
        yield Locked(called, canonicalize_name(name), _only(version), hashes)


def _only(version: str | None) -> SpecifierSet:
    # A version that nobody can have, for a file that is named by its hash alone.
    return SpecifierSet(f"=={version}" if version is not None else "<0.dev0")


def _hashes(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Hashes of the files of a package, however the three kinds write them."""
    files = [entry.get("sdist"), entry.get("archive"), *entry.get("wheels", ()), *entry.get("files", ())]
    for file in filter(None, files):
        for algorithm, value in file.get("hashes", {}).items():
            yield algorithm, value.lower()
        if "hash" in file:
            algorithm, _, value = file["hash"].partition(":")
            yield algorithm, value.lower()


def _requirements(text: str, called: str) -> Iterator[Locked]:
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        said = re.sub(r"(^|\s)#.*", "", line).strip()
        if re.match(r"(?:-r|--requirement|-c|--constraint)\b", said):
            raise ValueError(f"it leads to another file ({said}): put what that names into this one")
        if not said or said.startswith("-"):
            continue
        hashes = frozenset((name, digest.lower()) for name, digest in _HASH.findall(said))
        try:
            requirement = Requirement(re.sub(r"\s--\S+.*", "", said).strip())
        except (InvalidRequirement, InvalidSpecifier) as error:
            raise ValueError(f"{said!r} is no requirement") from error
        yield Locked(called, canonicalize_name(requirement.name), requirement.specifier, hashes)
