from __future__ import annotations

import os
import time
from pathlib import Path  # noqa: TC003

import pytest

from server.fetching.answers import AwayError
from server.fetching.cache import Cache, NoRoomError
from server.fetching.counters import Counters

BLOCK = 4096
PLACE = 3 * BLOCK
"""What a file of one block takes, with its directories."""


def cache_in(directory: Path, limit: int, counters: Counters | None = None, beside: int | None = None) -> Cache:
    others = None if beside is None else lambda: beside
    return Cache(
        directory / "files", directory / "unfinished", limit, counters or Counters("pypiserver_test"), beside=others
    )


def kept(cache: Cache, name: str, blocks: int = 1) -> Path:
    final = cache.files / "demo" / name / f"{name}.whl"
    with cache.room(blocks * BLOCK), cache.arriving() as arrives:
        arrives(blocks * BLOCK)
        unfinished = cache.new()
        unfinished.write_bytes(b"x" * blocks * BLOCK)
        cache.keep(unfinished, final, 1e9)
    return final


def used(path: Path, seconds_ago: float) -> None:
    os.utime(path, (time.time() - seconds_ago, path.stat().st_mtime))


def test_a_kept_file_has_the_time_it_was_given(tmp_path: Path) -> None:
    path = kept(cache_in(tmp_path, 10 * BLOCK), "a")
    assert path.read_bytes() == b"x" * BLOCK
    assert path.stat().st_mtime == 1e9


def test_the_least_used_goes_first(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 3 * PLACE)
    a, b, c = (kept(cache, name) for name in "abc")
    used(a, 50)
    used(b, 500)
    used(c, 5)
    d = kept(cache, "d")
    assert [path.exists() for path in (a, b, c, d)] == [True, False, True, True]
    assert not b.parent.exists()
    assert (cache.count, cache.size) == (3, 3 * PLACE)


def test_reading_counts_as_use(tmp_path: Path) -> None:
    """As the file system notes it, also a second time."""
    cache = cache_in(tmp_path, 2 * PLACE)
    a, b = kept(cache, "a"), kept(cache, "b")
    for path in (a, b):
        used(path, 5000)
    before = a.stat().st_atime
    a.read_bytes()
    if a.stat().st_atime == before:
        pytest.skip("this file system notes no use (noatime)")
    cache.rearm()
    first = a.stat().st_atime_ns
    time.sleep(0.01)  # the clock of the file system moves by ticks
    a.read_bytes()
    assert a.stat().st_atime_ns > first
    kept(cache, "c")
    assert (a.exists(), b.exists()) == (True, False)


def test_a_file_that_is_larger_than_all_is_refused_and_costs_nobody_his_place(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 3 * PLACE)
    path = kept(cache, "a")
    with pytest.raises(NoRoomError, match="40960 bytes"), cache.room(8 * BLOCK):
        pass
    assert path.exists()


def test_room_is_kept_for_what_is_on_its_way(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 3 * PLACE)
    with cache.room(4 * BLOCK), cache.arriving() as arrives:
        # For now: whoever asks again later may have it.
        with pytest.raises(AwayError, match="no room for more files at once"), cache.room(2 * BLOCK):
            pass
        arrives(4 * BLOCK)
        a, b = kept(cache, "a"), kept(cache, "b")
        assert [a.exists(), b.exists()] == [False, True]


def test_what_was_promised_and_never_comes_costs_nobody_his_place(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 3 * PLACE)
    a, b = kept(cache, "a"), kept(cache, "b")
    with cache.room(7 * BLOCK), cache.arriving() as arrives:
        arrives(1)
        assert a.exists()
        assert b.exists()
    kept(cache, "c")
    assert a.exists()


def test_a_new_process_knows_what_is_there(tmp_path: Path) -> None:
    before = cache_in(tmp_path, 5 * BLOCK)
    path = kept(before, "a", blocks=2)
    before.new().write_bytes(b"half")
    cache = cache_in(tmp_path, 5 * BLOCK)
    assert (cache.count, cache.size) == (1, 4 * BLOCK)
    assert list((tmp_path / "unfinished").iterdir()) == []
    used(path, 1)
    kept(cache, "b", blocks=2)
    assert not path.exists()


