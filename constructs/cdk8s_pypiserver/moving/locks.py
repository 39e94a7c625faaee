"""Lock files: pylock.toml, uv.lock, poetry.lock, and requirements.txt with hashes."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.pylock import Package as PylockPackage
from packaging.pylock import (
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .package import Package
from .problems import InputError, why

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .environments import Environment

_HASH = re.compile(r"--hash[= ](\w+):([0-9a-fA-F]+)")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One version of a project; `packages` are its files, of which those without an address are on an index.

    With environments `packages` are what may be installed there, one of which is chosen for each; `chosen` says that
    this has been done. `problem` says why it is none that can be copied.
    """

    project: str
    packages: Sequence[Package] = ()
    hashes: frozenset[tuple[str, str]] = frozenset()
    index: str | None = None
    environments: Sequence[Environment] = ()
    chosen: bool = False
    problem: str | None = field(default=None)


def read(path: Path, environments: Sequence[Environment]) -> list[Locked]:
    """What a lock file names, and of that only what the environments install, if there are any.

    Raises:
        InputError: It is no lock file, or cannot be read.
    """
    reader = _reader(path)
    if reader is None:
        raise InputError(
            "SOURCE", path, "is no lock file that is known: pylock.toml, uv.lock, poetry.lock, or requirements in *.txt"
        )
    try:
        return list(reader(path.read_text("utf-8"), environments))
    except tomllib.TOMLDecodeError as error:
        raise InputError("SOURCE", path, f"is no TOML: {error}") from error
    except (PylockValidationError, PylockSelectError, PylockUnsupportedVersionError) as error:
        raise InputError("SOURCE", path, f"cannot be used: {error}") from error
    except (InvalidMarker, InvalidRequirement) as error:
        raise InputError("SOURCE", path, f"cannot be read: {error}".split("\n", maxsplit=1)[0]) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("SOURCE", path, f"is not of the form of its name: {error}") from error
    except (OSError, ValueError) as error:
        raise InputError("SOURCE", path, f"cannot be read: {why(error)}") from error


def _reader(path: Path) -> Callable[[str, Sequence[Environment]], Iterable[Locked]] | None:
    if is_valid_pylock_path(Path(path.name)):
        return _pylock
    if path.suffix == ".txt":
        return _requirements
    return {"uv.lock": _uv, "poetry.lock": _poetry}.get(path.name)


def _pylock(text: str, environments: Sequence[Environment]) -> Iterator[Locked]:
    lock = Pylock.from_dict(tomllib.loads(text))
    if not environments:
        yield from (_pylock_entry(each, list(_pylock_files(each))) for each in lock.packages)
    for environment in environments:
        for package, file in lock.select(
            environment=environment.markers,
            tags=environment.tags,
            extras=lock.extras or (),
            dependency_groups=lock.dependency_groups or lock.default_groups,
        ):
            yield _pylock_entry(package, [file])


def _pylock_files(package: PylockPackage) -> Iterator[Any]:
    yield from filter(None, (package.vcs, package.directory, package.archive, package.sdist))
    yield from package.wheels or ()


def _pylock_entry(package: PylockPackage, files: Sequence[Any]) -> Locked:
    packages = [
        _package(package.name, file.url, file.hashes, file.size, file.upload_time, getattr(file, "name", None))
        for file in files
        if getattr(file, "hashes", None) and (file.url or package.index)
    ]
    problem = None if len(packages) == len(files) else "the lock file names no file at a server"
    return Locked(
        project=package.name,
        packages=packages,
        hashes=_hashes(packages),
        index=package.index,
        problem=problem,
        chosen=True,
    )


def _uv(text: str, environments: Sequence[Environment]) -> Iterator[Locked]:
    entries: list[dict[str, Any]] = tomllib.loads(text)["package"]
    reached = {environment: _uv_reached(entries, environment) for environment in environments}
    for number, entry in enumerate(entries):
        source = entry["source"]
        wanted = [environment for environment in environments if number in reached[environment]]
        if source.keys() & {"editable", "virtual", "directory"} or (environments and not wanted):
            # The projects that the lock file is of.
            continue
        files = [*([entry["sdist"]] if "sdist" in entry else []), *entry.get("wheels", ())]
        packages = [
            _package(
                entry["name"],
                each.get("url"),
                _split(each["hash"]),
                each.get("size"),
                datetime.fromisoformat(each["upload-time"].replace("Z", "+00:00")) if "upload-time" in each else None,
                each.get("filename") or each.get("path"),
            )
            for each in files
            if "hash" in each
        ]
        yield Locked(
            project=canonicalize_name(entry["name"]),
            packages=packages,
            hashes=_hashes(packages),
            index=source.get("registry"),
            environments=wanted,
            problem=None
            if packages and source.keys() & {"registry", "url"}
            else f"it comes from {next(iter(source), 'nowhere')}, which is no index",
        )


