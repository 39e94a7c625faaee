"""What is known of the files of a store, kept in it: a snapshot, and a journal of what has changed since.

A change counts when its part of the journal is in the store. Parts are numbered, and a store that knows conditional
creation takes each number once: of two writers one is told that it is none any more. On other stores each part has a
name of its own, and a writer looks at the record of who writes before each change, which leaves the moment in between.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from server.store import rows
from server.store.problems import AbsentError, DoubtError, FencedError, PresentError, StoreError
from server.store.rows import IncompleteError
from server.volume.durable import make_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from server.store.holdings import Holdings
    from server.store.remote import Remote
    from server.store.rows import Line

DIRECTORY = ".pypiserver/catalogue"
MERGE_AT = 256
"""After how many parts of the journal a snapshot is written: a start reads each of them."""
LARGEST_PART = 64 * 2**20
_AT_ONCE = 16
"""How many parts are read at the same time."""
_ATTEMPTS = 5
"""How often a start begins again, since what it was about to read has been merged."""
_SNAPSHOT = re.compile(r"snapshot-([0-9]{12})\.jsonl\.gz")
_PART = re.compile(r"journal-([0-9]{12})(?:-[0-9a-f]+)?\.jsonl")
_log = logging.getLogger("catalogue")


class _Doubtful(NamedTuple):
    """A part of which it is not known whether the store has it."""

    name: str
    text: bytes
    lines: tuple[Line, ...]


class _Ticket:
    """Changes that wait to be written, and what has come of it."""

    def __init__(self, lines: tuple[Line, ...], check: Callable[[], None]) -> None:
        self.lines = lines
        self.done = False
        self.error: Exception | None = None
        self._check = check

    def is_wanted(self) -> bool:
        try:
            self._check()
        except OSError as error:
            self.error = error
        return self.error is None


class Catalogue:
    """Reads the catalogue, and writes to it if this is the writer."""

    def __init__(self, remote: Remote, holdings: Holdings, identity: str) -> None:
        """Keep `holdings` like the catalogue in `remote`; `identity` says who writes."""
        self._remote = remote
        self._holdings = holdings
        self._identity = identity
        self._conditional = False
        self._may_write: Callable[[], None] | None = None
        self._fenced: FencedError | None = None
        self._writing = threading.Lock()
        self._queue = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._number = self._merged = 0
        self._applied: set[str] = set()
        self._doubtful: _Doubtful | None = None

    def write_as(self, may_write: Callable[[], None], *, conditional: bool) -> None:
        """Begin to write.

        Args:
            may_write: Raises FencedError when another writes.
            conditional: Whether the store takes each name once.
        """
        self._may_write, self._conditional = may_write, conditional

    def check_writer(self) -> None:
        """Make sure that this is still the one that writes; who is not any more will not be again.

        Raises:
            FencedError: It is not.
            StoreError: The store does not say.
        """
        if self._fenced:
            raise self._fenced
        if self._may_write is None:
            raise FencedError("nothing is written", "this server only reads the store")
        try:
            self._may_write()
        except FencedError as error:
            self._fenced = error
            raise

    @property
    def exists(self) -> bool:
        """Whether there was one when it was last looked at."""
        return bool(self._number or self._merged)

    def load(self) -> bool:
        """Read all of it; whether there is one.

        Raises:
            StoreError: It cannot be read.
        """
        for _ in range(_ATTEMPTS):
            names = self._remote.names(DIRECTORY)
            snapshots = sorted((name for name in names if _SNAPSHOT.fullmatch(name)), reverse=True)
            parts = _parts(names)
            if not snapshots and not parts:
                return False
            try:
                self._load(snapshots, parts)
            except AbsentError:
                # It has been merged meanwhile.
                continue
            return True
        raise StoreError("the catalogue cannot be read", "it changed faster than it could be read")

    def follow(self) -> None:
        """Take over what others have written, and find out what has come of an own part that is in doubt.

        Raises:
            StoreError: The store does not say; what is known stays.
        """
        self.settle()
        names = self._remote.names(DIRECTORY)
        if not names and self.exists:
            raise StoreError("the catalogue cannot be read", "it is not there any more")
        new = self._new(_parts(names))
        snapshots = [int(found[1]) for name in names if (found := _SNAPSHOT.fullmatch(name))]
        # The next part is gone, as it is in a snapshot.
        if (_number(new[0]) if new else max(snapshots, default=0)) > self._number + bool(new):
            self.load()
            return
        # Nobody who publishes has to wait for what is read.
        texts = self._texts(new)
        with self._writing:
            others = self._take(texts)
        if others and self._may_write:
            self.check_writer()

    def commit(self, *lines: Line, check: Callable[[], None] = lambda: None) -> None:
        """Write changes; when this returns they are in the store, and in `holdings`.

        Those of several threads that wait for each other are written as one part.

        Args:
            lines: The changes.
            check: Raises an OSError if they are not to be made, by what is known then.

        Raises:
            DoubtError: It is not known whether they are; that is found out as soon as the store answers.
            FencedError: Another writes.
            StoreError: They are not.
            OSError: The spool does not take them.
        """
        ticket = _Ticket(lines, check)
        with self._queue:
            self._waiting.append(ticket)
        with self._writing:
            if not ticket.done:
                with self._queue:
                    batch, self._waiting = self._waiting, []
                self._write_all(batch)
        if ticket.error:
            raise ticket.error

    def settle(self) -> None:
        """Find out what has come of a part that is in doubt.

        Raises:
            StoreError: The store does not say.
        """
        with self._writing:
            self._settle()

    def merge(self, at: int = MERGE_AT) -> None:
        """Write a snapshot, if the journal has this many parts; its older parts are removed after the next one.

        Raises:
            OSError: The spool does not take it.
            StoreError: The store does not.
        """
        with self._writing:
            if self._may_write is None or self._doubtful or len(self._applied) < at:
                return
            self.check_writer()
            number, merged, lines = self._number, self._merged, self._holdings.lines()
        make_directory(self._remote.spool)
        local = self._remote.spool / uuid.uuid4().hex
        name = _snapshot(number)
        try:
            with gzip.open(local, "wb", compresslevel=3) as file:
                for line in rows.written(lines, self._identity):
                    file.write(line)
            # What is there of this name already says the same.
            with contextlib.suppress(PresentError):
                self._remote.put(local, f"{DIRECTORY}/{name}", new=self._conditional)
        finally:
            with contextlib.suppress(OSError):
                local.unlink()
        with self._writing:
            self._merged = number
            self._applied = {each for each in self._applied if _number(each) > number}
        _log.info("wrote the snapshot %s", name)
        self._prune(merged)

    def _prune(self, merged: int) -> None:
        """Remove what nobody needs who has seen the snapshot before the latest."""
        for name in self._remote.names(DIRECTORY):
            snapshot = _SNAPSHOT.fullmatch(name)
            if (snapshot and int(snapshot[1]) < merged) or (_PART.fullmatch(name) and _number(name) <= merged):
                self._remote.remove(f"{DIRECTORY}/{name}")

    def _load(self, snapshots: list[str], parts: list[str]) -> None:
        number = 0
        for name in snapshots:
            try:
                self._holdings.replace(self._lines_of(name))
            except IncompleteError as error:  # noqa: PERF203 - there are two
                # The one before it is kept, with all that was written since.
                _log.warning("%s is passed over: %s", name, error)
            else:
                number = int(name[9:21])
                break
        else:
            if snapshots:
                raise StoreError("the catalogue cannot be read", f"none of its {len(snapshots)} snapshots is whole")
            self._holdings.replace(rows.read(rows.written((), "")))
        texts = self._texts([name for name in parts if _number(name) > number])
        with self._writing:
            self._number = self._merged = number
            self._applied = set()
            self._take(texts)

    def _new(self, parts: Iterable[str]) -> list[str]:
        return [name for name in parts if name not in self._applied and _number(name) > self._merged]

    def _texts(self, parts: list[str]) -> dict[str, bytes]:
        if not parts:
            return {}
        with ThreadPoolExecutor(min(_AT_ONCE, len(parts))) as readers:
            return dict(zip(parts, readers.map(self._text_of, parts), strict=True))

    def _take(self, texts: Mapping[str, bytes]) -> bool:
        """Apply the parts that are new, in their order; whether there are any."""
        new = self._new(texts)
        for name in new:
            try:
                lines = tuple(rows.read(texts[name].splitlines()))
            except IncompleteError as error:  # noqa: PERF203 - each part fails by itself
                self._pass_over(name, error)
            else:
                self._apply(name, lines)
        return bool(new)

    def _pass_over(self, name: str, error: IncompleteError) -> None:
        if self._may_write:
            # Nobody was told that it was written, and nobody writes to it any more.
            _log.warning("%s is removed: %s", name, error)
            self._remote.remove(f"{DIRECTORY}/{name}")
        else:
            raise StoreError(f"{name} cannot be read", str(error)) from error

    def _apply(self, name: str, lines: Iterable[Line]) -> None:
        self._holdings.apply(lines)
        self._applied.add(name)
        self._number = max(self._number, _number(name))

    def _write_all(self, batch: list[_Ticket]) -> None:
        error: Exception | None = None
        wanted = batch
        try:
            self._settle()
            for _ in range(_ATTEMPTS):
                wanted = [ticket for ticket in wanted if ticket.is_wanted()]
                if not wanted or self._write(tuple(line for ticket in wanted for line in ticket.lines)):
                    break
            else:
                raise StoreError("nothing is written", "others write to the catalogue all the time")
        except OSError as failed:
            error = failed
            if isinstance(error, DoubtError) or getattr(error, "is_silence", False):
                # Nor would it answer those who have waited for this.
                with self._queue:
                    batch, self._waiting = batch + self._waiting, []
        finally:
            for ticket in batch:
                ticket.done, ticket.error = True, ticket.error or error

    def _write(self, lines: tuple[Line, ...]) -> bool:
        """Write a part; False if somebody else has written one of its number, which has been taken over."""
        if self._may_write is None or self._fenced or not self._conditional:
            # Where each number is taken once, another writer shows by it.
            self.check_writer()
        name = _part(self._number + 1, "" if self._conditional else uuid.uuid4().hex[:8])
        text = b"".join(rows.written(lines, self._identity))
        try:
            self._remote.write(f"{DIRECTORY}/{name}", text, new=self._conditional)
        except StoreError as error:
            self._doubtful = _Doubtful(name, text, lines)
            if self._found_out(error):
                return True
            if isinstance(error, PresentError):
                self.check_writer()
                return False
            raise
        self._apply(name, lines)
        return True

    def _found_out(self, error: StoreError) -> bool:
        """Whether a part has been written all the same; DoubtError if that cannot be found out now."""
        try:
            if not error.is_silence:
                return self._settle()
        except StoreError:
            pass
        raise DoubtError(error.errno, f"{error.strerror}; whether it has it is not known") from error

    def _settle(self) -> bool:
        """Find out what has come of the part that is in doubt; whether the store has it."""
        if self._doubtful is None:
            return False
        name, text, lines = self._doubtful
        try:
            found = self._text_of(name)
        except AbsentError:
            self._doubtful = None
            return False
        self._doubtful = None
        if found != text:
            # The last one of a server that was about to end.
            self._take({name: found})
            return False
        self._apply(name, lines)
        return True

    def _text_of(self, name: str) -> bytes:
        return self._remote.read(f"{DIRECTORY}/{name}", LARGEST_PART)

    def _lines_of(self, name: str) -> Iterator[Line]:
        with self._remote.reading(f"{DIRECTORY}/{name}") as answer:
            try:
                with gzip.GzipFile(mode="rb", fileobj=cast("IO[bytes]", answer)) as file:
                    yield from rows.read(file)
            except (EOFError, gzip.BadGzipFile) as error:
                raise IncompleteError(str(error)) from error


def _parts(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if _PART.fullmatch(name))


def _number(part: str) -> int:
    return int(part[8:20])


def _part(number: int, own: str) -> str:
    return f"journal-{number:012d}{f'-{own}' if own else ''}.jsonl"


def _snapshot(number: int) -> str:
    return f"snapshot-{number:012d}.jsonl.gz"
