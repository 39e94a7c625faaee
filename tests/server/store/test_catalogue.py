from __future__ import annotations

import gzip
import io
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from server.index.listing import Listing
from server.store import catalogue
from server.store.catalogue import DIRECTORY, Catalogue
from server.store.holdings import Holdings
from server.store.problems import AbsentError, DoubtError, FencedError, PresentError, StoreError
from server.store.remote import Found
from server.store.rows import File, Gone, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.index.listing import Change
    from server.store.remote import Remote


class Objects:
    """What a catalogue asks of a store, in memory, with conditional creation, and answers that get lost."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.objects: dict[str, bytes] = {}
        self.before_write: Callable[[], None] = lambda: None
        self.after_write: Callable[[], None] = lambda: None
        self.away = False
        self._lock = threading.Lock()

    def names(self, directory: str) -> dict[str, Found]:
        self._ask()
        below = f"{directory}/"
        return {
            path.removeprefix(below): Found(path, len(content), 1)
            for path, content in self.objects.items()
            if path.startswith(below)
        }

    def read(self, path: str, most: int) -> bytes:
        self._ask()
        if path not in self.objects:
            raise AbsentError(path, "object not found")
        assert len(self.objects[path]) <= most
        return self.objects[path]

    @contextmanager
    def reading(self, path: str) -> Iterator[object]:
        yield io.BytesIO(self.read(path, 10**9))

    def write(self, path: str, content: bytes, *, new: bool = False) -> None:
        self._ask()
        self.before_write()
        with self._lock:
            if new and path in self.objects:
                raise PresentError(path, "PreconditionFailed")
            self.objects[path] = content
        self.after_write()

    def put(self, local: Path, path: str, *, new: bool = False) -> None:
        self.write(path, local.read_bytes(), new=new)

    def remove(self, path: str) -> None:
        self._ask()
        self.objects.pop(path, None)

    def _ask(self) -> None:
        if self.away:
            raise StoreError("the store", "connection refused")


class Server:
    """A server's part of it; `fenced` says that it may not write any more."""

    def __init__(self, objects: Objects, tmp_path: Path, *, writes: bool = True, conditional: bool = True) -> None:
        self.listing = Listing()
        self.stale: list[Change] = []
        self.holdings = Holdings(tmp_path / "cache", self.listing, self.stale.append)
        self.catalogue = Catalogue(cast("Remote", objects), self.holdings, "a server")
        self.fenced = False
        if writes:
            self.catalogue.write_as(self._may_write, conditional=conditional)
        self.catalogue.load()

    def _may_write(self) -> None:
        if self.fenced:
            raise FencedError("nothing is written", "another writes")

    def publish(self, number: int, sha256: str = "aa") -> None:
        self.catalogue.commit(file(number, sha256))

    @property
    def paths(self) -> list[str]:
        return sorted(entry.path for entry in self.listing)


def file(number: int, sha256: str = "aa") -> File:
    return File(path(number), 1, 1_700_000_000, sha256, None, ">=3.8", None)


def path(number: int) -> str:
    return f"demo-{number}.0.tar.gz"


def parts(objects: Objects) -> list[str]:
    return sorted(name for name in objects.names(DIRECTORY) if name.startswith("journal-"))


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "volume/spool")


