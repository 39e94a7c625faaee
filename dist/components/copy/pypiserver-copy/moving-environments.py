"""What a Python on a platform installs of a lock file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, create_compatible_tags_selector, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from packaging.markers import Environment as MarkerEnvironment
    from packaging.markers import Marker

    from .package import Package

_OLDEST_GLIBC = 5
_NAMES_OF_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_WINDOWS_MACHINES = {"win32": "x86", "win_amd64": "AMD64", "win_arm64": "ARM64"}


@dataclass(frozen=True)
class Environment:
    """CPython of a version on a platform."""

    python: str
    platform: str

    def __str__(self) -> str:
        """As on the command line."""
        return f"Python {self.python} on {self.platform}"

    @property
    def markers(self) -> MarkerEnvironment:
        """What markers ask for."""
        system = _system(self.platform)
        major, minor, *patch = self.python.split(".")
        full = f"{major}.{minor}.{patch[0] if patch else 0}"
        return cast(
            "MarkerEnvironment",
            {
                "implementation_name": "cpython",
                "implementation_version": full,
                "os_name": "nt" if system == "Windows" else "posix",
                "platform_machine": _machine(self.platform),
                "platform_python_implementation": "CPython",
                "platform_release": "",
                "platform_system": system,
                "platform_version": "",
                "python_full_version": full,
                "python_version": f"{major}.{minor}",
                "sys_platform": {"Windows": "win32", "Darwin": "darwin"}.get(system, "linux"),
            },
        )

    @property
    def tags(self) -> list[Tag]:
        """The tags of the wheels that it installs, the best first."""
        major, minor = map(int, self.python.split(".")[:2])
        platforms = list(_platforms(self.platform))
        return [
            *cpython_tags((major, minor), platforms=platforms),
            *compatible_tags((major, minor), f"cp{major}{minor}", platforms),
        ]

    def meets(self, marker: Marker | None, extra: str = "") -> bool:
        """Whether a marker is true here."""
        return marker is None or marker.evaluate({**cast("dict[str, str]", self.markers), "extra": extra})

    def chosen(self, packages: Sequence[Package]) -> Package | None:
        """The one of the files of a version that is installed: the best wheel, else the source."""
        fitting = [each for each in packages if self._may_install(each)]
        select = create_compatible_tags_selector(self.tags)
        wheels = ((each, tags) for each in fitting if (tags := _tags(each)))
        if best := next(select(wheels), None):
            return best
        return next((each for each in fitting if not each.filename.endswith(".whl")), None)

    def _may_install(self, package: Package) -> bool:
        try:
            wanted = SpecifierSet(package.requires_python or "")
        except InvalidSpecifier:
            return True
        return wanted.contains(self.markers["python_full_version"])


def _tags(package: Package) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(package.filename)[3]
    except InvalidWheelFilename:
        return frozenset()


def _system(platform: str) -> str:
    if platform.startswith("win"):
        return "Windows"
    return "Darwin" if platform.startswith("macosx") else "Linux"


def _machine(platform: str) -> str:
    if platform in _WINDOWS_MACHINES:
        return _WINDOWS_MACHINES[platform]
    return re.sub(r"^(manylinux(_\d+_\d+|\d+)|musllinux_\d+_\d+|macosx_\d+_\d+|linux)_", "", platform)


def _platforms(platform: str) -> Iterator[str]:
    """The tags of a platform and of its older versions, whose wheels run there too."""
    machine = _machine(platform)
    if match := re.match(r"macosx_(\d+)_(\d+)_", platform):
        yield from mac_platforms((int(match[1]), int(match[2])), machine)
    elif match := re.match(r"musllinux_(\d+)_(\d+)_", platform):
        yield from (f"musllinux_{match[1]}_{minor}_{machine}" for minor in range(int(match[2]), -1, -1))
    elif match := re.match(r"manylinux(?:_2_(\d+)|(1|2010|2014))_", platform):
        newest = int(match[1]) if match[1] else _NAMES_OF_GLIBC[f"manylinux{match[2]}"]
        for minor in range(newest, _OLDEST_GLIBC - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            yield from (f"{name}_{machine}" for name, glibc in _NAMES_OF_GLIBC.items() if glibc == minor)
        yield f"linux_{machine}"
    else:
        yield platform
