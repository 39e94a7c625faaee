"""A tree of packages that need each other, as large as those that people install."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_programs import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECTS = 60
RELEASES = 10
"""Of each project: when somebody counted all of PyPI there were 1,745,744 of 178,592 projects (arXiv 1907.11073)."""
DECILES = (5_114, 11_050, 15_554, 29_575, 40_708, 57_328, 74_843, 129_956, 375_426, 787_025, 4_752_576)
"""Bytes of the wheels in constraints.txt; the six above 5 MB, two thirds of which are programs, are left out."""
DESCRIPTION_BYTES = 4_000
"""Of METADATA, as in the same wheels."""
BASES = 6
"""Projects that many others need."""
CAP = 8
"""The release of a base from which on one of those that need it does not take it."""


@dataclass(frozen=True)
class Tree:
    """What was planted."""

    top: str
    solution: dict[str, str]
    """The version of each project that fits all the others."""

    @property
    def files(self) -> set[str]:
        """The names of the wheels of the solution."""
        return {f"{project}-{version}-py3-none-any.whl" for project, version in self.solution.items()}


def name(number: int) -> str:
    """The name of a project."""
    return f"branch{number:02}"


def size(number: int) -> int:
    """How large the wheels of a project are; scattered, so that size has nothing to do with depth."""
    place, rest = divmod(number * 37 % PROJECTS / (PROJECTS - 1) * 10, 1)
    low, high = DECILES[int(place)], DECILES[min(int(place) + 1, 10)]
    return int(low * (high / low) ** rest)


def plant(directory: Path) -> Tree:
    """Put the wheels into a directory.

    Each project needs the two below it, every second one a base besides: 1.4 each on average, as in the wheels of
    constraints.txt. Of those that need a base, one wants it older, and the one to three newest releases of another one
    want it newer, so that a resolver has to go back.
    """
    solution = {}
    for number in range(PROJECTS):
        for release in range(RELEASES):
            needs = "".join(f"Requires-Dist: {need}\n" for need in _needs(number, release))
            headers = f"Requires-Python: >=3.8\n{needs}\n{os.urandom(DESCRIPTION_BYTES // 2).hex()}\n"
            make_wheel(directory, name(number), f"1.{release}", os.urandom(size(number)), headers)
        solution[name(number)] = f"1.{_fitting(number)}"
    return Tree(name(0), solution)


def _needs(number: int, release: int) -> Iterator[str]:
    for below in (2 * number + 1, 2 * number + 2):
        if below < PROJECTS:
            yield f"{name(below)}>=1.0"
    if (base := _base(number)) is not None:
        if _wants_older(number):
            yield f"{name(base)}<1.{CAP}"
        elif release > _fitting(number):
            yield f"{name(base)}>=1.{CAP}"
        else:
            yield f"{name(base)}>=1.0"


def _base(number: int) -> int | None:
    """The base that a project needs."""
    first = PROJECTS - BASES
    return first + number // 2 % BASES if number % 2 == 0 and number < first else None


def _wants_older(number: int) -> bool:
    """Whether a project does not take the newest releases of its base."""
    return 4 * BASES <= number < 6 * BASES


def _fitting(number: int) -> int:
    """The newest release of a project that fits the others."""
    newest = RELEASES - 1
    if number >= PROJECTS - BASES:
        return CAP - 1
    wants_newer = 2 * BASES <= number < 4 * BASES and number % 2 == 0
    return newest - (1 + number // 2 % 3) if wants_newer else newest
