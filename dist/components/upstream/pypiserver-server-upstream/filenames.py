"""What the name of a public file says of its project and of its version, as installers read it."""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from server.index.names import normalised, version

_SOURCE = re.compile(r"(.+)\.(?i:tar\.gz|zip|tgz|tar\.bz2|tar\.xz)")


class _Wheel(NamedTuple):
    project: str
    version: str


def is_of(project: str, filename: str) -> bool:
    """Whether a file's name is one of a project's; the name of a wheel says it for certain."""
    if filename.lower().endswith(".whl"):
        wheel = _wheel(filename)
        # Of old wheels, whose versions or build numbers are not what is allowed today, it says no more than this.
        return project == (wheel.project if wheel else normalised(filename.partition("-")[0]))
    return normalised(filename).startswith(f"{project}-")


def version_of(project: str, filename: str) -> str:
    """The version in the name of a project's file, "" if it has none."""
    if filename.lower().endswith(".whl"):
        wheel = _wheel(filename)
        return wheel.version if wheel else version(filename)
    source = _SOURCE.fullmatch(filename)
    if source:
        for hyphen in re.finditer("-", source[1]):
            if normalised(source[1][: hyphen.start()]) == project:
                # All of the rest: "1.0-1" is the version 1.0.post1.
                try:
                    return str(Version(source[1][hyphen.end() :]))
                except InvalidVersion:
                    break
    return version(filename)


def _wheel(filename: str) -> _Wheel | None:
    # Without its tags: a name has room for so many that all combinations of them take minutes.
    untagged = filename.rsplit("-", 3)[0]
    try:
        name, found, _, _ = parse_wheel_filename(f"{untagged}-py3-none-any{filename[-4:]}")
    except InvalidWheelFilename:
        return None
    return _Wheel(name, str(found))
