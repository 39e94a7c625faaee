"""What the server alone can count: the packages and their volume, in the text format of Prometheus."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from server.http.bottle import response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.index.listing import Listing
    from server.volume.problems import Problems

PAUSE_SECONDS = 15.0
"""How long the thread rests between two looks at the volume's free space."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The page of metrics."""

    def __init__(self, root: Path, listing: Listing, problems: Problems, problem: Callable[[], str | None]) -> None:
        """Tell about `listing` and the volume of `root`.

        `problems` are those of its entries, and `problem` says why it does not answer.
        """
        self._problems = problems
        self._root = root
        self._listing = listing
        self._problem = problem
        self._space: tuple[int, int] | None = None

    def start(self) -> None:
        """Begin to look at the free space, until the process ends; a volume that hangs stops this thread alone."""
        threading.Thread(target=self._run, name="space", daemon=True).start()

    def look(self) -> None:
        """Look at the free space once."""
        try:
            found = os.statvfs(self._root)
        except OSError:
            self._space = None
        else:
            self._space = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize

    def page(self) -> str:
        """Answer a scrape; nothing here touches the volume."""
        response.content_type = CONTENT_TYPE
        return "".join(
            f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value:.17g}\n" for name, text, value in self._gauges()
        )

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        totals = self._listing.totals()
        yield "pypiserver_packages", "Files that are listed.", totals.files
        yield "pypiserver_projects", "Projects that are listed.", totals.projects
        yield "pypiserver_stored_bytes", "Size of all listed files.", totals.size
        if totals.newest_ns:
            newest = totals.newest_ns / 1e9
            yield "pypiserver_last_publish_timestamp_seconds", "When the newest listed file was written.", newest
        answers = self._problem() is None
        yield "pypiserver_volume_answers", "Whether the package volume answers in time.", answers
        problems = self._problems.count()
        yield "pypiserver_volume_problems", "Entries of the package volume that cannot be read.", problems
        # A volume that does not answer has an unknown size: no figure is better than an old one.
        if answers and (space := self._space):
            yield "pypiserver_volume_size_bytes", "Size of the file system of the package volume.", space[0]
            yield "pypiserver_volume_free_bytes", "Space on it that the server may still use.", space[1]

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(PAUSE_SECONDS)
