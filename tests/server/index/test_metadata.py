from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from gateway_programs import make_sdist, make_wheel
from server.http.bottle import HTTPError
from server.index import archives
from server.index.listing import Listing
from server.index.metadata import Metadata
from server.index.packed import Core
from server.volume.content import Stamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.index.listing import Entry

NOTHING = Core(None, None)


class Dead(io.BytesIO):
    """A file on a volume that fails after it was opened."""

    def read(self, _: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def listed(name: str) -> Entry:
    listing = Listing()
    listing.add("", name, Stamp(0, 0))
    entry = listing.at(name)
    assert entry
    return entry


def read(path: Path) -> Core:
    return Metadata(path.parent, lambda: None).of(listed(path.name))


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_wheel_says_what_is_in_its_metadata(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "a", "1.0", b"\0" * 3 * archives.MOST_READ, headers="Requires-Python: >=3.8, <4\n")
    content = zipfile.ZipFile(path).read("a-1.0.dist-info/METADATA")
    assert read(path) == Core(hashlib.sha256(content).hexdigest(), ">=3.8, <4")
    assert Metadata(tmp_path, lambda: None).content(listed(path.name)) == content


def test_a_source_distribution_says_which_python_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name, python in {"a-1.0/src/PKG-INFO": ">=2", "a-1.0/PKG-INFO": ">=3"}.items():
            content = f"Requires-Python: {python}\n".encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    assert read(path) == Core(None, ">=3")
    assert read(make_sdist(tmp_path, "b", "1.0")) == NOTHING


INFO = "a-1.0.dist-info/METADATA"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"a/METADATA": b"Requires-Python: >=3\n"},
        {INFO: b"one", "b-1.0.dist-info/METADATA": b"two"},
        {INFO: b" " * (archives.LARGEST + 1)},
    ],
)
def test_a_wheel_without_metadata_that_counts(tmp_path: Path, members: dict[str, bytes]) -> None:
    assert read(archive(tmp_path / "a-1.0-py3-none-any.whl", members)) == NOTHING


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "inside", "directory", "method"])
def test_a_broken_wheel_shows_nothing(tmp_path: Path, damage: str) -> None:
    path = archive(tmp_path / "a-1.0-py3-none-any.whl", {INFO: b"Requires-Python: >=3\n" * 99})
    content = bytearray(path.read_bytes())
    if damage == "empty":
        content.clear()
    elif damage == "text":
        content[:] = b"content"
    elif damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "inside":
        content[70:75] = b"\xff" * 5
    elif damage == "directory":
        place = content.rindex(b"PK\x05\x06") + 12
        content[place : place + 4] = struct.pack("<L", 2**32 - 2)
    else:
        place = content.index(b"PK\x01\x02") + 10
        content[place : place + 2] = b"\x63\0"
    path.write_bytes(content)
    assert read(path) == NOTHING


@pytest.mark.parametrize("content", [b"", b"content", b"\x1f\x8b\x08" + bytes(40)])
def test_a_broken_source_distribution_shows_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a-1.0.tar.gz"
    path.write_bytes(content)
    assert read(path) == NOTHING


def test_what_is_unpacked_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name, size in {"a-1.0/zeros": 4 * archives.MOST_READ, "a-1.0/PKG-INFO": 0}.items():
            member = tarfile.TarInfo(name)
            member.size = size
            file.addfile(member, io.BytesIO(bytes(size)))
    assert read(path) == NOTHING


@pytest.mark.parametrize("value", ["three", ">=3; rm", "\xe9", ""])
def test_a_python_that_cannot_be_understood_is_left_out(tmp_path: Path, value: str) -> None:
    core = read(make_wheel(tmp_path, "a", "1.0", headers=f"Requires-Python: {value}\n"))
    assert core.metadata
    assert core.requires_python is None


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.with_name("elsewhere"))])
def test_what_somebody_has_put_in_the_place_of_a_wheel_is_not_read(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = make_wheel(tmp_path, "a", "1.0")
    path.rename(tmp_path / "elsewhere")
    make(path)
    with pytest.raises(HTTPError) as caught:
        Metadata(tmp_path, lambda: None).of(listed(path.name))
    assert caught.value.body == "a-1.0-py3-none-any.whl cannot be read: It is no file"


def test_a_volume_that_fails_is_no_broken_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_wheel(tmp_path, "a", "1.0")
    entry = listed(path.name)
    with pytest.raises(HTTPError) as caught:
        Metadata(tmp_path, lambda: "it hangs", lambda _: pytest.fail("the volume is asked")).of(entry)
    assert caught.value.status_code == 503

    def dead(*_: object, **__: object) -> object:
        return Dead(bytes(99))

    monkeypatch.setattr(type(path), "open", dead)
    with pytest.raises(HTTPError) as caught:
        Metadata(tmp_path, lambda: None).of(entry)
    assert caught.value.status_code == 503
    assert entry.core is None
