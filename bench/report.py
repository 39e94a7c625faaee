"""What a benchmark hands back, and how it is printed: as Markdown, on the screen as in docs/performance.md."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Scale:
    """How much work a benchmark does."""

    rounds: int = 7
    """Alternating runs of short programs."""
    seconds: float = 6.0
    """How long one load of a web server lasts."""
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Numbers of files on the package volume."""
    pictures: Path = Path("build")
    """Where pictures are drawn."""


@dataclass(frozen=True)
class Target:
    """A figure that has to be reached."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    unit: str = "times"

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        """One line."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.met else "**missed**"
        return f"{self.what}: {number(self.measured)} {self.unit}, target {sign} {self.limit:g} {self.unit}, {verdict}"


@dataclass
class Section:
    """The outcome of one benchmark."""

    title: str
    method: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)
    """File names by what there is to see."""

    def __str__(self) -> str:
        """Markdown."""
        lines = [f"## {self.title}", "", self.method, ""]
        lines += [_row(self.columns), _row(["---", *["---:"] * (len(self.columns) - 1)]), *map(_row, self.rows), ""]
        for text, file in self.pictures.items():
            lines += [f"![{text}]({file})", ""]
        lines += [f"- {each}" for each in (*self.targets, *self.notes)]
        return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three significant digits, with separators for thousands."""
    if abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """The lowest and the highest value."""
    return f"{number(min(values) * scale)} to {number(max(values) * scale)}"
