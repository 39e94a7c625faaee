"""A tree of small packages for tests of resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_programs import make_wheel
from programs import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 60
OLDER_BYTES = 2**20
"""How large the older version of each package is: downloading it for its metadata would show."""


@dataclass(frozen=True)
class Tree:
    """What was planted."""

    top: str
    projects: tuple[str, ...]
    solution: dict[str, str]
    """The version of each project that fits all the others."""

    @property
    def files(self) -> set[str]:
        """The names of the wheels of the solution."""
        return {f"{project}-{version}-py3-none-any.whl" for project, version in self.solution.items()}


def plant(directory: Path, listed: Callable[[], int] | None = None, older_bytes: int = OLDER_BYTES) -> Tree:
    """Put a tree of packages into a directory; `listed` counts the projects that the index shows.

    Each needs two others below it; every fifth has a newest version that needs a package too new to exist, and one for
    another Python, so that resolving has to look into several versions.
    """
    projects = tuple(f"tree{number}" for number in range(SIZE))
    solution = {}
    for number, project in enumerate(projects):
        below = [each for each in (2 * number + 1, 2 * number + 2) if each < SIZE]
        needs = "".join(f"Requires-Dist: {projects[each]} >=1.0\n" for each in below)
        make_wheel(directory, project, "1.0", bytes(older_bytes), f"Requires-Python: >=3.8\n{needs}")
        make_wheel(directory, project, "2.0", headers=f"Requires-Python: >=3.8\n{needs}")
        solution[project] = "2.0"
        if number % 5 == 4:
            impossible = f"Requires-Dist: {projects[0]} >=9.0\n"
            make_wheel(directory, project, "3.0", bytes(older_bytes), f"Requires-Python: >=3.8\n{impossible}")
            make_wheel(directory, project, "4.0", headers="Requires-Python: >=3.99\n")
    if listed:
        wait_for(lambda: listed() == SIZE, "the index")
    return Tree(projects[0], projects, solution)
