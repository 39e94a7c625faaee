"""Files of public projects: fetched once, checked, kept on a bounded volume, and there while the index is away."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway_programs import basic
from programs import PATIENCE, wait_for
from public_index import Trouble
from public_pages import JSON
from upstream_programs import READER
from vitals import MEBIBYTE

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from public_files import PublicFile
    from public_index import PublicIndex
    from upstream_programs import Registry, Start

CLIENTS = 200
LARGE = 8 * MEBIBYTE


def content_of(file: PublicFile) -> bytes:
    assert file.content
    return file.content.read_bytes()


def kept(pod: Registry, file: PublicFile) -> list[Path]:
    return [path for path in pod.upstream.files if path.name == file.name]


def opened(pod: Registry, path: str, *headers: str) -> socket.socket:
    """Ask for a path over a connection of its own, and read nothing of the answer."""
    lines = (f"GET {path} HTTP/1.1", "Host: pypi", f"Authorization: {basic(*READER)}", "Connection: close", *headers)
    connection = pod.gateway.connect()
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return connection


def received(connection: socket.socket, at_once: int = 2**20) -> tuple[int, int, str]:
    """Read an answer to its end: its status, and the size and sha256 of its body, which is never held as a whole."""
    with connection, connection.makefile("rb") as answer:
        status = int(answer.readline().split()[1])
        while answer.readline() not in {b"\r\n", b""}:
            pass
        size, digest = 0, hashlib.sha256()
        while chunk := answer.read(at_once):
            size += len(chunk)
            digest.update(chunk)
        return status, size, digest.hexdigest()


def test_many_clients_and_one_transfer(start: Start, index: PublicIndex) -> None:
    file = index.add_sparse("large", "1.0", LARGE)
    pod = start()
    path = pod.address("large", file.name)
    held = index.trouble(r"\.whl$", Trouble(hold_at=MEBIBYTE))
    before = pod.upstream.peak
    connections = [opened(pod, path) for _ in range(CLIENTS)]
    wait_for(lambda: index.requests(r"\.whl$"), "the transfer")
    # All have their beginning before the index sends the rest: the file is streamed, not stored first.
    for connection in connections:
        assert connection.recv(12) == b"HTTP/1.1 200"
    held.go.set()

    def rest(connection: socket.socket) -> int:
        size = 0
        with connection:
            while count := len(connection.recv(2**18)):
                size += count
        return size

    with ThreadPoolExecutor(CLIENTS) as pool:
        sizes = set(pool.map(rest, connections))
    assert len(index.requests(r"\.whl$")) == 1
    assert index.sent == LARGE
    assert min(sizes) > LARGE
    assert max(sizes) - min(sizes) < 1_000
    wait_for(lambda: kept(pod, file), "the file in the cache")
    # Each has a thread; none has a part of the file.
    assert pod.upstream.peak - before < 100 * MEBIBYTE
    assert received(opened(pod, path)) == (200, LARGE, file.sha256)
    assert len(index.requests(r"\.whl$")) == 1


def test_a_kept_file_costs_nobody_else_anything(start: Start, index: PublicIndex) -> None:
    file = index.add("kept", "1.0", padding=bytes(range(256)) * 4_000)
    pod = start()
    path = pod.address("kept", file.name)
    assert pod.get(path).content == content_of(file)
    wait_for(lambda: kept(pod, file), "the file in the cache")
    index.go_away()
    pod.server.kill()
    pod.upstream.kill()
    # Who may read is known for a while without the server.
    answer = pod.get(path)
    assert answer.content == content_of(file)
    assert "immutable" in answer.headers["Cache-Control"] or "max-age=" in answer.headers["Cache-Control"]
    assert pod.get(path, If_None_Match=answer.headers["ETag"]).status_code == 304
    part = pod.get(path, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, content_of(file)[100:200])


def test_what_is_kept_outlives_a_restart(start: Start, index: PublicIndex) -> None:
    file = index.add("kept", "1.0")
    pod = start()
    assert pod.fetch("kept", file.name).status_code == 200
    assert pod.get(f"{pod.address('kept', file.name)}.metadata").content == file.metadata
    index.go_away()
    for program in (pod.server, pod.upstream):
        program.kill()
        program.start()
    assert pod.names("kept") == {file.name}
    assert pod.fetch("kept", file.name).content == content_of(file)
    assert pod.get(f"{pod.address('kept', file.name)}.metadata").content == file.metadata


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [("0-99", 0, 100), ("100-", 100, None), ("-50", -50, None), ("1000000-1000009", 1_000_000, 1_000_010)],
)
def test_parts_while_it_comes(
    pod: Registry, shared_index: PublicIndex, asked: str, first: int, end: int | None
) -> None:
    project = f"part{abs(hash(asked))}"
    file = shared_index.add(project, "1.0", padding=bytes(range(256)) * 8_000)
    whole = content_of(file)
    path = pod.address(project, file.name)
    held = shared_index.trouble(rf"/{project}.*\.whl$", Trouble(hold_at=1_500_000))
    with ThreadPoolExecutor() as pool:
        part = pool.submit(pod.get, path, Range=f"bytes={asked}")
        wait_for(lambda: shared_index.requests(rf"/{project}.*\.whl$"), "the transfer")
        if end:
            # What has come already needs to wait for nothing else.
            assert part.result().content == whole[first:end]
        held.go.set()
        answer = part.result()
    assert answer.status_code == 206
    assert answer.content == whole[first:end]
    assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")
    # The whole of it is fetched once, whatever part was asked for.
    assert len(shared_index.requests(rf"/{project}.*\.whl$")) == 1
    wait_for(lambda: kept(pod, file), "the file in the cache")
    assert pod.get(path, Range=f"bytes={asked}").content == whole[first:end]


def test_a_client_goes_on_where_it_was_cut_off(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("resumed", "1.0", padding=bytes(range(256)) * 8_000)
    whole, path = content_of(file), pod.address("resumed", file.name)
    held = shared_index.trouble(r"/resumed.*\.whl$", Trouble(hold_at=1_000_000))
    with opened(pod, path) as connection:
        head, _, begun = connection.recv(65536).partition(b"\r\n\r\n")
        while len(begun) < 500_000:
            begun += connection.recv(65536)
    begun = begun[:500_000]
    assert begun == whole[:500_000]
    etag = next(line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.lower().startswith(b"etag"))
    held.go.set()
    wait_for(lambda: kept(pod, file), "the file in the cache")
    # From the cache now, and the same file to whoever has begun before.
    rest = pod.get(path, Range="bytes=500000-", If_Range=etag)
    assert rest.status_code == 206
    assert begun + rest.content == whole
    assert len(shared_index.requests(r"/resumed.*\.whl$")) == 1


def test_a_transfer_goes_on_when_the_client_is_gone(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("deserted", "1.0", padding=bytes(3_000_000))
    path = pod.address("deserted", file.name)
    held = shared_index.trouble(r"/deserted.*\.whl$", Trouble(hold_at=1_000_000))
    with opened(pod, path) as connection:
        assert connection.recv(1)
    held.go.set()
    wait_for(lambda: kept(pod, file), "the file in the cache")
    assert pod.get(path).content == content_of(file)
    assert len(shared_index.requests(r"/deserted.*\.whl$")) == 1


def test_a_transfer_that_breaks_off_goes_on_from_there(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("broken", "1.0", padding=bytes(range(256)) * 8_000)
    path = pod.address("broken", file.name)
    shared_index.trouble(r"/broken.*\.whl$", Trouble(cut_at=1_000_000, times=1))
    shared_index.forget()
    assert pod.get(path).content == content_of(file)
    asked = shared_index.requests(r"/broken.*\.whl$")
    assert [each.status for each in asked] == [200, 206]
    assert shared_index.sent <= file.size + 64 * 1024


def test_a_transfer_that_never_ends_well_is_not_kept(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("hopeless", "1.0", padding=bytes(range(256)) * 8_000)
    path = pod.address("hopeless", file.name)
    trouble = Trouble(status=502)
    shared_index.trouble(r"/hopeless.*\.whl$", trouble)
    answer = pod.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.text.strip()
    assert kept(pod, file) == []
    shared_index.trouble_is_over()
    wait_for(lambda: pod.get(path).status_code == 200, "the file")


def test_other_content_than_the_page_says_is_not_served_twice(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("swapped", "1.0", padding=bytes(2_000_000))
    path = pod.address("swapped", file.name)
    assert file.content
    true = content_of(file)
    file.content.write_bytes(true[:-1] + b"!")
    before = pod.upstream.metrics()['pypiserver_upstream_fetches_total{result="refused"}']
    # The first client gets it as it comes, but never all of it.
    status, size, _ = received(opened(pod, path))
    assert status == 502 or size < file.size
    for _ in range(3):
        answer = pod.get(path)
        assert answer.status_code == 502
        assert "sha256" in answer.text
    assert kept(pod, file) == []
    assert len(pod.upstream.lines(r"swapped.*sha256")) == 1
    assert len(shared_index.requests(r"/swapped.*\.whl$")) == 1, "what is known to be wrong is not fetched each time"
    assert pod.upstream.metrics()['pypiserver_upstream_fetches_total{result="refused"}'] == before + 1
    assert not list((pod.upstream.cache / "unfinished").iterdir())


@pytest.mark.parametrize("change", [b"", b"more than its page says"])
def test_a_file_of_another_size(pod: Registry, shared_index: PublicIndex, change: bytes) -> None:
    project = f"sized{len(change)}"
    file = shared_index.add(project, "1.0", padding=bytes(100_000))
    path = pod.address(project, file.name)
    assert file.content
    file.content.write_bytes(content_of(file) + change if change else content_of(file)[:-1])
    status, count, _ = received(opened(pod, path))
    assert status == 502 or count < file.size
    assert pod.get(path).status_code == 502
    assert kept(pod, file) == []


def test_metadata_that_is_not_what_its_page_says(pod: Registry, shared_index: PublicIndex) -> None:
    file = shared_index.add("described", "1.0")
    file.metadata = b"Metadata-Version: 2.1\nName: evil\nVersion: 1\n"
    path = f"{pod.address('described', file.name)}.metadata"
    status, size, _ = received(opened(pod, path))
    assert status == 502 or size < len(file.metadata)
    assert pod.get(path).status_code == 502
    assert not any(b"evil" in each.read_bytes() for each in pod.upstream.files)
    assert pod.get(path.removesuffix(".metadata")).status_code == 200


def test_an_index_that_is_away(start: Start, index: PublicIndex) -> None:
    file, other = index.add("known", "1.0"), index.add("known", "2.0")
    index.add("unknown", "1.0")
    pod = start(page_seconds=1)
    path, other_path = pod.address("known", file.name), pod.address("known", other.name)
    assert pod.get(path).status_code == 200
    wait_for(lambda: kept(pod, file), "the file in the cache")
    index.go_away()

    def is_away() -> bool:
        return pod.upstream.metrics()['pypiserver_upstream_up{index="public"}'] == 0.0

    def asks_again() -> bool:
        assert pod.names("known") == {file.name, other.name}
        return is_away()

    wait_for(asks_again, "the index to be missed")
    assert pod.get(path).content == content_of(file)
    for missing in ("/simple/unknown/", other_path, f"{path}.metadata"):
        answer = pod.get(missing)
        assert answer.status_code == 503, missing
        assert int(answer.headers["Retry-After"]) > 0
        assert "public" in answer.text
    # A name that no index was ever asked about may exist: it is not said to be missing.
    assert pod.get("/simple/never-asked/").status_code == 503
    index.come_back()
    wait_for(lambda: pod.get("/simple/unknown/").status_code == 200, "the index to be asked again")
    wait_for(lambda: pod.get(other_path).content == content_of(other), "its file host to be asked again")
    wait_for(lambda: not is_away(), "the metric")


def test_a_rate_limit_is_kept_to(start: Start, index: PublicIndex) -> None:
    for number in range(20):
        index.add(f"limited{number}", "1.0")
    pod = start()
    assert pod.names("limited0")
    index.wait_for_metadata()
    index.trouble("", Trouble(status=429, headers={"Retry-After": "3"}, times=1))
    assert pod.get("/simple/limited1/").status_code == 503
    index.forget()
    for number in range(2, 20):
        answer = pod.get(f"/simple/limited{number}/")
        if answer.status_code == 200:
            break
        assert answer.status_code == 503
        assert 0 < int(answer.headers["Retry-After"]) <= 3
        assert index.asked == [], "an index that has asked for a pause is not asked meanwhile"
    wait_for(lambda: pod.get("/simple/limited19/").status_code == 200, "the end of the pause")
    metrics = pod.upstream.metrics()
    assert metrics['pypiserver_upstream_requests_total{index="public",result="rate_limited"}'] == 1


def test_what_nobody_uses_goes_first(start: Start, index: PublicIndex) -> None:
    size = 8 * MEBIBYTE
    files = [index.add_sparse("many", f"1.{number}", size) for number in range(8)]
    pod = start(cache_bytes=5 * size + MEBIBYTE)  # with what files take beside their bytes

    def fetch(file: PublicFile) -> None:
        assert received(opened(pod, pod.address("many", file.name))) == (200, size, file.sha256)
        wait_for(lambda: kept(pod, file), "the file in the cache")
        assert sum(path.stat().st_size for path in pod.upstream.files) <= 5 * size

    for file in files[:5]:
        fetch(file)
    # Used again, and so not the first to go.
    fetch(files[0])
    for file in files[5:]:
        fetch(file)
    assert {path.name for path in pod.upstream.files} == {files[number].name for number in (0, 4, 5, 6, 7)}
    assert len(index.requests(r"\.whl$")) == len(files)
    metrics = pod.upstream.metrics()
    assert metrics["pypiserver_upstream_evictions_total"] == 3
    assert metrics["pypiserver_upstream_cache_bytes"] <= metrics["pypiserver_upstream_cache_limit_bytes"]
    assert metrics["pypiserver_upstream_evicted_young_total"] == 3


def test_a_file_that_is_evicted_while_it_is_sent(start: Start, index: PublicIndex) -> None:
    size = 60 * MEBIBYTE
    first, second = (index.add_sparse("big", version, size) for version in ("1.0", "2.0"))
    pod = start(cache_bytes=100 * MEBIBYTE)
    path = pod.address("big", first.name)
    assert pod.get(path).status_code == 200
    wait_for(lambda: kept(pod, first), "the file in the cache")
    with opened(pod, path) as reading:
        assert reading.recv(12) == b"HTTP/1.1 200"
        assert pod.fetch("big", second.name).status_code == 200
        wait_for(lambda: not kept(pod, first), "the eviction")
        count = 0
        while chunk := len(reading.recv(2**20)):
            count += chunk
        assert count > size


def test_a_file_that_the_cache_cannot_take(start: Start, index: PublicIndex) -> None:
    large, small = index.add_sparse("huge", "1.0", 200 * MEBIBYTE), index.add("small", "1.0")
    pod = start(cache_bytes=100 * MEBIBYTE)
    assert pod.fetch("small", small.name).status_code == 200
    answer = pod.fetch("huge", large.name)
    assert answer.status_code == 507
    assert str(100 * MEBIBYTE) in answer.text
    assert {path.name for path in pod.upstream.files} >= {small.name}, "nothing goes for what cannot come"


@contextmanager
def small_volume(directory: Path, size: int) -> Iterator[Path]:
    """A file system in memory of so many bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_volume_that_is_full(start: Start, index: PublicIndex, tmp_path: Path) -> None:
    with small_volume(tmp_path / "pod1/gateway/cache", 40 * MEBIBYTE) as volume:
        large, small = index.add_sparse("large", "1.0", 30 * MEBIBYTE), index.add("small", "1.0")
        later = index.add_sparse("large", "2.0", 30 * MEBIBYTE)
        pod = start(cache_bytes=10 * 2**30)
        others = volume / "of-somebody-else"
        others.write_bytes(bytes(20 * MEBIBYTE))
        # How much of it comes is chance; that nobody has it whole is not.
        status, size, _ = received(opened(pod, pod.address("large", large.name)))
        assert status == 507 or size < large.size
        # Everything else goes on.
        assert pod.names("small") == {small.name}
        assert pod.fetch("small", small.name).content == content_of(small)
        assert not any(path.stat().st_size >= large.size for path in pod.upstream.files)
        others.unlink()
        assert received(opened(pod, pod.address("large", later.name))) == (200, later.size, later.sha256)
        assert pod.upstream.lines("No space left|cache volume")


