"""What the server alone can count: the packages and their volume, in the text format of Prometheus."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from server.http.bottle import response
from server.pod.samples import Sample, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.index.listing import Listing
    from server.pod.upkeep import Upkeep
    from server.volume.problems import Problems

PAUSE_SECONDS = 15.0
"""How long the thread rests between two looks at the volume's free space."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The page of metrics."""

    def __init__(  # noqa: PLR0913
        self,
        root: Path,
        listing: Listing,
        problems: Problems,
        problem: Callable[[], str | None],
        upkeep: Upkeep,
        *,
        writes: Callable[[], bool] = lambda: True,
        others: Callable[[], Iterator[Sample]] = lambda: iter(()),
        beside: Callable[[], str] = str,
    ) -> None:
        """Tell about `listing` and the volume of `root`, and what `upkeep` knows.

        `problems` are those of its entries, `problem` says why it does not answer, `writes` whether this pod may
        write to it, `others` is told besides, and `beside` is the page of another program of the pod.
        """
        self._beside = beside
        self._others = others
        self._writes = writes
        self._upkeep = upkeep
        self._problems = problems
        self._root = root
        self._listing = listing
        self._problem = problem
        self._space: tuple[int, int] | None = None

    def start(self) -> None:
        """Begin to look at the free space, until the process ends; a volume that hangs stops this thread alone."""
        threading.Thread(target=self._run, name="space", daemon=True).start()

    def look(self) -> None:
        """Look at the free space once, and at what was done to the volume."""
        self._upkeep.look()
        try:
            found = os.statvfs(self._root)
        except OSError:
            self._space = None
        else:
            self._space = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize

    def page(self) -> str:
        """Answer a scrape; nothing here touches the volume."""
        response.content_type = CONTENT_TYPE
        samples = (*self._gauges(), *self._others(), *self._upkeep.gauges())
        return text_of(samples) + self._beside()

    def _gauges(self) -> Iterator[Sample]:
        totals = self._listing.totals()
        yield Sample("pypiserver_packages", "Files that are listed.", totals.files)
        yield Sample("pypiserver_projects", "Projects that are listed.", totals.projects)
        yield Sample("pypiserver_stored_bytes", "Size of all listed files.", totals.size)
        if totals.newest_ns:
            newest = totals.newest_ns / 1e9
            yield Sample(
                "pypiserver_last_publish_timestamp_seconds", "When the newest listed file was written.", newest
            )
        answers = self._problem() is None
        yield Sample("pypiserver_volume_answers", "Whether the package volume is there and answers in time.", answers)
        yield Sample("pypiserver_writes", "Whether this pod may publish.", self._writes())
        problems = self._problems.count()
        yield Sample("pypiserver_volume_problems", "Entries of the package volume that cannot be read.", problems)
        # A volume that does not answer has an unknown size: no figure is better than an old one.
        if answers and (space := self._space):
            yield Sample("pypiserver_volume_size_bytes", "Size of the file system of the package volume.", space[0])
            yield Sample("pypiserver_volume_free_bytes", "Space on it that the server may still use.", space[1])

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(PAUSE_SECONDS)
