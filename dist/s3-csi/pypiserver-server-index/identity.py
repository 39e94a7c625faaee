"""Which names of files mean the same file: whoever has one of them cannot publish another."""

from __future__ import annotations

import hashlib
import re

from packaging.utils import canonicalize_version

from server.index.names import name_and_version, normalised

_SOURCE = re.compile(r"\.(?:zip|tgz|tar\.(?:gz|bz2|xz))")


def record_name(filename: str) -> str:
    """What a small file is called that is about all that means the same as this: an identity can be too long for it."""
    return hashlib.sha256(identity(filename).encode()).hexdigest()


def identity(filename: str) -> str:
    """One text for all names of files of which an installer takes either for the other.

    The project's name is compared as in PEP 503, the version as in PEP 440 (1.0 is 1.0.0), the tags of a wheel as sets.
    The build number of a wheel does not count: installers prefer the highest, so that another one replaces the first.
    There is one source distribution a version, whatever it is packed by, as on PyPI.

    Args:
        filename: The name of a package, or of its signature (`.asc`).
    """
    package = filename.removesuffix(".asc")
    signature = filename[len(package) :]
    name, written = name_and_version(package) or (package, "")
    is_wheel = package.endswith(".whl")
    version = (written.partition("-")[0] if is_wheel else written).replace("_", "-")
    release = f"{normalised(name)}-{canonicalize_version(version).lower()}"
    if is_wheel:
        tags = package.removesuffix(".whl").lower().rsplit("-", 3)[1:]
        rest = "".join(f"-{'.'.join(sorted(set(tag.split('.'))))}" for tag in tags)
    else:
        rest = package.removeprefix(name).removeprefix("-").removeprefix(written).lower()
        rest = "" if _SOURCE.fullmatch(rest) else rest
    return f"{release}{rest}{signature}"