def test_slow_clients_and_a_slow_index_hold_up_nobody(start: Start, index: PublicIndex) -> None:
    slow, quick = index.add_sparse("slow", "1.0", 50 * MEBIBYTE), index.add("quick", "1.0")
    pod = start()
    path = pod.address("slow", slow.name)
    held = index.trouble(r"/slow.*\.whl$", Trouble(hold_at=MEBIBYTE))
    connections = [opened(pod, path) for _ in range(100)]
    wait_for(lambda: index.requests(r"/slow.*\.whl$"), "the transfer")
    for _ in range(5):
        assert pod.fetch("quick", quick.name).content == content_of(quick)
        assert pod.get("/simple/quick/", Accept=JSON).status_code == 200
    index.add("another", "1.0")
    assert pod.names("another")
    held.go.set()
    for connection in connections[1:]:
        connection.close()
    assert received(connections[0]) == (200, slow.size, slow.sha256)


def test_the_program_that_is_killed_leaves_nothing_half(start: Start, index: PublicIndex) -> None:
    file = index.add("killed", "1.0", padding=bytes(3_000_000))
    pod = start()
    path = pod.address("killed", file.name)
    held = index.trouble(r"/killed.*\.whl$", Trouble(hold_at=1_000_000))
    cut = threading.Thread(target=lambda: opened(pod, path).recv(1))
    cut.start()
    wait_for(lambda: list((pod.upstream.cache / "unfinished").iterdir()), "the unfinished file")
    cut.join(PATIENCE)
    pod.upstream.kill()
    held.go.set()
    assert pod.get(path).status_code == 503
    pod.upstream.start()
    assert list((pod.upstream.cache / "unfinished").iterdir()) == []
    assert pod.get(path).content == content_of(file)
