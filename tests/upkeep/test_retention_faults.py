"""What happens in the middle: kills, another run, a publish, a registry that goes away, clocks that are wrong."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cdk8s_pypiserver import RetentionRuleSpec
from gateway_programs import Registry, make_sdist, make_wheel
from programs import PATIENCE, wait_for
from retaining import Asked, Between, Runner, put, registry_of, there

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

LAST = RetentionRuleSpec(keep_versions=2)
VERSIONS = [f"{number}.0" for number in range(10)]
FILES = {f"acme-{version}": 400.0 for version in VERSIONS}
LEFT = ["acme-8.0", "acme-9.0"]


@contextmanager
def between(
    directory: Path, hook: Callable[[Asked], int | None] = lambda _: None, date: str | None = None
) -> Iterator[tuple[Registry, Runner, Between]]:
    """A registry with ten versions, and what stands between it and the program."""
    with registry_of(directory, FILES) as (registry, job), Between(registry.gateway.url, hook, date) as passing:
        job.port = passing.port
        yield registry, job, passing


def test_a_run_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    running: list[subprocess.Popen[str]] = []
    fifth = threading.Event()

    def hook(asked: Asked) -> None:
        if asked.is_removal("4.0") and not fifth.is_set():
            fifth.set()
            running[0].kill()

    with between(tmp_path, hook) as (registry, job, _):
        running.append(job.launch(LAST))
        assert job.ended(running[0]).status == -signal.SIGKILL
        # The request was on its way.
        wait_for(lambda: "acme-4.0" not in there(registry), "the removal that was on its way")
        left = there(registry)
        assert set(LEFT) < set(left) < set(FILES)
        done = job.run(LAST)
        assert done.status == 0, done.said
        assert len(done.removed) == len(left) - 2
        assert there(registry) == LEFT


def test_a_run_that_is_told_to_end_ends_between_two_versions(tmp_path: Path) -> None:
    running: list[subprocess.Popen[str]] = []

    def hook(asked: Asked) -> None:
        if asked.is_removal("5.0"):
            running[0].terminate()

    with between(tmp_path, hook) as (registry, job, _):
        running.append(job.launch(LAST))
        done = job.ended(running[0])
        assert done.status == 1
        assert "Stopped: it was told to end; the next run goes on. Removed 3 versions in 3 files" in done.termination
        assert len(there(registry)) == 7
        assert job.run(LAST).status == 0
        assert there(registry) == LEFT


def test_two_runs_at_once_do_the_same(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def hook(asked: Asked) -> None:
        # Each removal of one waits for that of the other.
        if asked.is_removal():
            both.wait()

    with between(tmp_path, hook) as (registry, job, passing):
        other = Runner(tmp_path / "other", registry.gateway.url)
        other.port = passing.port
        runs = [each.launch(LAST) for each in (job, other)]
        done = [each.ended(process) for each, process in zip((job, other), runs, strict=True)]
        assert [each.status for each in done] == [0, 0], [each.said for each in done]
        assert there(registry) == LEFT
        gone = [line for each in done for line in each.lines if line.startswith("gone already: ")]
        # What both were told is removed is neither's alone.
        assert len(done[0].removed) + len(done[1].removed) + len(gone) == 16


def test_what_changed_since_it_was_listed_is_left(tmp_path: Path) -> None:
    seen: list[Asked] = []
    made = tmp_path / "made"
    made.mkdir()
    with between(tmp_path) as (registry, job, passing):

        def hook(asked: Asked) -> None:
            seen.append(asked)
            # The second time it is looked at: a file of an old version, and a version that pushes none of ours out.
            if asked.path == "/simple/acme/" and seen.count(asked) == 2:
                assert registry.upload(make_sdist(made, "acme", "3.0")).ok
                assert registry.upload(make_wheel(made, "acme", "10.0")).ok

        passing.hook = hook
        done = job.run(LAST)
        assert done.status == 0, done.said
        assert "left: acme 3.0 has changed since it was listed" in done.said
        # 8.0 is not among the last two any more, and was not counted: the next run takes it.
        assert there(registry) == sorted([*LEFT, "acme-10.0", "acme-3.0", "acme-3.0"])


def test_a_file_that_comes_just_before_the_removal_is_not_removed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    with between(tmp_path) as (registry, job, passing):

        def hook(asked: Asked) -> None:
            if asked.is_removal("3.0"):
                assert registry.upload(make_sdist(made, "acme", "3.0")).ok

        passing.hook = hook
        done = job.run(LAST)
        assert done.status == 1
        assert (
            "failed: acme 3.0: the registry says 409 acme-3.0.tar.gz is not among the files that were named: "
            "nothing is removed" in done.said
        )
        assert there(registry) == ["acme-3.0", "acme-3.0", *LEFT]


def test_a_registry_that_is_away_for_a_moment(tmp_path: Path) -> None:
    refused: list[Asked] = []

    def hook(asked: Asked) -> int | None:
        if refused.count(asked) < 2:
            refused.append(asked)
            return 503
        return None

    with between(tmp_path, hook) as (registry, job, _):
        done = job.run(LAST, patience_seconds=60)
        assert done.status == 0, done.said
        assert len(done.removed) == 8
        assert there(registry) == LEFT


def test_an_answer_that_is_lost_counts_as_done(tmp_path: Path) -> None:
    """The removal was made, and the connection cut: it is asked for again, and there is nothing left to remove."""
    with between(tmp_path) as (registry, job, passing):
        lost: list[Asked] = []

        def hook(asked: Asked) -> int | None:
            if asked.is_removal("3.0") and not lost:
                lost.append(asked)
                answer = registry.gateway.request(
                    "POST",
                    "/",
                    "publisher",
                    "publisher-password",
                    data=b"%3Aaction=remove_pkg&name=acme&version=3.0",
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )
                assert answer.ok
                return 502
            return None

        passing.hook = hook
        done = job.run(LAST, patience_seconds=60)
        assert done.status == 0, done.said
        assert "gone already: acme 3.0" in done.said
        assert there(registry) == LEFT


@pytest.mark.parametrize("after", [0, 4])
def test_a_registry_that_stays_away_ends_the_run(after: int, tmp_path: Path) -> None:
    count = 0

    def hook(asked: Asked) -> int | None:
        nonlocal count
        count += asked.is_removal()
        return 503 if count > after or not after else None

    with between(tmp_path, hook) as (registry, job, _):
        done = job.run(LAST)
        assert done.status == 1
        assert "it says 503 of the test, for 1 seconds" in done.termination
        assert f"Removed {after} versions in {after} files" in done.termination
        assert len(there(registry)) == 10 - after


def test_a_registry_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    with registry_of(tmp_path, FILES) as (registry, job):
        registry.gateway.kill()
        done = job.run(LAST)
        assert (done.status, done.removed) == (1, [])
        assert "the registry cannot be read: the connection failed (Connection refused), for 1 seconds" in done.said
        job.environment["REGISTRY_HOST"] = "no-such-host.invalid"
        assert "the registry cannot be read: its name is not known" in job.run(LAST).said


def test_a_removal_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    with between(tmp_path, lambda asked: 400 if asked.is_removal("3.0") else None) as (registry, job, _):
        done = job.run(LAST)
        assert done.status == 1
        assert "failed: acme 3.0: the registry says 400 of the test" in done.said
        assert "Removed 7 versions in 7 files" in done.termination
        assert "1 failed" in done.termination
        assert there(registry) == ["acme-3.0", *LEFT]


@pytest.mark.parametrize(
    ("date", "says"),
    [
        # A node whose clock is ahead of all others has everything look old.
        ("Thu, 01 Jan 2026 00:00:00 GMT", "differ by more than an hour, so no age can be told"),
        ("", "the registry does not say what time it is"),
    ],
)
def test_without_a_clock_that_is_sure_nothing_is_judged(date: str, says: str, tmp_path: Path) -> None:
    with between(tmp_path) as (registry, job, passing):
        passing.date = date
        done = job.run(LAST)
        assert (done.status, done.removed) == (1, [])
        assert says in done.termination
        assert there(registry) == sorted(FILES)


def test_a_page_that_is_none_changes_nothing(tmp_path: Path) -> None:
    with between(tmp_path, lambda asked: 200 if asked.path == "/simple/acme/" else None) as (registry, job, _):
        done = job.run(LAST)
        assert (done.status, done.removed) == (1, [])
        assert "its answer to /simple/acme/ is no page of an index in JSON" in done.termination
        assert there(registry) == sorted(FILES)


def test_one_spelling_that_is_gone_keeps_no_other(tmp_path: Path) -> None:
    packages = tmp_path / "server/packages"
    put(packages, "demo", "1.0", 400, sdist=True)
    put(packages, "demo", "1.0.0", 400)
    put(packages, "demo", "2.0", 400)
    with registry_of(tmp_path, {}) as (registry, job), Between(registry.gateway.url) as passing:
        passing.hook = lambda asked: 404 if asked.is_removal("1.0") else None
        job.port = passing.port
        done = job.run(RetentionRuleSpec(keep_versions=1))
        assert (done.status, done.removed) == (0, ["demo 1.0.0"]), done.said
        assert sorted(passing.removals()) == ["1.0", "1.0.0"]
        assert there(registry) == ["demo-1.0", "demo-2.0"]
