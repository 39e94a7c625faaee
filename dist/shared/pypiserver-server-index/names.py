"""What a file's name says, as pypiserver reads it."""

from __future__ import annotations

import re

from pypiserver import pkg_helpers

from server.index.spelling import ADDRESS

UNREACHABLE = "The gateway has no address for a file or a project of its name"
_ADDRESS = re.compile(ADDRESS)
_NAMED = re.compile("[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
"""A project's name (PEP 508)."""


def name_and_version(filename: str) -> tuple[str, str] | None:
    """The project's name and the version that pypiserver reads from a file's name, or None if it is no package."""
    if "\n" in filename:
        # Its pattern for wheels can take minutes to find that such a name is none, and holds the interpreter meanwhile.
        return None
    guess: tuple[str, str] | None = pkg_helpers.guess_pkgname_and_version(filename)
    return guess


def version(filename: str) -> str:
    """The version in a file's name, "" if it has none; pypiserver counts a wheel's build tag to it."""
    guess = name_and_version(filename)
    found = guess[1] if guess else ""
    return found.partition("-")[0] if filename.endswith(".whl") else found


def normalised(name: str) -> str:
    """The project's name as PEP 503 compares it."""
    result: str = pkg_helpers.normalize_pkgname(name)
    return result


def is_reachable(path: str, name: str) -> bool:
    """Whether the gateway has an address for the package at a path, and for the page of the project of this name."""
    return bool(_ADDRESS.fullmatch(path) and _NAMED.fullmatch(name))
