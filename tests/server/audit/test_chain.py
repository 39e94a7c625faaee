"""The trail on the volume: what the server appends is whole, and what others do to it shows."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from server.audit import chain, verify
from server.audit.chain import Chain
from server.audit.verify import problems

if TYPE_CHECKING:
    from pathlib import Path


def filled(directory: Path, number: int = 3) -> Path:
    """Write as one process does, and return its file."""
    before = set(directory.glob("*.jsonl"))
    kept = Chain(directory)
    for each in range(number):
        kept.add({"audit": "publish", "number": each})
    (path,) = set(directory.glob("*.jsonl")) - before
    return path


def test_what_processes_write_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / ".pypiserver/audit"
    for _ in range(3):
        filled(directory)
    assert problems(directory) == []
    assert verify.main([str(directory)]) == 0
    assert capsys.readouterr().out == "whole: 3 files, 12 lines\n"


def test_many_threads_write_one_chain(tmp_path: Path) -> None:
    kept = Chain(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda number: kept.add({"number": number}), range(200)))
    assert problems(tmp_path) == []
    (path,) = tmp_path.iterdir()
    lines = path.read_bytes().splitlines()[1:]
    assert {json.loads(line)["number"] for line in lines} == set(range(200))
    assert {verify.digest(line) for line in lines} == digests


@pytest.mark.parametrize("line", range(4))
def test_a_line_that_was_changed_or_taken_out_shows(tmp_path: Path, line: int) -> None:
    path = filled(tmp_path)
    filled(tmp_path)
    whole = path.read_bytes().splitlines(keepends=True)
    forgeries = {
        "changed": [*whole[:line], whole[line].replace(b'"audit":"', b'"audit":"no '), *whole[line + 1 :]],
        "taken out": [*whole[:line], *whole[line + 1 :]],
        "twice": [*whole[: line + 1], whole[line], *whole[line + 1 :]],
        "no JSON": [*whole[:line], b"[]\n", *whole[line + 1 :]],
    }
    for what, lines in forgeries.items():
        path.write_bytes(b"".join(lines))
        assert problems(tmp_path), what
    path.write_bytes(b"".join(whole))
    assert problems(tmp_path) == []


def test_a_file_that_is_gone_or_cut_short_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(tmp_path)
    later = filled(tmp_path)
    path.write_bytes(path.read_bytes().rpartition(b"\n{")[0] + b"\n")
    (problem,) = problems(tmp_path)
    assert path.name in problem
    assert later.name in problem
    path.unlink()
    assert verify.main([str(tmp_path)]) == 1
    assert f"{path.name}: it is not there" in capsys.readouterr().out
    assert verify.main([str(tmp_path / "nowhere")]) == verify.main([]) == 2


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_trail(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"audit":"publish","num')
    assert problems(tmp_path) == []
    filled(tmp_path)
    assert problems(tmp_path) == []


def test_each_file_names_only_what_none_has_named(tmp_path: Path) -> None:
    paths = [filled(tmp_path) for _ in range(4)]
    named = [set(verify.named_in(path)) for path in paths]
    assert named == [set(), *({path.name} for path in paths[:-1])]


def test_a_file_that_is_large_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "LARGEST", 1000)
    kept = Chain(tmp_path)
    for number in range(50):
        kept.add({"number": number})
    assert len(list(tmp_path.iterdir())) > 3
    assert problems(tmp_path) == []


def test_a_line_that_cannot_be_kept_is_an_error_and_ends_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Chain(tmp_path)
    kept.add({"number": 0})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        kept.add({"number": 1})
    monkeypatch.undo()
    kept.add({"number": 2})
    assert len(list(tmp_path.iterdir())) == 2
    assert problems(tmp_path) == []


@pytest.mark.parametrize("written", [0, 20, None])
def test_a_volume_that_is_full_when_a_file_is_begun_breaks_no_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | None
) -> None:
    """Of the first line there may be nothing, some of it, or all, which may not last."""
    write = os.write

    def full(file: int, data: bytes) -> int:
        if written:
            write(file, data[:written])
        raise OSError(errno.ENOSPC, "No space left on device")

    filled(tmp_path)
    kept = Chain(tmp_path)
    monkeypatch.setattr(os, *(("write", full) if written is not None else ("fsync", lambda _: full(0, b""))))
    for number in range(5):
        with pytest.raises(OSError, match="No space"):
            kept.add({"number": number})
    monkeypatch.undo()
    kept.add({"number": 5})
    assert problems(tmp_path) == []
    if written is not None:
        assert len(list(tmp_path.iterdir())) == 2, "nothing is left of what could not be begun"


@pytest.mark.parametrize(
    "content", [b"", b"a", b"\n", b"a\n", b"a\nb", b"a\nb\n", b"a\n\n", b"a\n" + 5000 * b"b" + b"\n" + 3000 * b"c"]
)
def test_the_end_of_a_file_is_that_of_its_last_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(verify, "BLOCK", 4)
    path = tmp_path / "file"
    path.write_bytes(content)
    whole = content.rpartition(b"\n")[0]
    assert verify.end_of(path) == (verify.digest(whole.rpartition(b"\n")[2]) if whole else "")


def test_it_is_found_without_reading_all(tmp_path: Path) -> None:
    """At the first change after a start, of all files there are, which nothing ever takes away."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.seek(2**26)
        file.write(b"\nlast\n")
    tracemalloc.start()
    assert verify.end_of(path) == verify.digest(b"last")
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()
