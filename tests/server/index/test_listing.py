from __future__ import annotations

import tracemalloc

from server.index.listing import Change, Listing, Stamp

STAMP = Stamp(1, 1)


def test_files_are_found_by_project_by_path_and_by_name() -> None:
    listing = Listing()
    assert listing.add("", "My.Pkg-1.0.tar.gz", STAMP, "sha256=0") == Change(frozenset({"my-pkg"}), names=True)
    assert listing.add("sub", "my_pkg-2.0.tar.gz", STAMP) == Change(frozenset({"my-pkg"}), names=False)
    assert listing.projects() == ["my-pkg"]
    assert [entry.path for entry in listing.of_project("MY_pkg")] == ["My.Pkg-1.0.tar.gz", "sub/my_pkg-2.0.tar.gz"]
    assert "my_pkg-2.0.tar.gz" in listing
    assert "my_pkg-3.0.tar.gz" not in listing
    entry = listing.at("My.Pkg-1.0.tar.gz")
    assert entry
    assert entry.digest == "sha256=0"
    assert listing.at("sub/My.Pkg-1.0.tar.gz") is None
    assert len(listing) == len(list(listing)) == 2


def test_what_is_no_package_is_not_listed() -> None:
    listing = Listing()
    assert listing.add("", "README", STAMP) == Change(frozenset(), names=False)
    assert len(listing) == 0


def test_removing_the_last_file_removes_the_project() -> None:
    listing = Listing()
    listing.add("", "a-1.0.tar.gz", STAMP)
    listing.add("sub", "a-2.0.tar.gz", STAMP)
    assert listing.remove("a-1.0.tar.gz") == Change(frozenset({"a"}), names=False)
    assert listing.remove("sub/a-2.0.tar.gz") == Change(frozenset({"a"}), names=True)
    assert listing.remove("sub/a-2.0.tar.gz") == Change(frozenset(), names=False)
    assert listing.projects() == listing.directories() == []


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
    assert listing.projects() == ["published"]
    later = listing.moment()
    assert listing.replace("", set(), {}, later) == Change(frozenset({"published"}), names=True)


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
