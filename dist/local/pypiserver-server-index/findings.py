"""What was found out by reading files, kept on the volume so that no later process has to read them again."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from server.index.packed import Core
from server.volume.content import Stamp, content

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.index.listing import Entry, Listing
    from server.volume.own_files import OwnFiles

DIRECTORY = "facts-1"
"""The name of the hidden directory; another number for another form of the files."""
LARGEST = 64 * 2**20
"""How many bytes such a file may have: of a project of some hundred thousand files."""
_DIGEST = re.compile(r"[a-z0-9_]+=[0-9a-f]+")
PAUSE_SECONDS = 1.0
"""How long the thread rests between two rounds: a project whose files arrive in a row is written down once."""


class Findings:
    """One file a project; what is in it counts for a file of the same path, size and time of change only.

    It is a memory, not a record: where it is lost, half written or overwritten by another pod, files are read again.
    """

    def __init__(
        self,
        files: OwnFiles,
        listing: Listing,
        problem: Callable[[], str | None] = lambda: None,
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep in `files` what is known of the files of `listing`, unless there is a `problem` with the volume.

        `verify` raises an OSError if it is another one.
        """
        self._files = files
        self._listing = listing
        self._problem = problem
        self._verify = verify
        self._kept: dict[str, int] = {}
        self._due: set[str] = set()
        self._wanted = threading.Event()
        self._last: tuple[str, tuple[int, int], dict[str, Any]] = ("", (0, 0), {})

    def recall(self, entry: Entry) -> None:
        """Tell an entry what an earlier process found out about its file."""
        match self._read(entry.project).get(entry.path):
            # A row of another form, or none at all, is as good as no row.
            case [int(size), int(mtime_ns), str(digest), core] if entry.stamp == Stamp(size, mtime_ns):
                if _DIGEST.fullmatch(digest):
                    entry.digest = entry.digest or digest
                    entry.core = entry.core or _core(core)

    def start(self) -> None:
        """Begin to write down what is to be kept, until the process ends."""
        threading.Thread(target=self._run, name="findings", daemon=True).start()

    def keep(self, project: str) -> None:
        """Have what is known of a project's files written down soon; no request waits for the volume because of it."""
        self._due.add(project)
        self._wanted.set()

    def write(self) -> None:
        """Write down what is to be kept, if there is anything new."""
        while self._due:
            self._write(self._due.pop())

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            self.write()
            time.sleep(PAUSE_SECONDS)

    def _write(self, project: str) -> None:
        if self._problem():
            # Perhaps it is no longer the volume that these files are on.
            return
        entries = sorted(self._listing.of_project(project), key=lambda entry: entry.path)
        if not self._is_new(project, _text(entries)):
            return
        for entry in entries:
            if entry.digest is None or entry.core is None:
                # Another pod may know more.
                self.recall(entry)
        text = _text(entries)
        if self._is_new(project, text):
            # A volume that is full or read-only, or a name that is too long: then files are read again.
            with suppress(OSError):
                # The problem may not be known yet, and an empty directory would get what is ours.
                self._verify()
                self._files.put(_name(project), text.encode(), durable=False)
                self._kept[project] = hash(text)

    def _is_new(self, project: str, text: str) -> bool:
        return self._kept.get(project) != hash(text)

    def _read(self, project: str) -> dict[str, Any]:
        path = self._files.path / _name(project)
        try:
            status = path.stat()
            seen = status.st_mtime_ns, status.st_size
            # The files of a project are asked about one after another.
            last = self._last
            if last[:2] != (project, seen):
                text = content(path, LARGEST).decode()
                rows = json.loads(text)
                last = (project, seen, rows if isinstance(rows, dict) else {})
                self._last = last
                self._kept[project] = hash(text)
        except (OSError, RecursionError, ValueError):
            return {}
        return last[2]


def _text(entries: list[Entry]) -> str:
    known = (entry for entry in entries if entry.digest is not None)
    return json.dumps({entry.path: [*entry.stamp, entry.digest, entry.core] for entry in known}, separators=(",", ":"))


def _core(row: object) -> Core | None:
    match row:
        case [(str() | None) as metadata, (str() | None) as requires_python]:
            return Core(metadata, requires_python)
    return None


def _name(project: str) -> str:
    return f"{quote(project, safe='')}.json"
