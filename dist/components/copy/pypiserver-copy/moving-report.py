"""What has become of each package: a bar while it goes on, a table at the end."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from typing import Self


class Outcome(Enum):
    """What became of a package."""

    COPIED = "copied"
    TO_COPY = "to copy"
    THERE = "already there"
    DIFFERENT = "different"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """What became of one, with the reason if there is one, and its size if it is known."""

    name: str
    outcome: Outcome
    why: str = ""
    size: int | None = None

    def __str__(self) -> str:
        """A line about it."""
        return f"{self.outcome.value}: {self.name}" + (f": {self.why}" if self.why else "")


class Report:
    """Takes results from all threads."""

    def __init__(self, *, is_dry: bool) -> None:
        """Begin; a dry run has no packages that were copied."""
        self._is_dry = is_dry
        self._lock = threading.Lock()
        self.results: list[Result] = []
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("looking", total=None)

    def __enter__(self) -> Self:
        """Show the bar, if there is a terminal."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._progress.stop()

    def expect(self, files: int, size: int) -> None:
        """Tell how much there is to do."""
        self._progress.update(self._bar, description=f"copying {files} files", total=size or None, completed=0)

    def passed(self, size: int) -> None:
        """Move the bar on."""
        self._progress.advance(self._bar, size)

    def add(self, result: Result) -> None:
        """Note a result, and say at once what is wrong."""
        with self._lock:
            self.results.append(result)
        self._say(result)

    def replace(self, result: Result) -> None:
        """Note what was found out about a package of which there was another result."""
        with self._lock:
            self.results[:] = [each for each in self.results if each.name != result.name] + [result]
        self._say(result)

    def _say(self, result: Result) -> None:
        if result.why:
            self._progress.console.print(str(result), markup=False, highlight=False, soft_wrap=True)

    @property
    def is_well(self) -> bool:
        """Whether all packages are at the target, or would be."""
        return not any(each.outcome in {Outcome.DIFFERENT, Outcome.FAILED} for each in self.results)

    def print(self, *, interrupted: bool = False) -> None:
        """Print the table."""
        counts: Counter[Outcome] = Counter(each.outcome for each in self.results)
        table = Table("", "files", "size", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for outcome in Outcome:
            if outcome is not (Outcome.COPIED if self._is_dry else Outcome.TO_COPY):
                size = sum(each.size or 0 for each in self.results if each.outcome is outcome)
                table.add_row(outcome.value, str(counts[outcome]), decimal(size) if size else "")
        out = Console(highlight=False)
        out.print(table)
        if interrupted:
            out.print("Interrupted: the next run goes on from here.")
