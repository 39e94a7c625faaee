"""Uploads in parts that nobody has finished: a store keeps the parts, which no listing shows, until it is told.

rclone tells it of what it gives up itself. What is left is of an rclone that was killed, or whose store was away.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from typing import TYPE_CHECKING

from server.store.complaints import Complaint
from server.store.problems import StoreError
from server.store.remote import seconds_of
from server.volume.problems import why

if TYPE_CHECKING:
    from server.store.remote import Remote
    from server.store.unfinished import Unfinished

_MOST = 100
"""How many files there is an end of the parts of at a time: rclone keeps a place that it was told of for minutes."""
_WHAT = "the parts of unfinished uploads cannot be removed"
_NONE = "NoSuchUpload"
"""What rclone's own S3 server answers as long as there are none."""
_log = logging.getLogger("parts")


class Parts:
    """What unfinished uploads have left in the registry's folder, whoever began them."""

    def __init__(self, remote: Remote, unfinished: Unfinished, seconds: float) -> None:
        """Remove those that were begun so many `seconds` ago; of none if it is 0, and of none that is `unfinished`."""
        self._remote = remote
        self._unfinished = unfinished
        self._seconds = seconds
        self._complaint = Complaint(_log.warning)
        self._last = ""
        """The name that was tried last: one behind it is next, so that none waits for those that cannot be ended."""
        self._left: set[str] = set()
        """The names that were tried in vain."""

    def end(self) -> None:
        """Remove what is old enough, once; that the store does not let it is said to the log."""
        if not self._seconds:
            return
        try:
            # A name at a time: of a path rclone takes all that begins with it, such as the folder `pypi-old` of `pypi`.
            old = sorted(self._old())
            behind = bisect_right(old, self._last)
            due = [*old[behind:], *old[:behind]][:_MOST]
            for name in due:
                self._last = name
                self._remote.command("cleanup", _WHAT, name, max_age=f"{self._seconds:g}s")
            # It says nothing of what it could not remove.
            left = self._old() if due else set()
        except StoreError as error:
            self._complaint.make(error.reason, why(error))
            return
        if gone := sorted(set(due) - left):
            _log.info("removed the parts of unfinished uploads of %s", ", ".join(gone))
        self._left = left.intersection(self._left.union(due))
        if self._left:
            self._complaint.make("left", f"{_WHAT}: {', '.join(sorted(self._left)[:_MOST])}")
        else:
            self._complaint.end()

    def _old(self) -> set[str]:
        """The names, below the registry's folder, of which there are uploads that are old enough."""
        bucket, _, folder = self._remote.path.partition(":")[2].partition("/")
        try:
            found = self._remote.command("list-multipart-uploads", _WHAT)
        except StoreError as error:
            if _NONE in why(error):
                return set()
            raise
        begun = time.time() - self._seconds
        names = {
            str(each["Key"]).removeprefix(folder)
            for each in found.get(bucket) or ()
            if each["Key"].startswith(folder) and each["Initiated"] and seconds_of(each["Initiated"]) < begun
        }
        return {name for name in names if _is_below(name) and not self._unfinished.is_busy(name)}


def _is_below(name: str) -> bool:
    """Whether rclone, which tidies paths, takes it for a place in the folder."""
    return not {"", ".", ".."} & set(name.split("/"))
