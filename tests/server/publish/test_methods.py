from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.index.packed import Core
from server.publish.direct import Direct
from server.publish.drafts import Facts
from server.publish.link import Link
from server.publish.methods import ABANDONED_SECONDS, publisher
from server.volume.durable import UNFINISHED, UnsettledError, UnsuitableVolumeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.publish.drafts import Publisher
    from server.volume.content import Stamp

NAME = "a-1.0.tar.gz"
FACTS = Facts("sha256=0", Core(None, None), None)


@pytest.fixture(params=["link", "direct"])
def method(request: pytest.FixtureRequest, tmp_path: Path) -> Publisher:
    return publisher(request.param, tmp_path)


def publish(method: Publisher, body: bytes = b"content", name: str = NAME, *, again: bool = False) -> Stamp:
    """Publish a file as a request does."""
    draft = method.draft()
    try:
        draft.write(body)
        return draft.publish(name, FACTS, again=again)
    finally:
        draft.discard()


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def failing(number: int, what: str) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), what)

    return fail


def test_a_published_file_is_whole_and_alone(method: Publisher, tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    stamp = publish(method, body)
    status = (tmp_path / NAME).stat()
    assert stamp == (status.st_size, status.st_mtime_ns)
    assert (tmp_path / NAME).read_bytes() == body
    assert status.st_mode & 0o777 == 0o644
    assert files(tmp_path) == [NAME]


def test_an_existing_name_is_refused(method: Publisher, tmp_path: Path) -> None:
    publish(method, b"first")
    with pytest.raises(FileExistsError):
        publish(method, b"second")
    assert (tmp_path / NAME).read_bytes() == b"first"
    assert files(tmp_path) == [NAME]


def test_what_is_there_outlives_a_mount_that_cannot_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Direct(tmp_path)
    publish(method)
    real = os.open

    def fails(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if Path(path) == tmp_path / NAME:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, flags, mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fails)
        patched.setattr(os, "lstat", failing(errno.EIO, NAME))
        with pytest.raises(OSError, match="Input/output"):
            publish(method, b"another")
    assert files(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"content"


def test_of_many_threads_one_wins(method: Publisher, tmp_path: Path) -> None:
    won: list[bytes] = []

    def compete(body: bytes) -> None:
        try:
            publish(method, body)
        except FileExistsError:
            return
        won.append(body)

    for _ in range(20):
        threads = [threading.Thread(target=compete, args=(bytes([number]) * 10_000,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [(tmp_path / NAME).read_bytes()]
        assert files(tmp_path) == [NAME]
        (tmp_path / NAME).unlink()
        won.clear()


def test_a_draft_that_is_not_published_leaves_nothing(method: Publisher, tmp_path: Path) -> None:
    draft = method.draft()
    draft.write(os.urandom(1_000_000))
    draft.discard()
    assert files(tmp_path) == []


def test_a_draft_can_be_read(method: Publisher) -> None:
    draft, body = method.draft(), os.urandom(3_000_000)
    draft.write(body)
    assert draft.content().read() == body
    draft.discard()


def failing_fsync(monkeypatch: pytest.MonkeyPatch, call: int, number: int = errno.ENOSPC) -> None:
    """Let the nth fsync of all fail: delayed allocation reports a full volume there."""
    made: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        made.append(descriptor)
        if len(made) == call:
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize(("method", "call"), [("link", 1), *(("direct", call) for call in range(1, 5))])
def test_a_full_volume_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int) -> None:
    publishing = publisher(method, tmp_path)
    failing_fsync(monkeypatch, call)
    with pytest.raises(OSError, match="No space left"):
        publish(publishing)
    assert files(tmp_path) == []
    publish(publishing)
    assert files(tmp_path) == [NAME]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_file_whose_name_may_not_last_stays_and_can_be_published_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Others have seen it: another pod may list it, and somebody have locked its digest."""
    link = Link(tmp_path)
    failing_fsync(monkeypatch, 2, number)
    with pytest.raises(UnsettledError, match=os.strerror(number)):
        publish(link, b"first")
    assert (tmp_path / NAME).read_bytes() == b"first"
    with pytest.raises(FileExistsError):
        publish(link, b"first")
    with pytest.raises(FileExistsError):
        publish(link, b"other", again=True)
    seen = (tmp_path / NAME).stat()
    stamp = publish(link, b"first", again=True)
    published = (tmp_path / NAME).stat()
    assert stamp == (published.st_size, published.st_mtime_ns)
    # A second sync of the same directory entry may be told that all is well when the first was not.
    assert published.st_ino != seen.st_ino
    assert (tmp_path / NAME).read_bytes() == b"first"
    assert files(tmp_path) == [NAME]


def test_a_file_that_is_being_written_is_not_to_be_listed_whatever_its_marker_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = Direct(tmp_path)
    seen: list[frozenset[str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(direct.unfinished())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    publish(direct)
    assert seen == [frozenset({NAME})] * 4
    assert direct.unfinished() == frozenset()


def test_the_file_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        done.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real_fsync(descriptor)

    def link(*names: Path) -> None:
        done.append("link")
        real_link(*names)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    publish(Link(tmp_path))
    assert done[0].startswith(str(tmp_path / UNFINISHED))
    assert done[1:] == ["link", str(tmp_path)]


def test_a_link_whose_answer_was_lost_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def repeated(*names: Path) -> None:
        real(*names)
        real(*names)

    monkeypatch.setattr(os, "link", repeated)
    publish(Link(tmp_path))
    assert files(tmp_path) == [NAME]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_volume_without_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    Link(tmp_path).check()
    assert files(tmp_path) == []
    monkeypatch.setattr(os, "link", failing(number, "link"))
    with pytest.raises(UnsuitableVolumeError, match=r"no hard links.*PUBLISH_METHOD=direct"):
        Link(tmp_path).check()
    assert files(tmp_path) == []
    Direct(tmp_path).check()


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_volume_that_can_only_be_read_passes(
    method: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    monkeypatch.setattr(type(tmp_path), "mkdir", failing(number, ""))
    method.check()


def test_a_dead_volume_does_not_pass(method: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(type(tmp_path), "mkdir", failing(errno.ENOTCONN, ""))
    with pytest.raises(UnsuitableVolumeError, match="cannot be used"):
        method.check()


def test_unfinished_files_are_removed_once_they_are_abandoned(tmp_path: Path) -> None:
    directory = tmp_path / UNFINISHED
    directory.mkdir(parents=True)
    for name, age in (("old", 7200), ("new", 60)):
        (directory / name).touch()
        os.utime(directory / name, (time.time() - age,) * 2)
    link = Link(tmp_path)
    link.clean(ABANDONED_SECONDS)
    assert files(tmp_path) == ["new"]
    link.clean(0)
    assert files(tmp_path) == []


def test_a_file_that_is_being_uploaded_is_not_abandoned(tmp_path: Path) -> None:
    """The pod that is to be replaced finishes its uploads while its successor starts, on the same volume."""
    draft = Link(tmp_path).draft()
    draft.write(b"content")
    Link(tmp_path).clean(0)
    draft.publish(NAME, FACTS)
    draft.discard()
    assert files(tmp_path) == [NAME]


def test_a_file_whose_server_was_killed_is_abandoned(tmp_path: Path) -> None:
    program = f"import sys; sys.path[:0] = {sys.path}; from server.publish.link import Link; from pathlib import Path; "
    program += f"draft = Link(Path({str(tmp_path)!r})).draft(); print('begun', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stdout.readline() == b"begun\n"
        Link(tmp_path).clean(0)
        assert len(files(tmp_path)) == 1
        server.kill()
    Link(tmp_path).clean(0)
    assert files(tmp_path) == []


def test_a_marker_hides_its_file_until_it_says_complete(tmp_path: Path) -> None:
    direct = Direct(tmp_path)
    assert direct.unfinished() == frozenset()
    (tmp_path / UNFINISHED).mkdir(parents=True)
    for name, text in (("half-1.0.tar.gz", "unfinished"), ("empty-1.0.tar.gz", ""), ("whole-1.0.tar.gz", "complete")):
        (tmp_path / UNFINISHED / name).write_text(text)
        (tmp_path / name).touch()
    assert direct.unfinished() == {"half-1.0.tar.gz", "empty-1.0.tar.gz"}
    direct.clean(0)
    assert files(tmp_path) == ["whole-1.0.tar.gz"]


def test_a_clock_that_went_back_shows_nothing_unfinished(tmp_path: Path) -> None:
    """Nor does a store whose clock is ahead of the pod's."""
    for method in (Link(tmp_path), Direct(tmp_path)):
        method.check()
        (tmp_path / "half-1.0.tar.gz").write_bytes(b"half")
        marker = tmp_path / UNFINISHED / "half-1.0.tar.gz"
        marker.write_bytes(b"unfinished")
        os.utime(marker, (time.time() + 3600, time.time() + 3600))
        if isinstance(method, Direct):
            assert method.unfinished() == {"half-1.0.tar.gz"}
        method.clean(0)
        assert not marker.exists()
    assert not (tmp_path / "half-1.0.tar.gz").exists()


def test_a_direct_publish_waits_for_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GeeseFS takes an fsync of the mount's root for one of every file that is being written."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    publish(Direct(tmp_path))
    directory = tmp_path / UNFINISHED
    assert synced == [directory / NAME, directory, tmp_path / NAME, directory / NAME]


def test_an_upload_taken_for_abandoned_is_not_acknowledged(tmp_path: Path) -> None:
    """Another pod has removed it as unfinished, marker and all, while it was being written."""
    direct = Direct(tmp_path)

    def slow() -> Iterator[bytes]:
        yield b"content"
        Direct(tmp_path).clean(0)

    with pytest.raises(FileNotFoundError):
        direct.publish(NAME, slow())
    assert files(tmp_path) == []
