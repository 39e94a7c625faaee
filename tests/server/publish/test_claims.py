from __future__ import annotations

import errno
import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from server.http.errors import AwayError
from server.publish import claims
from server.publish.claims import KEPT_SECONDS, PATIENCE_SECONDS, UNFINISHED_SECONDS, Claims

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER = "Demo-1.0.zip", "demo-1.0.0.tar.gz"


def claims_of(root: Path) -> list[Path]:
    return list((root / ".pypiserver/claims").iterdir())


def age(root: Path, seconds: float) -> None:
    for path in claims_of(root):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


@pytest.fixture
def pods(tmp_path: Path) -> tuple[Claims, Claims]:
    return Claims(tmp_path, shared=True), Claims(tmp_path, shared=True)


def publish(pod: Claims, root: Path, name: str) -> None:
    with pod.of(name):
        (root / name).touch()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PATIENCE_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
def test_one_process_publishes_one_of_two_names_at_a_time(tmp_path: Path) -> None:
    one = Claims(tmp_path, shared=False)
    with one.of(ONE), pytest.raises(AwayError, match=f"publishing {OTHER}"), one.of(OTHER):
        pass
    with one.of(OTHER):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("impatient")
def test_two_pods_publish_one_of_two_names(pods: tuple[Claims, Claims], tmp_path: Path) -> None:
    with pods[0].of(ONE), pytest.raises(AwayError, match=f"publishing {OTHER}"), pods[1].of(OTHER):
        pass
    publish(pods[0], tmp_path, ONE)
    with pytest.raises(FileExistsError) as caught, pods[1].of(OTHER):
        pass
    assert caught.value.filename == ONE
    with pods[1].of("demo-1.1.zip"):
        pass


@pytest.mark.parametrize("pod", [0, 1])
@pytest.mark.parametrize("fails", [True, False])
def test_who_comes_second_waits_for_what_becomes_of_the_first(
    pods: tuple[Claims, Claims], tmp_path: Path, pod: int, *, fails: bool
) -> None:
    """Told that there is such a file, a client does not send it again."""
    with ThreadPoolExecutor(1) as pool:
        with suppress(OSError), pods[0].of(ONE):
            second = pool.submit(publish, pods[pod], tmp_path, ONE)
            assert wait([second], 0.3).not_done
            if fails:
                raise OSError("full")
            (tmp_path / ONE).touch()
        if fails:
            second.result(PATIENCE_SECONDS)
            assert (tmp_path / ONE).exists()
        else:
            with pytest.raises(FileExistsError):
                second.result(PATIENCE_SECONDS)


def test_pods_that_race_have_one_winner(pods: tuple[Claims, Claims], tmp_path: Path) -> None:
    start, published = threading.Barrier(8), []

    def run(number: int) -> None:
        start.wait()
        for version in range(50):
            name = f"{('demo', 'Demo')[number % 2]}-{version}{'.0' * (number // 2)}.zip"
            try:
                publish(pods[number % 2], tmp_path, name)
            except FileExistsError:
                continue
            published.append(version)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(published) == list(range(50))


def test_what_failed_or_is_gone_can_be_published(pods: tuple[Claims, Claims], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), pods[0].of(ONE):
        raise OSError("full")
    publish(pods[0], tmp_path, ONE)
    (tmp_path / ONE).unlink()
    publish(pods[1], tmp_path, OTHER)


def test_a_claim_of_a_pod_that_crashed_ends(pods: tuple[Claims, Claims], tmp_path: Path) -> None:
    publish(pods[0], tmp_path, ONE)
    (path,) = claims_of(tmp_path)
    path.write_bytes(b"")
    (tmp_path / ONE).unlink()
    # It is waited for until every pod knows whether it has published the file.
    publish(pods[1], tmp_path, OTHER)
    assert (tmp_path / OTHER).exists()


def test_a_claim_ends_also_when_a_clock_went_back(pods: tuple[Claims, Claims], tmp_path: Path) -> None:
    """Or when that of the volume's server is ahead."""
    publish(pods[0], tmp_path, ONE)
    (tmp_path / ONE).unlink()
    age(tmp_path, -3600)
    publish(pods[1], tmp_path, OTHER)
    (path,) = claims_of(tmp_path)
    path.write_bytes(b"")
    (tmp_path / OTHER).unlink()
    age(tmp_path, -3600)
    publish(pods[0], tmp_path, ONE)


@pytest.mark.usefixtures("impatient")
def test_a_claim_where_files_have_no_locks_ends(
    pods: tuple[Claims, Claims], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    publish(pods[0], tmp_path, ONE)
    (path,) = claims_of(tmp_path)
    path.write_bytes(b"")
    (tmp_path / ONE).unlink()
    with pytest.raises(AwayError), pods[1].of(OTHER):
        pass
    age(tmp_path, UNFINISHED_SECONDS)
    publish(pods[1], tmp_path, OTHER)


def test_old_claims_are_removed(pods: tuple[Claims, Claims], tmp_path: Path) -> None:
    publish(pods[0], tmp_path, ONE)
    age(tmp_path, KEPT_SECONDS)
    publish(pods[1], tmp_path, "other-1.0.zip")
    assert [path.read_text() for path in claims_of(tmp_path)] == ["other-1.0.zip"]
