from __future__ import annotations

import time
from typing import Any

import pytest

from server.store.parts import _MOST, Parts
from server.store.problems import StoreError

OLD = "2020-01-01T00:00:00Z"


class Store:
    """What rclone says of a store, in whose bucket are uploads; it tells of each command."""

    def __init__(self, path: str, *keys: str, begun: str = OLD) -> None:
        self.path = path
        self.keys = list(keys)
        self.refusal = ""
        self.stuck: set[str] = set()
        """The keys of which it ends none, and says nothing."""
        self.wrong: set[str] = set()
        """Those about which it answers by an error."""
        self.ended: list[tuple[str, str]] = []
        self._begun = begun

    def command(self, command: str, what: str, below: str = "", **options: str) -> Any:  # noqa: ANN401
        if self.refusal:
            raise StoreError(what, self.refusal)
        bucket, _, folder = self.path.removeprefix("store:").partition("/")
        if command == "cleanup":
            if f"{folder}{below}" in self.wrong:
                raise StoreError(what, "no answer")
            self.ended.append((below, options["max_age"]))
            self.keys = [key for key in self.keys if not key.startswith(f"{folder}{below}") or key in self.stuck]
            return None
        return {bucket: [{"Key": key, "Initiated": self._begun} for key in self.keys]}


class Uploads:
    def __init__(self, *busy: str) -> None:
        self._busy = busy

    def is_busy(self, name: str) -> bool:
        return name in self._busy


def end(store: Store, *busy: str, seconds: float = 86400) -> Parts:
    parts = Parts(store, Uploads(*busy), seconds)  # type: ignore[arg-type]
    parts.end()
    return parts


def test_those_of_the_folder_are_ended_one_by_one() -> None:
    store = Store("store:bucket/team/pypi/", "team/pypi/a-1.zip", "team/pypi-old/a-1.zip", "team/pypi")
    end(store)
    assert store.ended == [("a-1.zip", "86400s")]


def test_where_a_registry_has_a_bucket_all_of_it_is_its_own() -> None:
    store = Store("store:bucket/", "a-1.zip", "b/c-1.zip")
    end(store)
    assert [name for name, _ in store.ended] == ["a-1.zip", "b/c-1.zip"]


@pytest.mark.parametrize("key", ["pypi/", "pypi/../pypi-old/a", "pypi/..", "pypi/./a", "pypi//a", "pypi/a/"])
def test_a_key_that_rclone_would_take_for_another_place_is_let_be(key: str) -> None:
    store = Store("store:bucket/pypi/", key)
    end(store)
    assert store.ended == []


def test_what_is_on_its_way_or_young_is_let_be() -> None:
    store = Store("store:bucket/pypi/", "pypi/a-1.zip", "pypi/b-1.zip")
    end(store, "a-1.zip")
    assert [name for name, _ in store.ended] == ["b-1.zip"]
    store = Store("store:bucket/pypi/", "pypi/a-1.zip", begun=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    end(store)
    assert store.ended == []


def test_nothing_is_asked_for_if_nobody_wants_it() -> None:
    store = Store("store:bucket/pypi/", "pypi/a-1.zip")
    store.refusal = "must not be asked"
    end(store, seconds=0)


def test_many_are_ended_in_turn() -> None:
    store = Store("store:bucket/pypi/", *(f"pypi/{number:04}" for number in range(_MOST + 1)))
    parts = end(store)
    assert len(store.keys) == 1
    parts.end()
    assert store.keys == []


@pytest.mark.parametrize("stuck", [1, _MOST, 3 * _MOST + 1])
def test_those_that_cannot_be_ended_keep_no_others_waiting(stuck: int, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"pypi/0/{number:04}" for number in range(stuck)]
    store = Store("store:bucket/pypi/", *names, "pypi/9")
    store.stuck = {*names}
    parts = Parts(store, Uploads(), 86400)  # type: ignore[arg-type]
    for _ in range(stuck // _MOST + 1):
        parts.end()
    assert store.keys == names
    # None is given up.
    store.stuck.clear()
    for _ in range(stuck // _MOST + 1):
        parts.end()
    assert store.keys == []
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_one_that_ends_in_an_error_keeps_no_others_waiting() -> None:
    store = Store("store:bucket/pypi/", "pypi/a", "pypi/b", "pypi/c")
    store.wrong = {"pypi/b"}
    parts = Parts(store, Uploads(), 86400)  # type: ignore[arg-type]
    for _ in range(2):
        parts.end()
    assert store.keys == ["pypi/b"]
    store.wrong = set()
    parts.end()
    assert store.keys == []


def test_a_store_that_knows_no_such_uploads_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("store:bucket/pypi/")
    store.refusal = "api error NotImplemented: not implemented"
    parts = end(store)
    parts.end()
    assert [record.message for record in caplog.records] == [
        "the parts of unfinished uploads cannot be removed: api error NotImplemented: not implemented"
    ]


def test_a_store_that_has_none_may_say_so_by_an_error(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("store:bucket/pypi/")
    store.refusal = "StatusCode: 404, api error NoSuchUpload: NoSuchUpload"
    end(store)
    assert not caplog.records