@pytest.fixture(autouse=True)
def volume(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()


def test_what_is_written_is_read_by_the_next_server_and_by_others(objects: Objects, tmp_path: Path) -> None:
    writer, reader = Server(objects, tmp_path), Server(objects, tmp_path, writes=False)
    for number in range(3):
        writer.publish(number)
    writer.catalogue.commit(Gone(path(1)), Record("yanked", "demo@2", "why"))
    reader.catalogue.follow()
    for server in (writer, reader, Server(objects, tmp_path, writes=False)):
        assert server.paths == [path(0), path(2)]
        assert server.holdings.records("yanked") == {"demo@2": "why"}
        entry = server.listing.at(path(0))
        assert entry
        assert (entry.digest, entry.core) == ("sha256=aa", (None, ">=3.8"))


@pytest.mark.parametrize("conditional", [True, False])
def test_a_snapshot_takes_the_place_of_the_journal(objects: Objects, tmp_path: Path, conditional: bool) -> None:
    writer, reader = (Server(objects, tmp_path, writes=each, conditional=conditional) for each in (True, False))
    writer.catalogue.commit(Record("yanked", "demo@0", "why"))
    for number in range(8):
        writer.publish(number)
        writer.catalogue.merge(at=3)
    # Those since the snapshot before the latest are kept, for readers that are on their way.
    assert len(objects.names(DIRECTORY)) == 2 + 3
    reader.catalogue.follow()
    late = Server(objects, tmp_path, writes=False)
    for server in (reader, late):
        assert server.paths == writer.paths == [path(number) for number in range(8)]
        assert server.holdings.records("yanked") == {"demo@0": "why"}


def test_a_reader_that_has_slept_too_long_reads_the_snapshot(objects: Objects, tmp_path: Path) -> None:
    writer = Server(objects, tmp_path)
    writer.publish(0)
    reader = Server(objects, tmp_path, writes=False)
    writer.catalogue.commit(Gone(path(0)))
    for number in range(1, 8):
        writer.publish(number)
        writer.catalogue.merge(at=2)
    reader.catalogue.follow()
    assert reader.paths == writer.paths == [path(number) for number in range(1, 8)]


def test_a_snapshot_that_is_cut_short_is_passed_over(objects: Objects, tmp_path: Path) -> None:
    writer = Server(objects, tmp_path)
    for number in range(4):
        writer.publish(number)
        writer.catalogue.merge(at=2)
    newest = max(path for path in objects.objects if "snapshot" in path)
    objects.objects[newest] = objects.objects[newest][:-30]
    assert Server(objects, tmp_path, writes=False).paths == writer.paths
    objects.objects[newest] = gzip.compress(b"no snapshot\n")
    assert Server(objects, tmp_path, writes=False).paths == writer.paths


def test_a_part_that_is_cut_short_was_never_acknowledged(objects: Objects, tmp_path: Path) -> None:
    Server(objects, tmp_path).publish(0)
    objects.objects[f"{DIRECTORY}/journal-000000000002.jsonl"] = b'{"format":1,"by":"x","token":"y"}\n["file","a'
    with pytest.raises(StoreError, match="cut short"):
        Server(objects, tmp_path, writes=False)
    writer = Server(objects, tmp_path)
    assert writer.paths == [path(0)]
    writer.publish(1)
    assert Server(objects, tmp_path, writes=False).paths == [path(0), path(1)]


def lose(objects: Objects, *, written: bool) -> None:
    """Have the next write fail, its answer or itself, with the store away after it."""

    def lost() -> None:
        objects.away = True
        objects.before_write = objects.after_write = lambda: None
        raise StoreError("it is not stored", "timed out")

    if written:
        objects.after_write = lost
    else:
        objects.before_write = lost


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_what_is_in_doubt_is_found_out(objects: Objects, tmp_path: Path, written: bool, conditional: bool) -> None:
    writer = Server(objects, tmp_path, conditional=conditional)
    lose(objects, written=written)
    with pytest.raises(DoubtError, match="is not known"):
        writer.publish(0)
    assert not writer.paths
    with pytest.raises(StoreError):
        writer.publish(1)
    objects.away = False
    writer.publish(2)
    expected = [path(0), path(2)] if written else [path(2)]
    assert writer.paths == Server(objects, tmp_path, writes=False).paths == expected


def test_what_is_in_doubt_is_found_out_without_another_change(objects: Objects, tmp_path: Path) -> None:
    writer = Server(objects, tmp_path)
    lose(objects, written=True)
    with pytest.raises(DoubtError):
        writer.publish(0)
    objects.away = False
    writer.catalogue.follow()
    assert writer.paths == [path(0)]


def test_of_two_writers_each_takes_over_what_the_other_has_written(objects: Objects, tmp_path: Path) -> None:
    first, second = Server(objects, tmp_path), Server(objects, tmp_path)
    first.publish(0)
    second.publish(1)
    first.publish(2)
    assert len(parts(objects)) == 3
    second.catalogue.follow()
    assert first.paths == second.paths == [path(0), path(1), path(2)]


def test_a_writer_that_finds_another_ones_part_asks_whether_it_may_go_on(objects: Objects, tmp_path: Path) -> None:
    first, second = Server(objects, tmp_path), Server(objects, tmp_path)
    second.publish(0)
    first.fenced = True
    with pytest.raises(FencedError):
        first.publish(1)
    assert second.paths == Server(objects, tmp_path, writes=False).paths == [path(0)]


def test_what_another_has_published_meanwhile_is_not_replaced(objects: Objects, tmp_path: Path) -> None:
    first, second = Server(objects, tmp_path), Server(objects, tmp_path)
    second.publish(0, "bb")

    def check() -> None:
        if first.listing.at(path(0)):
            raise FileExistsError(path(0))

    with pytest.raises(FileExistsError):
        first.catalogue.commit(file(0, "aa"), check=check)
    assert len(parts(objects)) == 1


def test_those_that_wait_are_written_together(objects: Objects, tmp_path: Path) -> None:
    writer = Server(objects, tmp_path)
    waiting, go = threading.Event(), threading.Event()

    def hold() -> None:
        waiting.set()
        assert go.wait(20)

    objects.before_write = hold
    threads = [threading.Thread(target=writer.publish, args=(number,)) for number in range(10)]
    threads[0].start()
    assert waiting.wait(20)
    for thread in threads[1:]:
        thread.start()
    while len(writer.catalogue._waiting) < 9:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert writer.paths == [path(number) for number in range(10)]
    assert len(parts(objects)) == 2


def test_those_that_wait_for_a_store_that_is_silent_are_told_with_the_first(objects: Objects, tmp_path: Path) -> None:
    """Each would wait as long again."""
    writer = Server(objects, tmp_path)
    waiting, go, writes = threading.Event(), threading.Event(), list[int]()
    errors: list[Exception] = []

    def silent() -> None:
        writes.append(1)
        waiting.set()
        assert go.wait(20)
        raise StoreError("it is not stored", "timed out")

    def publish(number: int) -> None:
        try:
            writer.publish(number)
        except (StoreError, DoubtError) as error:
            errors.append(error)

    objects.before_write = silent
    threads = [threading.Thread(target=publish, args=(number,)) for number in range(5)]
    threads[0].start()
    assert waiting.wait(20)
    for thread in threads[1:]:
        thread.start()
    while len(writer.catalogue._waiting) < 4:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert (len(errors), writes) == (5, [1])
    objects.before_write = lambda: None
    writer.publish(7)
    assert writer.paths == [path(7)]


def test_a_catalogue_that_is_gone_changes_nothing(objects: Objects, tmp_path: Path) -> None:
    server = Server(objects, tmp_path)
    server.publish(0)
    objects.objects.clear()
    with pytest.raises(StoreError, match="not there any more"):
        server.catalogue.follow()
    assert server.paths == [path(0)]


def test_a_reader_writes_nothing(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(FencedError, match="only reads"):
        Server(objects, tmp_path, writes=False).publish(0)
    assert not objects.objects


def test_a_start_that_is_overtaken_by_a_merge_begins_again(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Server(objects, tmp_path)
    for number in range(3):
        writer.publish(number)
    real = objects.names
    asked: list[str] = []

    def names(directory: str) -> dict[str, Found]:
        found = real(directory)
        if not asked:
            asked.append(directory)
            for _ in range(2):
                writer.publish(len(writer.paths))
                writer.catalogue.merge(at=1)
        return found

    monkeypatch.setattr(objects, "names", names)
    assert Server(objects, tmp_path, writes=False).paths == writer.paths
    assert catalogue.MERGE_AT > 1
