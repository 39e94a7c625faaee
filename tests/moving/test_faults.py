"""What happens in the middle."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from copying import (
    PUBLISHER,
    File,
    Index,
    copy,
    counted,
    ended,
    launch,
    partials,
    wheel,
)
from moving.test_registries import listed
from programs import wait_for

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from gateway_programs import Registry

SIZE = 3_000_000


class Late(Index):
    """A registry that has a file already, and lists it when it has been asked three times after refusing it."""

    looks: int | None = None

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "POST":
            handler.rfile.read(int(handler.headers["Content-Length"]))
            self.looks = 0
            self.send(handler, 409, b"it is there")
        elif handler.path.startswith("/simple/acme") and (self.looks is None or self.looks < 3):
            self.looks = None if self.looks is None else self.looks + 1
            self.send(handler, 404, b"")
        else:
            super().answer(handler)


def test_a_source_that_cuts_off_is_asked_for_the_rest(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0", SIZE)
    with Index({name: File(content, cuts=[1_000_000, 0, 500_000])}) as source:
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        ranges = source.ranges(name)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (target.server.packages / name).read_bytes() == content
    assert ranges[0] == ""
    starts = [int(each.removeprefix("bytes=").removesuffix("-")) for each in ranges[1:]]
    assert starts == sorted(starts)
    assert 1_000_000 - 2**18 <= starts[0] <= 1_000_000


def test_a_source_that_always_cuts_off_fails_and_the_next_run_goes_on(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0", SIZE)
    file = File(content, cuts=[1_000_000, 0])
    with Index({name: file}) as source:
        arguments = (f"{source.url}/simple/", target.gateway.url, "--retries", "0")
        failed = copy(tmp_path, *arguments, environment=PUBLISHER)
        assert (failed.status, failed.table) == (1, counted(failed=1)), failed.said
        assert f"failed: {name}: the connection failed" in failed.said
        assert partials(tmp_path) > 0
        file.cuts.clear()
        done = copy(tmp_path, *arguments, environment=PUBLISHER)
        assert (done.status, done.table) == (0, counted(copied=1)), done.said
        assert source.ranges(name)[-1].startswith("bytes=")
    assert partials(tmp_path) == 0
    assert (target.server.packages / name).read_bytes() == content


def test_a_wrong_hash_reaches_no_target(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    other, right = wheel(tmp_path / "made", "acme", "2.0")
    with Index({name: File(content, sha256="0" * 64), other: File(right)}) as source:
        for to, environment in ((target.gateway.url, PUBLISHER), (tmp_path / "carry", {})):
            done = copy(tmp_path, f"{source.url}/simple/", to, environment=environment)
            assert (done.status, done.table) == (1, counted(copied=1, failed=1)), done.said
            assert f"failed: {name}: what came has not the digest that the source says" in done.said
    assert set(listed(target, "acme")) == {other}
    assert not (tmp_path / "carry" / name).exists()


def test_what_an_earlier_run_left_of_another_file_is_fetched_anew(tmp_path: Path) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0", SIZE)
    file = File(content, cuts=[1_000_000])
    carried = tmp_path / "carry"
    with Index({name: file}) as source:
        copy(tmp_path, f"{source.url}/simple/", carried, "--retries", "0")
        (left,) = (carried / ".partial").iterdir()
        left.write_bytes(b"\0" * 1000)
        done = copy(tmp_path, f"{source.url}/simple/", carried)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (carried / name).read_bytes() == content


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    with Index({name: File(content)}) as source:
        source.refusals = [(503, {"Retry-After": "0"}), (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"})]
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        assert source.refusals == []
    assert (done.status, done.table) == (0, counted(copied=1)), done.said


def test_a_target_that_is_away_for_a_moment(tmp_path: Path, target: Registry) -> None:
    """The gateway says 503 with Retry-After as long as there is no server."""
    name, content = wheel(tmp_path / "made", "acme", "1.0", 1000)
    gate = threading.Event()
    with Index({name: File(content, gate=gate, gate_at=100)}) as source:
        process = launch(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        wait_for(lambda: source.ranges(name), "the download")
        target.server.kill()
        gate.set()
        target.gateway.logged(method="POST", status=503)
        target.server.start()
        done = ended(process)
    assert (done.status, done.table) == (0, counted(copied=1)), done.said
    assert (target.server.packages / name).read_bytes() == content


@pytest.mark.parametrize(("status", "says"), [(507, "507 Insufficient Storage: the server is full"), (401, "password")])
def test_a_target_that_takes_nothing_is_not_tried_with_everything(status: int, says: str, tmp_path: Path) -> None:
    files = {}
    for version in range(20):
        name, content = wheel(tmp_path / "made", "acme", f"{version}.0")
        files[name] = File(content)
    with Index(files) as source, Index({}) as full:
        posts = _refuse_posts(full, status)
        done = copy(tmp_path, f"{source.url}/simple/", full.url, "--jobs", "2")
    assert (done.status, done.table) == (1, counted(failed=20)), done.said
    assert says in done.said
    assert len(posts) <= 4
    assert "not tried, after another was answered" in done.said


def _refuse_posts(index: Index, status: int) -> list[str]:
    posts: list[str] = []
    handler = index.server.RequestHandlerClass

    def post(self: object) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))  # type: ignore[attr-defined]
        posts.append("")
        index.send(self, status, b"")  # type: ignore[arg-type]

    handler.do_POST = post  # type: ignore[attr-defined]
    return posts


@pytest.mark.parametrize("to", ["registry", "directory"])
def test_killed_and_run_again(to: str, tmp_path: Path, target: Registry) -> None:
    files, gates = {}, []
    for version in range(4):
        name, content = wheel(tmp_path / "made", "acme", f"{version}.0", 600_000)
        gate = threading.Event()
        gates.append(gate)
        files[name] = File(content, gate=gate, gate_at=500_000)
    gates[0].set()
    where = target.gateway.url if to == "registry" else tmp_path / "carry"
    there = target.server.packages if to == "registry" else tmp_path / "carry"
    with Index(files) as source:
        process = launch(tmp_path, f"{source.url}/simple/", where, environment=PUBLISHER)
        wait_for(lambda: _unfinished(tmp_path) == 3, "three unfinished downloads")
        wait_for(lambda: len(list(there.glob("*.whl"))) == 1, "the first file")
        process.kill()
        process.communicate()
        for file in files.values():
            file.gate = None
        source.requests.clear()
        done = copy(tmp_path, f"{source.url}/simple/", where, environment=PUBLISHER)
        ranges = [wanted for name in list(files)[1:] for wanted in source.ranges(name)]
        assert source.ranges(next(iter(files))) == []
    assert (done.status, done.table) == (0, counted(copied=3, there=1)), done.said
    assert len(ranges) == 3
    assert all(each.startswith("bytes=") for each in ranges)
    assert {path.name: path.read_bytes() for path in there.glob("*.whl")} == {
        name: file.content for name, file in files.items()
    }
    assert partials(tmp_path) == 0


def _unfinished(directory: Path) -> int:
    return sum(2**18 <= path.stat().st_size < 600_000 for path in directory.glob("**/*.part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals, tmp_path: Path, target: Registry) -> None:
    (one, first), (two, second) = wheel(tmp_path / "made", "acme", "1.0"), wheel(tmp_path / "made", "acme", "2.0", SIZE)
    file = File(second, gate=threading.Event(), gate_at=1_000_000)
    with Index({one: File(first), two: file}) as source:
        process = launch(tmp_path, f"{source.url}/simple/", target.gateway.url, "--timeout", "5", environment=PUBLISHER)
        wait_for(lambda: partials(tmp_path) >= 2**18, "the unfinished download")
        wait_for(lambda: listed(target, "acme"), "the first file")
        process.send_signal(number)
        assert file.gate
        file.gate.set()
        interrupted = ended(process)
        file.gate = None
        done = copy(tmp_path, f"{source.url}/simple/", target.gateway.url, environment=PUBLISHER)
        assert source.ranges(two)[-1].startswith("bytes=")
    assert (interrupted.status, interrupted.table) == (130, counted(copied=1)), interrupted.said
    assert "Interrupted: the next run goes on from here." in interrupted.said
    assert "Traceback" not in interrupted.said
    assert (done.status, done.table) == (0, counted(copied=1, there=1)), done.said


@pytest.mark.parametrize("to", ["registry", "directory"])
def test_two_runs_at_once(to: str, tmp_path: Path, target: Registry) -> None:
    files, gate = {}, threading.Event()
    for version in range(6):
        name, content = wheel(tmp_path / "made", "acme", f"{version}.0", 100_000)
        files[name] = File(content, gate=gate, gate_at=50_000)
    where = target.gateway.url if to == "registry" else tmp_path / "carry"
    with Index(files) as source:
        both = [launch(tmp_path, f"{source.url}/simple/", where, environment=PUBLISHER) for _ in range(2)]
        wait_for(lambda: all(len(source.ranges(name)) == 2 for name in files), "both to have begun")
        gate.set()
        done = [ended(each) for each in both]
    assert [each.status for each in done] == [0, 0], [each.said for each in done]
    assert sum(each.table["copied"] for each in done) == 6
    assert sum(each.table["already there"] for each in done) == 6
    there = target.server.packages if to == "registry" else tmp_path / "carry"
    assert {path.name: path.read_bytes() for path in there.glob("*.whl")} == {
        name: file.content for name, file in files.items()
    }
    assert partials(tmp_path) == 0


def test_no_place_for_unfinished_downloads(tmp_path: Path, target: Registry) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    with Index({name: File(content)}) as source:
        done = copy(
            tmp_path, f"{source.url}/simple/", target.gateway.url, "--partial", "/dev/full", environment=PUBLISHER
        )
    assert (done.status, done.table) == (1, counted(failed=1)), done.said
    assert "the unfinished download: " in done.said


def test_a_target_that_has_a_file_before_it_lists_it(tmp_path: Path) -> None:
    name, content = wheel(tmp_path / "made", "acme", "1.0")
    late = Late({name: File(content)})
    with Index({name: File(content)}) as source, late:
        done = copy(tmp_path, f"{source.url}/simple/", late.url)
    assert (done.status, done.table) == (0, counted(there=1)), done.said