def _uv_reached(entries: Sequence[dict[str, Any]], environment: Environment) -> set[int]:
    """Which entries an environment needs: those that edges whose markers are true lead to from the projects."""
    waiting = [
        (number, frozenset(each.get("optional-dependencies", ())))
        for number, each in enumerate(entries)
        if each["source"].keys() & {"editable", "virtual"}
    ]
    seen: set[tuple[int, frozenset[str]]] = set()
    while waiting:
        number, extras = waiting.pop()
        if (number, extras) in seen:
            continue
        seen.add((number, extras))
        entry = entries[number]
        edges = [*entry.get("dependencies", ())]
        for extra in extras:
            edges += entry.get("optional-dependencies", {}).get(extra, ())
        for group in entry.get("dev-dependencies", {}).values():
            edges += group
        for edge in edges:
            if "marker" not in edge or environment.meets(Marker(edge["marker"])):
                extras = frozenset(edge.get("extra", ()))
                waiting += [(other, extras) for other, each in enumerate(entries) if _uv_leads(edge, each)]
    return {number for number, _ in seen}


def _uv_leads(edge: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    return all(edge.get(key, entry.get(key)) == entry.get(key) for key in ("name", "version", "source"))


def _poetry(text: str, environments: Sequence[Environment]) -> Iterator[Locked]:
    for entry in tomllib.loads(text)["package"]:
        markers = entry.get("markers", {})
        if isinstance(markers, str):
            markers = {"main": markers}
        # A group without a marker needs it anywhere.
        anywhere = not markers or set(entry.get("groups", ())) - set(markers)
        wanted = [
            each for each in environments if anywhere or any(each.meets(Marker(text)) for text in markers.values())
        ]
        if environments and not wanted:
            continue
        source = entry.get("source", {})
        packages = [
            _package(entry["name"], None, _split(each["hash"]), None, None, each["file"]) for each in entry["files"]
        ]
        is_index = not source or source.get("type") == "legacy"
        yield Locked(
            project=canonicalize_name(entry["name"]),
            packages=packages,
            hashes=_hashes(packages),
            index=source.get("url") if is_index else None,
            environments=wanted,
            problem=None
            if is_index and packages
            else f"it comes from {source.get('type', 'nowhere')}, not from an index",
        )


def _requirements(text: str, environments: Sequence[Environment]) -> Iterator[Locked]:
    index = None
    for line in re.sub(r"\\\n", " ", text).splitlines():
        said = re.sub(r"(^|\s)#.*", "", line).strip()
        if match := re.match(r"(?:-i|--index-url)[= ]\s*(\S+)", said):
            index = match[1]
        if re.match(r"-r|--requirement", said):
            raise ValueError(f"it leads to another file ({said}), which is copied by itself")
        if not said or said.startswith("-"):
            continue
        hashes = frozenset((name, digest.lower()) for name, digest in _HASH.findall(said))
        requirement = Requirement(_HASH.sub("", said).strip())
        if not hashes:
            raise ValueError(f"{requirement.name} has no --hash")
        wanted = [each for each in environments if each.meets(requirement.marker)]
        if environments and not wanted:
            continue
        yield Locked(
            project=canonicalize_name(requirement.name),
            hashes=hashes,
            index=index,
            environments=wanted,
            problem=f"it comes from {urlsplit(requirement.url).scheme or 'a path'}, not from an index"
            if requirement.url
            else None,
        )


def _package(  # noqa: PLR0913, PLR0917
    project: str,
    url: str | None,
    digests: Mapping[str, str],
    size: int | None,
    uploaded: datetime | None,
    name: str | None,
) -> Package:
    filename = name or unquote(PurePosixPath(urlsplit(url or "").path).name)
    return Package(
        filename=filename,
        location=url or "",
        digests=dict(digests),
        size=size,
        uploaded=uploaded,
        project_hint=canonicalize_name(project),
    )


def _split(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def _hashes(packages: Iterable[Package]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value.lower()) for each in packages for name, value in each.digests.items())
