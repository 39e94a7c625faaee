from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.index.owners import DIRECTORY, LARGEST, NOBODY, Owners
from server.volume import durable
from server.volume.own_files import OwnFiles
from server.volume.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS = pytest.mark.parametrize("in_place", [False, True], ids=["link", "direct"])


def owners(root: Path, *, in_place: bool = False, problems: Problems | None = None) -> Owners:
    return Owners(OwnFiles(root, DIRECTORY, in_place=in_place), problems)


def record(root: Path, name: str = "demo") -> Path:
    return root / ".pypiserver" / DIRECTORY / name


def left(root: Path) -> list[Path]:
    return list((root / ".pypiserver/unfinished").glob("*"))


@WAYS
def test_a_name_is_taken_once_and_for_good(tmp_path: Path, in_place: bool) -> None:
    first, second = owners(tmp_path, in_place=in_place), owners(tmp_path, in_place=in_place)
    assert first.of("demo") is None
    assert first.take("demo", "alice")
    for each in (first, second):
        assert not each.take("demo", "bob")
        assert not each.take("demo", "alice")
        assert not each.take("demo", NOBODY)
        assert each.of("demo") == "alice"
    assert json.loads(record(tmp_path).read_bytes()) == {"owner": "alice"}
    assert second.take("other", NOBODY)
    assert first.of("other") == NOBODY
    assert not left(tmp_path)


@WAYS
def test_of_many_at_once_one_takes_it(tmp_path: Path, in_place: bool) -> None:
    pods = [owners(tmp_path, in_place=in_place) for _ in range(2)]
    with ThreadPoolExecutor(16) as threads:
        for name in (f"demo-{number}" for number in range(20)):
            taken = [*threads.map(lambda at, name=name: (pods[at % 2].take(name, f"user-{at}"), at), range(16))]
            (winner,) = (at for is_taken, at in taken if is_taken)
            assert {pod.of(name) for pod in pods} == {f"user-{winner}"}
    assert not left(tmp_path)


@WAYS
def test_it_lasts_before_it_is_said(tmp_path: Path, in_place: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert owners(tmp_path, in_place=in_place).take("demo", "alice")
    if in_place:
        assert synced == [record(tmp_path)]
    else:
        assert synced[0].parent == tmp_path / ".pypiserver/unfinished"
        assert synced[1:] == [record(tmp_path).parent, tmp_path / ".pypiserver", tmp_path]
    synced.clear()
    # Whoever has made it may not have come as far.
    assert not owners(tmp_path, in_place=in_place).take("demo", "alice")
    assert in_place or synced[1:] == [record(tmp_path).parent, tmp_path / ".pypiserver", tmp_path]


@WAYS
def test_what_the_volume_does_not_take_is_not_taken(
    tmp_path: Path, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = owners(tmp_path, in_place=in_place)
    assert found.take("other", "bob")

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync", full)
        with pytest.raises(OSError, match="No space"):
            found.take("demo", "alice")
    assert found.of("demo") is None
    assert found.known("demo") is None
    assert not left(tmp_path)
    assert found.take("demo", "bob")


@WAYS
def test_a_record_outlives_an_error_of_whoever_would_make_another(
    tmp_path: Path, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert owners(tmp_path, in_place=in_place).take("demo", "alice")
    real = os.open

    def fails(path: str | Path, flags: int, mode: int = 0o777) -> int:
        # As a mount that could not look whether there is one.
        if flags & os.O_CREAT:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(OSError, match="Input/output"):
        owners(tmp_path, in_place=in_place).take("demo", "bob")
    assert owners(tmp_path).of("demo") == "alice"


def test_a_link_whose_answer_was_lost_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))

    monkeypatch.setattr(os, "link", link)
    assert owners(tmp_path).take("demo", "alice")


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def _replaced(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "spoil",
    [
        _cut_off,
        _directory,
        lambda path: _replaced(path, b""),
        lambda path: _replaced(path, b"alice\n"),
        lambda path: _replaced(path, b'{"owner": null}'),
        lambda path: _replaced(path, b'["alice"]'),
        lambda path: _replaced(path, b"\xff"),
        lambda path: _replaced(path, b"[" * LARGEST),
        lambda path: _replaced(path, b'{"owner": "alice"}' + b" " * LARGEST),
    ],
)
def test_what_cannot_be_read_is_nobodys_to_take(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    problems = Problems()
    assert owners(tmp_path).take("demo", "alice")
    spoil(record(tmp_path))
    found = owners(tmp_path, problems=problems)
    with pytest.raises(OSError) as raised:  # noqa: PT011 - of several kinds
        found.of("demo")
    assert not isinstance(raised.value, FileNotFoundError)
    assert not found.take("demo", "bob")
    found.rescan()
    assert found.known("demo") is None
    assert problems.paths() == (f".pypiserver/{DIRECTORY}/demo",)


@pytest.mark.parametrize("name", ["", "../demo", "a/b", "Demo", "demo-", "a\0b", "."])
def test_what_is_no_name_is_looked_for_nowhere(tmp_path: Path, name: str) -> None:
    found = owners(tmp_path)
    assert found.of(name) is None
    with pytest.raises(OSError, match="is no name"):
        found.take(name, "alice")
    assert not list(tmp_path.iterdir())


def test_a_pod_that_only_reads_takes_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only"):
        Owners(OwnFiles(tmp_path, DIRECTORY, in_place=False, writes=False)).take("demo", "alice")


def test_what_other_pods_took_is_known_after_a_look(tmp_path: Path) -> None:
    first, second = owners(tmp_path), owners(tmp_path)
    second.rescan()
    assert first.take("demo", "alice")
    assert first.known("demo") == "alice"
    second.look()
    assert second.known("demo") == "alice"
    record(tmp_path).unlink()
    second.look()
    assert second.known("demo") is None


def test_what_somebody_has_changed_is_known_after_a_rescan(tmp_path: Path) -> None:
    taken, read = owners(tmp_path), owners(tmp_path)
    assert taken.take("demo", "alice")
    assert taken.take("gone", "alice")
    read.rescan()
    record(tmp_path).write_text(json.dumps({"owner": "robert"}))
    record(tmp_path, "gone").write_text("nobody's")
    for each in (taken, read):
        each.rescan()
        assert each.known("demo") == "robert"
        assert each.known("gone") is None


def test_a_name_that_is_taken_while_others_are_read_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = owners(tmp_path)
    assert owners(tmp_path).take("other", "bob")
    real = OwnFiles.names

    def names(files: OwnFiles) -> frozenset[str]:
        listed = real(files)
        # Nobody who publishes waits.
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(found.take, "demo", "alice").result()
        return listed

    with monkeypatch.context() as patched:
        patched.setattr(OwnFiles, "names", names)
        found.rescan()
    for _ in range(2):
        assert {name: found.known(name) for name in ("demo", "other")} == {"demo": "alice", "other": "bob"}
        found.rescan()
    record(tmp_path).unlink()
    found.rescan()
    assert found.known("demo") is None
