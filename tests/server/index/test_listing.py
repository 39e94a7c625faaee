from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

from server.index.listing import Change, Listing
from server.volume.content import Stamp

if TYPE_CHECKING:
    import pytest

STAMP = Stamp(1, 1)


def projects(listing: Listing) -> list[str]:
    return listing.project_lines("test", str, "\n").split()


def test_files_are_found_by_project_by_path_and_by_name() -> None:
    listing = Listing()
    assert listing.add("", "My.Pkg-1.0.tar.gz", STAMP, "sha256=0") == Change(frozenset({"my-pkg"}), names=True)
    assert listing.add("sub", "my_pkg-2.0.tar.gz", STAMP) == Change(frozenset({"my-pkg"}), names=False)
    assert projects(listing) == ["my-pkg"]
    assert [entry.path for entry in listing.of_project("MY_pkg")] == ["My.Pkg-1.0.tar.gz", "sub/my_pkg-2.0.tar.gz"]
    assert listing.twin("My.Pkg-2.tar.gz") == "my_pkg-2.0.tar.gz"
    assert listing.twin("my_pkg-3.0.tar.gz") is None
    entry = listing.at("My.Pkg-1.0.tar.gz")
    assert entry
    assert entry.digest == "sha256=0"
    assert listing.at("sub/My.Pkg-1.0.tar.gz") is None
    assert listing.totals().files == len(list(listing)) == 2


def test_what_is_no_package_is_not_listed() -> None:
    listing = Listing()
    assert listing.add("", "README", STAMP) == Change(frozenset(), names=False)
    assert listing.totals().files == 0


def test_a_walk_knows_nothing_of_what_was_published_meanwhile() -> None:
    """Its stamp may be that of an earlier file of the name, or of one that was not whole yet."""
    listing = Listing()
    listing.add("", "a-1.0.zip", STAMP, "sha256=0")
    before = listing.moment()
    listing.remove("a-1.0.zip")
    listing.add("", "a-1.0.zip", Stamp(2, 2), "sha256=1")
    assert listing.replace("", {"a-1.0.zip"}, {"a-1.0.zip": STAMP}, before).projects == frozenset()
    entry = listing.at("a-1.0.zip")
    assert entry
    assert (entry.stamp, entry.digest) == (Stamp(2, 2), "sha256=1")


def test_removing_the_last_file_removes_the_project() -> None:
    listing = Listing()
    listing.add("", "a-1.0.tar.gz", STAMP)
    listing.add("sub", "a-2.0.tar.gz", STAMP)
    assert listing.remove("a-1.0.tar.gz") == Change(frozenset({"a"}), names=False)
    assert listing.remove("sub/a-2.0.tar.gz") == Change(frozenset({"a"}), names=True)
    assert listing.remove("sub/a-2.0.tar.gz") == Change(frozenset(), names=False)
    assert projects(listing) == listing.directories() == []


def test_a_walk_adds_removes_and_replaces() -> None:
    listing = Listing()
    for name in ("a-1.0.tar.gz", "b-1.0.tar.gz", "c-1.0.tar.gz"):
        listing.add("", name, STAMP, "sha256=0")
    now = listing.moment()
    found = {"a-1.0.tar.gz": STAMP, "b-1.0.tar.gz": Stamp(2, 2), "d-1.0.tar.gz": STAMP}
    assert listing.replace("", set(found), found, now) == Change(frozenset("bcd"), names=True)
    assert [listing.at(name).digest for name in ("a-1.0.tar.gz", "b-1.0.tar.gz")] == ["sha256=0", None]  # type: ignore[union-attr]
    assert listing.replace("", set(found), found, now) == Change(frozenset(), names=False)


def test_a_walk_does_not_undo_what_happened_meanwhile() -> None:
    listing = Listing()
    listing.add("", "removed-1.0.tar.gz", STAMP)
    before = listing.moment()
    listing.add("", "published-1.0.tar.gz", STAMP, "sha256=0")
    listing.remove("removed-1.0.tar.gz")
    old = {"removed-1.0.tar.gz": STAMP}
    assert listing.replace("", set(old), old, before) == Change(frozenset(), names=False)
    assert projects(listing) == ["published"]
    later = listing.moment()
    assert listing.replace("", set(), {}, later) == Change(frozenset({"published"}), names=True)


def test_totals_and_pages_follow_every_change() -> None:
    listing = Listing()

    def paths() -> list[str]:
        return listing.file_lines("test", lambda entry: f"{entry.path}#{entry.digest}", "\n").splitlines()

    listing.add("", "a-1.0.zip", Stamp(5, 10))
    listing.add("", "a-1.0.zip", Stamp(7, 20), "sha256=1")
    listing.add("sub", "a-1.0.zip", Stamp(1, 15))
    assert listing.totals() == (2, 1, 8, 20)
    assert paths() == ["a-1.0.zip#sha256=1", "sub/a-1.0.zip#None"]
    entry = listing.at("sub/a-1.0.zip")
    assert entry
    listing.know(entry, Stamp(2, 30), "sha256=2")
    assert listing.totals() == (2, 1, 9, 30)
    assert paths() == ["a-1.0.zip#sha256=1", "sub/a-1.0.zip#sha256=2"]
    listing.replace("", {"a-1.0.zip"}, {"a-1.0.zip": Stamp(100, 25)}, listing.moment())
    assert listing.totals() == (2, 1, 102, 30)
    assert paths() == ["a-1.0.zip#None", "sub/a-1.0.zip#sha256=2"]
    listing.remove("a-1.0.zip")
    assert listing.twin("a-1.0.zip"), "there is another one of this name"
    listing.remove("sub/a-1.0.zip")
    listing.know(entry, Stamp(9, 9), "sha256=2")
    assert not listing.twin("a-1.0.zip")
    assert listing.totals() == (0, 0, 0, 30)
    assert paths() == []


def test_totals_are_counted_as_files_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsearched(dict[str, Any]):
        def values(self) -> Any:  # noqa: ANN401 - of no call
            raise AssertionError("whoever asks waits as long as there are directories")

        __iter__ = items = values

    listing = Listing()
    for number in range(3):
        listing.add(f"directory-{number}", f"a-{number}.zip", STAMP)
    listing.add("directory-0", "a-0.zip", STAMP)
    monkeypatch.setattr(listing, "_directories", Unsearched(listing._directories))
    assert listing.totals().files == 3
    listing.remove("directory-1/a-1.zip")
    listing.remove("directory-1/a-1.zip")
    assert listing.totals().files == 2


def test_memory_is_linear_and_small() -> None:
    def bytes_for(number: int) -> int:
        tracemalloc.start()
        listing = Listing()
        for index in range(number):
            listing.add(
                "", f"project_{index % (number // 20)}-1.{index}.0-py3-none-any.whl", STAMP, f"sha256={index:064}"
            )
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return used

    few, many = bytes_for(2_000), bytes_for(16_000)
    assert many < 16_000 * 1_000, "more than 1000 bytes for a file: 100 MB for 100,000"
    assert many < few * 8 * 1.5
