"""Whose the names are that the permissions leave to whoever publishes them first.

A record is made once, before the first file is there, and never changed: it outlives all files of its project.
"""

from __future__ import annotations

import errno
import json
import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from server.http.errors import AwayError
from server.index.spelling import PROJECT
from server.volume.content import SETTLED_NS
from server.volume.problems import Problems, why

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.volume.content import Stamp
    from server.volume.own_files import Files

DIRECTORY = "owners"
"""The name of the hidden directory."""
NOBODY = ""
"""Whose a name is that was published without an owner, and has no file any more."""
LARGEST = 2**16
_PROJECT = re.compile(PROJECT)


class _Record(NamedTuple):
    owner: str
    stamp: Stamp | None
    """Of the file that was read; None if this process has made it."""


class Owners:
    """One file a normalised name: JSON that says who the owner is, as a rule of the permissions would name them."""

    def __init__(self, files: Files, problems: Problems | None = None) -> None:
        """Keep records in `files`; `problems` is told of those that cannot be read."""
        self._files = files
        self._problems = problems or Problems()
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}
        self._taken: dict[str, _Record] = {}
        self._time: int | None = None

    def known(self, project: str) -> str | None:
        """The owner of a name as this process has seen it last; None if it has seen none. It touches no volume."""
        record = self._records.get(project)
        return record.owner if record else None

    def of(self, project: str) -> str | None:
        """The owner of a name, NOBODY, or None if there is no record of it.

        Raises:
            OSError: That cannot be told.
        """
        # A client may ask for what is no name, such as a path.
        if not _PROJECT.fullmatch(project):
            return None
        try:
            return _owner(self._files.content(project, LARGEST), project)
        except FileNotFoundError:
            return None
        except OSError as error:
            # Of an upload it would mean that there is no room for it.
            if error.errno == errno.EFBIG:
                raise _unreadable(project) from error
            raise

    def take(self, project: str, owner: str) -> bool:
        """Make a name an owner's, or nobody's; when this returns, that survives a loss of power.

        Returns:
            Whether it is so now: False if there was a record already, of whomever.

        Raises:
            OSError: The volume did not take it.
        """
        if not _PROJECT.fullmatch(project):
            raise OSError(errno.EINVAL, f"{project!a} is no name")
        with self._lock:
            try:
                self._files.create(project, f"{json.dumps({'owner': owner})}\n".encode())
            except FileExistsError:
                return False
            self._records[project] = self._taken[project] = _Record(owner, None)
        return True

    def rescan(self) -> None:
        """See which records there are, and read those that are new or that somebody has changed.

        Raises:
            OSError: The volume cannot be read; what was seen last stays.
        """
        self._scan(self._is_as_read)

    def look(self) -> None:
        """See which records there are, if their directory has changed, and read those that are new.

        Raises:
            OSError: The volume cannot be read.
        """
        if self._time is None or self._files.changed() != self._time:
            self._scan(lambda *_: True)

    def _scan(self, is_as_read: Callable[[str, _Record], bool]) -> None:
        with self._lock:
            self._taken = {}
        begun = time.time_ns()
        changed = self._files.changed()
        problems: dict[str, str] = {}
        found: dict[str, _Record] = {}
        for name in self._files.names():
            record = self._records.get(name)
            if record is None or not is_as_read(name, record):
                record = self._found(name, problems)
            if record:
                found[name] = record
        self._problems.replace(f".pypiserver/{DIRECTORY}", problems)
        self._time = changed if begun - changed > SETTLED_NS else None
        # Whoever publishes waits for none of that, and what was taken meanwhile may not have been listed.
        with self._lock:
            self._records = {**found, **self._taken}

    def _is_as_read(self, name: str, record: _Record) -> bool:
        try:
            return record.stamp == self._files.stamp(name)
        except OSError:
            return False

    def _found(self, name: str, problems: dict[str, str]) -> _Record | None:
        if not _PROJECT.fullmatch(name):
            return None
        try:
            stamp = self._files.stamp(name)
            owner = self.of(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            problems[f".pypiserver/{DIRECTORY}/{name}"] = why(error)
            return None
        return None if owner is None else _Record(owner, stamp)


def _owner(content: bytes, project: str) -> str:
    try:
        match json.loads(content):
            case {"owner": str(owner)}:
                return owner
    except (ValueError, RecursionError):
        pass
    raise _unreadable(project)


def _unreadable(project: str) -> AwayError:
    text = f"Nobody can tell whose {project} is: its record in .pypiserver/{DIRECTORY} is none"
    return AwayError(errno.EBADMSG, text)