def test_what_is_not_wanted_any_more_is_dropped(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 9 * PLACE)
    a, b = kept(cache, "a"), kept(cache, "b")
    cache.drop(lambda path: path.parts[-3:] != ("demo", "a", "a.whl"))
    assert (a.exists(), b.exists()) == (False, True)


def test_evictions_are_counted(tmp_path: Path) -> None:
    counters = Counters("pypiserver_test")
    cache = cache_in(tmp_path, PLACE, counters)
    used(kept(cache, "a"), 5000)
    kept(cache, "b")
    kept(cache, "c")
    text = counters.text({})
    assert "pypiserver_test_evictions_total 2\n" in text
    assert "pypiserver_test_evicted_young_total 1\n" in text


def put(directory: Path, name: str, blocks: int = 1) -> Path:
    """What somebody else does: a whole file gets its name."""
    path = directory / name
    (directory / f".{name}").write_bytes(b"y" * blocks * BLOCK)
    return (directory / f".{name}").rename(path)


def test_what_others_put_there_counts_and_has_to_go_like_the_rest(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 3 * PLACE, beside=0)
    a = kept(cache, "a")
    used(a, 500)
    others = [put(cache.files, name) for name in ("b.whl", "c.whl")]
    (cache.files / ".pypiserver").mkdir()
    (cache.files / ".pypiserver/d").write_bytes(b"not a package")
    cache.look()
    assert (cache.count, cache.size) == (3, 3 * PLACE)
    used(others[1], 5000)
    put(cache.files, "e.whl")
    cache.look()
    assert [path.exists() for path in (a, *others)] == [True, True, False]
    assert (cache.files / ".pypiserver/d").exists()


def test_what_others_take_away_leaves_its_place(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 2 * PLACE, beside=0)
    theirs = put(cache.files, "a.whl")
    cache.look()
    theirs.unlink()
    b, c = kept(cache, "b"), kept(cache, "c")
    cache.look()
    assert (b.exists(), c.exists(), cache.size) == (True, True, 2 * PLACE)


def test_files_go_for_what_others_keep_beside_them(tmp_path: Path) -> None:
    taken = 0
    cache = Cache(
        tmp_path / "files", tmp_path / "unfinished", 4 * PLACE, Counters("pypiserver_test"), beside=lambda: taken
    )
    a, b, c = (kept(cache, name) for name in "abc")
    for path, seconds in ((a, 5), (b, 5000), (c, 50)):
        used(path, seconds)
    cache.look()
    assert cache.count == 3
    taken = 3 * PLACE
    cache.look()
    assert [path.exists() for path in (a, b, c)] == [True, False, False]


def test_the_order_is_that_of_the_last_use_also_of_what_was_used_since_it_was_looked_up(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 3 * PLACE)
    a, b, c = (kept(cache, name) for name in "abc")
    for path, seconds in ((a, 5000), (b, 500), (c, 50)):
        used(path, seconds)
    d = kept(cache, "d")
    assert [path.exists() for path in (a, b, c, d)] == [False, True, True, True]
    used(b, 1)
    e = kept(cache, "e")
    assert [path.exists() for path in (b, c, d, e)] == [True, False, True, True]


def test_a_discarded_file_is_gone_whoever_put_it_there(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 9 * PLACE, beside=0)
    a, theirs = kept(cache, "a"), put(cache.files, "b.whl")
    cache.discard(a)
    cache.discard(theirs)
    cache.discard(cache.files / "never.whl")
    assert not a.exists()
    assert not theirs.exists()
    assert (cache.count, cache.size) == (0, 0)


def test_what_others_keep_beside_the_files_is_no_room_for_new_ones(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 4 * PLACE, beside=2 * PLACE)
    cache.look()
    with pytest.raises(AwayError, match="no room for more files at once"), cache.room(3 * PLACE - 2 * BLOCK):
        pass
    with cache.room(BLOCK):
        pass
