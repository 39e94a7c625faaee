"""Archives as no builder makes them, next to those that builders make: read as zipfile reads them, or not at all."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, BinaryIO

import pytest

from server.index import archives
from server.index.archives import ArchiveError, of_sdist, of_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 2**20
INFO = "a-1.0.dist-info/METADATA"
METADATA = b"Metadata-Version: 2.1\nName: a\nVersion: 1.0\n"
ENTRY = b"PK\x01\x02" + bytes(24) + b"\1\0" + bytes(16) + b"x"
"""An entry of a wheel's directory, of a member x."""


def wheel(
    content: bytes = METADATA, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", **members: bytes
) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, other in members.items():
            archive.writestr(name, other)
        archive.writestr(INFO, content)
        archive.comment = comment
    return packed.getvalue()


def with_entries(number: int) -> bytes:
    """A wheel with so many entries in its directory, beside that of METADATA."""
    sound = wheel()
    begin, end = sound.index(b"PK\x01\x02"), sound.index(b"PK\x05\x06")
    directory = ENTRY * number + sound[begin:end]
    return sound[:begin] + directory + b"PK\x05\x06" + struct.pack("<8xLLH", len(directory), begin, 0)


def damaged(place: bytes, offset: int, value: bytes) -> bytes:
    content = bytearray(wheel())
    at = content.rindex(place) + offset
    content[at : at + len(value)] = value
    return bytes(content)


def header(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, len(content)
    return member.tobuf(tarfile.USTAR_FORMAT) + content.ljust(-(-len(content) // 512) * 512, b"\0")


def sdist(*members: bytes) -> bytes:
    return gzip.compress(b"".join(members) + bytes(1024), 1)


@pytest.mark.parametrize(
    "content",
    [
        wheel(),
        wheel(method=zipfile.ZIP_STORED),
        wheel(comment=b"PK" * 1000, x=bytes(9), y=bytes(99)),
        b"#!/usr/bin/python\n" + wheel(),
        with_entries(0),
    ],
)
def test_metadata_is_what_zipfile_finds(content: bytes) -> None:
    assert of_wheel(io.BytesIO(content)) == METADATA == zipfile.ZipFile(io.BytesIO(content)).read(INFO)


def test_a_wheel_with_the_fields_of_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 0)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x", bytes(99))
        with archive.open(INFO, "w", force_zip64=True) as member:
            member.write(METADATA)
    assert b"PK\x06\x06" in packed.getvalue()
    assert of_wheel(packed) == METADATA


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_source_distribution_with_a_name_in_an_extended_header(form: int) -> None:
    packed = io.BytesIO()
    long = f"{'a' * 120}-1.0/PKG-INFO"
    with tarfile.open(fileobj=packed, mode="w:gz", format=form) as archive:
        for name in ("a/b", long, "c/PKG-INFO"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(name), 1.5
            archive.addfile(member, io.BytesIO(name.encode()))
    packed.seek(0)
    assert of_sdist(packed) == long.encode()


def test_what_is_no_file_has_no_content() -> None:
    info = header("a-1.0/PKG-INFO", content=METADATA)
    assert of_sdist(io.BytesIO(sdist(header("a-1.0", tarfile.DIRTYPE), header("x", content=b"x"), info))) == METADATA
    assert of_sdist(io.BytesIO(sdist(header("a-1.0/PKG-INFO", tarfile.SYMTYPE)))) is None
    assert of_sdist(io.BytesIO(gzip.compress(b""))) is None


BOMBS: dict[str, tuple[Callable[[BinaryIO], bytes | None], Callable[[], bytes], str]] = {
    "lzma": (of_wheel, lambda: wheel(bytes(archives.LARGEST), zipfile.ZIP_LZMA), "method 14"),
    "bzip2": (of_wheel, lambda: wheel(bytes(archives.LARGEST), zipfile.ZIP_BZIP2), "method 12"),
    "zstandard": (of_wheel, lambda: damaged(b"PK\x01\x02", 10, struct.pack("<H", 93)), "method 93"),
    "a lying size": (of_wheel, lambda: damaged(b"PK\x01\x02", 24, b"\1\0\0\0"), "damaged"),
    "a lying checksum": (of_wheel, lambda: damaged(b"PK\x01\x02", 16, b"\1\0\0\0"), "damaged"),
    "a place far away": (of_wheel, lambda: damaged(b"PK\x01\x02", 42, b"\xfe\xff\xff\xff"), "not where"),
    "a directory far away": (of_wheel, lambda: damaged(b"PK\x05\x06", 16, b"\xfe\xff\xff\xff"), "not where"),
    "too large a directory": (of_wheel, lambda: with_entries(200_000), "directory has more than"),
    "zip64 far away": (
        of_wheel,
        lambda: wheel()[:-22] + struct.pack("<4s4xQ4x", b"PK\x06\x07", 2**64 - 1) + wheel()[-22:],
        "cut short",
    ),
    "gigabytes": (of_sdist, lambda: sdist(header("x", content=bytes(30 * MEBIBYTE))), "within the first"),
    "a long name in the head": (
        of_sdist,
        lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 9 * MEBIBYTE,
        "within the first",
    ),
    "headers without end": (
        of_sdist,
        lambda: sdist(header("g", tarfile.XGLTYPE, b"13 k000000=v\n" * 300_000), header("x", tarfile.XHDTYPE) * 20_000),
        "within the first",
    ),
    "a sparse file": (of_sdist, lambda: sdist(header("x", tarfile.GNUTYPE_SPARSE)), "no sound size"),
    "a broken number": (of_sdist, lambda: sdist(header("x")[:124] + b"z" * 12 + header("x")[136:]), "broken header"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_is_made_to_grow_is_read_within_bounds(kind: str) -> None:
    read, make, reason = BOMBS[kind]
    content = io.BytesIO(make())
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=reason):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 2 * archives.MOST_READ
    finally:
        tracemalloc.stop()


def test_many_entries_take_no_room() -> None:
    content = io.BytesIO(with_entries(150_000))
    tracemalloc.start()
    try:
        assert of_wheel(content) == METADATA
        assert tracemalloc.get_traced_memory()[1] < 2 * archives.MOST_READ
    finally:
        tracemalloc.stop()
