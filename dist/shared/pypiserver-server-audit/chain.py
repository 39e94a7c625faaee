"""The audit trail on the package volume: each line names the digest of the one before it.

Whoever changes, takes out or adds a line in the middle breaks the chain. Each process has a file of its own, whose
first line names the last lines of the files that were there, so that none of those can be cut short or removed unseen
either; the lines on standard output have the digests too, for whoever keeps them elsewhere. `verify.py` tells.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from server.audit.verify import START, digest, end_of, named_in
from server.volume.durable import make_directory, sync_directory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIRECTORY = ".pypiserver/audit"
"""Where the files are on the package volume."""
LARGEST = 64 * 2**20
"""After how many bytes another file is begun."""


class Chain:
    """The file of this process; may be used by several threads."""

    def __init__(self, directory: Path) -> None:
        """Begin a file in `directory` when the first record comes."""
        self._directory = directory
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._last = ""

    def add(self, record: Mapping[str, Any]) -> str:
        """Keep a record: when this returns, it survives a loss of power.

        Returns:
            The digest of its line.

        Raises:
            OSError: It cannot be kept.
        """
        with self._lock:
            try:
                if self._file is None or self._size > LARGEST:
                    self._begin()
                return self._append(record)
            except OSError:
                # What is there of the line is not known: the next one begins another file.
                self._end()
                raise

    def _append(self, record: Mapping[str, Any]) -> str:
        assert self._file is not None  # noqa: S101 - begun
        line = json.dumps({**record, "previous": self._last}, separators=(",", ":")).encode()
        data = line + b"\n"
        if os.write(self._file, data) != len(data):
            raise OSError("a line of the audit trail was cut off")
        os.fsync(self._file)
        self._size += len(data)
        self._last = digest(line)
        return self._last

    def _begin(self) -> None:
        self._end()
        make_directory(self._directory)
        paths = sorted(self._directory.glob("*.jsonl"))
        ends = {path.name: end for path in paths if (end := end_of(path))}
        named = [named_in(path) for path in paths]
        # What an earlier file says already need not be said again: that would be ever more.
        news = {name: end for name, end in ends.items() if not any(each.get(name) == end for each in named)}
        now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        path = self._directory / f"{now}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._size, self._last = 0, ""
        try:
            sync_directory(self._directory)
            self._append({"audit": START, "time": now, "ends": news})
        except OSError:
            # Of a volume that is full each change would leave another. One with a whole line may be named already.
            with suppress(OSError):
                if not end_of(path):
                    path.unlink()
            raise

    def _end(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
