"""What the server needs while twenty clients at once send what is made to take its memory and its time."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from gateway_programs import make_wheel
from hostile_forms import part
from programs import PATIENCE, Server, upload
from vitals import MEBIBYTE, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

AT_ONCE = 20
"""How many uploads the server takes at once."""
MOST_MEMORY = 300 * MEBIBYTE
LONGEST_WAIT = 0.5
"""How long anybody else may wait, in seconds, on a machine that does nothing else."""
INFO = "bomb-1.0.dist-info/METADATA"


def _form(parts: list[bytes]) -> bytes:
    return b"".join(b"--b\r\n" + each for each in parts) + b"--b--\r\n"


def _long_names(number: int) -> bytes:
    """Fields with names of eight thousand letters."""
    return _form([part(f"{number}-{field}-{'n' * 7900}", b"") for field in range(3_000)])


def _long_file_names(number: int) -> bytes:
    return _form([part(f"{number}-{field}", b"", "f" * 7900) for field in range(3_000)])


def _many_files(number: int) -> bytes:
    """Files that are not kept, since another action is announced."""
    action = part(":action", b"submit")
    return _form([action, *(part("content", b"", f"{number}-{field}-1.0.zip") for field in range(3_000))])


def _wide_text(_: int) -> bytes:
    """Text of which one letter makes each of the others take four bytes."""
    return _form([part("description", "\U0001f600".encode() + b"x" * 8_000_000)])


def _many_actions(_: int) -> bytes:
    return _form([part(":action", b"x" * 800)] * 3_000)


def _parameters(_: int) -> bytes:
    """Heads of parts that are slow to read."""
    return _form([part("a", b"", disposition="form-data" + ";a=b" * 1_900)] * 1_000)


FORMS = [_long_names, _long_file_names, _many_files, _wide_text, _many_actions, _parameters]


def _wheel(method: int, content: bytes = b"") -> bytes:
    """A wheel with METADATA of zeros, which pack well, or of another content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(INFO, content or bytes(64 * MEBIBYTE))
    return packed.getvalue()


def _directory(_: int = 0) -> bytes:
    """A wheel whose directory has 150,000 entries, each of one letter."""
    sound = _wheel(zipfile.ZIP_DEFLATED, b"Name: bomb\n")
    begin = sound.index(b"PK\x01\x02")
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"x"
    directory = entry * 150_000 + sound[begin : sound.index(b"PK\x05\x06")]
    end = b"PK\x05\x06" + struct.pack("<8xLLH", len(directory), begin, 0)
    return sound[:begin] + directory + end


def _sdist_of_headers() -> bytes:
    """A source distribution with a global header of a hundred thousand keys, and members that each get a copy."""
    records = b"".join(b"%d k%06d=v\n" % (13, number) for number in range(200_000))
    member = tarfile.TarInfo("pax_global_header")
    member.type, member.size = tarfile.XGLTYPE, len(records)
    empty = tarfile.TarInfo("x")
    empty.type, empty.size = tarfile.XHDTYPE, 10
    one = empty.tobuf(tarfile.USTAR_FORMAT) + b"10 a=bcde\n".ljust(512, b"\0")
    one += tarfile.TarInfo("y").tobuf(tarfile.USTAR_FORMAT)
    padded = records.ljust(-(-len(records) // 512) * 512, b"\0")
    return gzip.compress(member.tobuf(tarfile.USTAR_FORMAT) + padded + one * 3_000)


def _gzip_name() -> bytes:
    """A gzip file whose head holds a name of eight megabytes."""
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 8_000_000 + b"\0"


def _many_headers() -> bytes:
    """METADATA of nothing but headers."""
    return _wheel(zipfile.ZIP_DEFLATED, b"a:\n" * 690_000)


ARCHIVES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "lzma": ("-py3-none-any.whl", lambda: _wheel(zipfile.ZIP_LZMA)),
    "bzip2": ("-py3-none-any.whl", lambda: _wheel(zipfile.ZIP_BZIP2)),
    "deflate": ("-py3-none-any.whl", lambda: _wheel(zipfile.ZIP_DEFLATED)),
    "directory": ("-py3-none-any.whl", _directory),
    "headers": ("-py3-none-any.whl", _many_headers),
    "pax": (".tar.gz", _sdist_of_headers),
    "gzip": (".tar.gz", _gzip_name),
}


WITNESS = """
import http.client, select, sys, time
longest, connection = 0.0, http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    begun = time.perf_counter()
    connection.request("GET", "/simple/sound/")
    connection.getresponse().read()
    longest = max(longest, time.perf_counter() - begun)
print(longest)
"""


class Witness:
    """Another client, in a process of its own, which asks for a page all the time."""

    def __init__(self, server: Server) -> None:
        command = [sys.executable, "-c", WITNESS, str(server.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "begun\n"
        self.longest = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.longest = float(self._process.communicate("end\n", PATIENCE)[0])


def longest_wait() -> float:
    """How long anybody else may wait on this machine now, where others have work for the processors too."""
    return LONGEST_WAIT * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def peak(server: Server) -> int:
    """The most bytes of memory that a worker has had."""
    (pid,) = workers(server.process)
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("memory")
    with Server(directory) as server:
        wheel = make_wheel(directory, "sound", "1.0")
        assert upload(server.url, wheel.name, wheel.read_bytes()).ok
        yield server


@pytest.mark.parametrize("form", FORMS)
def test_no_form_takes_the_memory_or_the_time_of_others(server: Server, form: Callable[[int], bytes]) -> None:
    bodies = [form(number) for number in range(2)]

    def send(number: int) -> int:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return requests.post(f"{server.url}/", bodies[number % 2], headers=headers, timeout=60).status_code

    longest = longest_wait()
    with Witness(server) as witness, ThreadPoolExecutor(AT_ONCE) as pool:
        assert {status // 100 for status in pool.map(send, range(AT_ONCE))} <= {2, 4}
    assert peak(server) < MOST_MEMORY
    assert witness.longest < longest


@pytest.mark.parametrize("kind", ARCHIVES)
def test_no_archive_takes_the_memory_or_the_time_of_others(server: Server, kind: str) -> None:
    suffix, make = ARCHIVES[kind]
    content = make()

    def send(number: int) -> int:
        form = {"content": (f"{kind}{number}-1.0{suffix}", content)}
        assert requests.post(f"{server.url}/", {":action": "file_upload"}, files=form, timeout=60).ok
        page = f"{server.url}/simple/{kind}{number}/"
        return requests.get(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"}, timeout=60).status_code

    longest = longest_wait()
    with Witness(server) as witness, ThreadPoolExecutor(AT_ONCE) as pool:
        assert set(pool.map(send, range(AT_ONCE))) == {200}
    assert peak(server) < MOST_MEMORY
    assert witness.longest < longest
