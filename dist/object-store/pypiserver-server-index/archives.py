"""METADATA of wheels and PKG-INFO of source distributions, out of archives that anybody may have made.

zipfile makes an object of every entry that an archive claims to have, and unpacks a member as far as its module likes;
tarfile copies its global headers for each member. Here nothing is kept but the one member that is looked for, and
neither what is read nor what is unpacked exceeds a bound. The formats: PKWARE's APPNOTE.TXT (4.3, 4.5.3), RFC 1952,
and POSIX.1-2017 (pax).
"""

from __future__ import annotations

import re
import struct
import tarfile
import zlib
from os import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST = 2 * 2**20
"""How many bytes METADATA may have; the largest on PyPI have some hundred thousand."""
MOST_READ = 8 * 2**20
"""How many bytes a wheel's directory may have (some 60,000 files), and how many bytes of a source distribution, packed
and unpacked, are looked through."""
_CHUNK = 2**16

_METADATA = b".dist-info/METADATA"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_LONGER = 0xFFFFFFFF
"""Stands for a number that is in ZIP64's fields instead."""
_END = struct.Struct("<4s8x2LH")
_END64_PLACE = struct.Struct("<4s4xQ4x")
_END64 = struct.Struct("<4s36x2Q")
_ENTRY = struct.Struct("<4s4x2H4x3L3H8xL")
_LENGTHS = struct.Struct("<3H")
_MEMBER = struct.Struct("<4s22x2H")
_LONGEST_COMMENT = 0xFFFF

_PAX_PATH = re.compile(rb"(?:\A|\n)[0-9]+ path=([^\n]+)\n")
_WITHOUT_CONTENT = frozenset(
    {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE}
)


class ArchiveError(ValueError):
    """An archive that is broken, or beyond the bounds; the text says how."""


def reader(filename: str) -> Callable[[BinaryIO], bytes | None] | None:
    """What reads the metadata of a file of this name; None if such files are not read."""
    if filename.endswith(".whl"):
        return of_wheel
    return of_sdist if filename.endswith((".tar.gz", ".tgz")) else None


def of_wheel(file: BinaryIO) -> bytes | None:
    """METADATA, None if the wheel has not exactly one, or one that is too large.

    Raises:
        ArchiveError: It cannot be read.
        OSError: The volume failed.
    """
    directory, begin, shift = _directory(file)
    places = []
    at = 0
    while at < len(directory):
        if directory[at : at + 4] != b"PK\x01\x02" or at + _ENTRY.size > len(directory):
            raise ArchiveError("its directory is broken")
        name, extra, comment = _LENGTHS.unpack_from(directory, at + 28)
        end = at + _ENTRY.size + name
        if directory.endswith(_METADATA, at, end) and directory.count(b"/", at + _ENTRY.size, end) == 1:
            places.append(at)
        at = end + extra + comment
    if len(places) != 1:
        return None
    entry = _entry(directory, places[0])
    if max(entry.packed_size, entry.size) > LARGEST:
        return None
    # Only then a place that can be sought: the numbers are whatever the archive says.
    if shift + entry.place > begin:
        raise ArchiveError("its METADATA is not where its directory says")
    file.seek(shift + entry.place)
    return _unpacked(file, entry)


class _Entry(NamedTuple):
    """What a directory says about one member."""

    method: int
    checksum: int
    packed_size: int
    size: int
    place: int


def _entry(directory: bytes, at: int) -> _Entry:
    _, flags, method, checksum, packed, size, name, extra, _, place = _ENTRY.unpack_from(directory, at)
    if flags & _ENCRYPTED:
        raise ArchiveError("its METADATA is encrypted")
    fields = directory[at + _ENTRY.size + name :][:extra]
    while len(fields) >= 4:  # noqa: PLR2004 - a number and a length
        kind, length = struct.unpack_from("<2H", fields)
        if kind == 1:
            longer = (value for (value,) in struct.iter_unpack("<Q", fields[4 : 4 + length // 8 * 8]))
            # In this order, and only those that did not fit.
            size = next(longer, size) if size == _LONGER else size
            packed = next(longer, packed) if packed == _LONGER else packed
            place = next(longer, place) if place == _LONGER else place
        fields = fields[4 + length :]
    return _Entry(method, checksum, packed, size, place)


def _unpacked(file: BinaryIO, entry: _Entry) -> bytes:
    signature, name, extra = _unpack(_MEMBER, file.read(_MEMBER.size))
    if signature != b"PK\x03\x04":
        raise ArchiveError("its METADATA is not where its directory says")
    file.seek(name + extra, 1)
    content = file.read(entry.packed_size)
    if entry.method == _DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, LARGEST + 1)
        except zlib.error as error:
            raise ArchiveError(f"its METADATA cannot be unpacked: {error}") from error
    elif entry.method != _STORED:
        # bzip2, LZMA and Zstandard unpack a kilobyte to gigabytes; builders of wheels use none of them.
        raise ArchiveError(f"its METADATA is packed by method {entry.method}: only 0 and 8 (deflate) are read")
    if len(content) != entry.size or zlib.crc32(content) != entry.checksum:
        raise ArchiveError("its METADATA is damaged")
    return content


def _directory(file: BinaryIO) -> tuple[bytes, int, int]:
    """The directory at the end of a ZIP archive, where it begins, and how many bytes stand before the archive."""
    length = file.seek(0, SEEK_END)
    begin = max(length - _END.size - _LONGEST_COMMENT, 0)
    file.seek(begin)
    tail = file.read(length - begin)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0:
        raise ArchiveError("it is no ZIP archive")
    _, size, place, _ = _unpack(_END, tail[found:])
    end = begin + found
    before = tail[max(found - _END64_PLACE.size, 0) : found]
    if before.startswith(b"PK\x06\x07"):
        _, place = _unpack(_END64_PLACE, before)
        end = min(place, length)
        file.seek(end)
        signature, size, place = _unpack(_END64, file.read(_END64.size))
        if signature != b"PK\x06\x06":
            raise ArchiveError("its end is broken")
    shift = end - size - place
    if shift < 0:
        raise ArchiveError("its directory is not where its end says")
    if size > MOST_READ:
        raise ArchiveError(f"its directory has more than {MOST_READ} bytes")
    file.seek(shift + place)
    return file.read(size), shift + place, shift


def _unpack(form: struct.Struct, content: bytes) -> tuple[Any, ...]:
    if len(content) < form.size:
        raise ArchiveError("it is cut short")
    return form.unpack_from(content)


def of_sdist(file: BinaryIO) -> bytes | None:
    """PKG-INFO of a `.tar.gz`, None if it has none within the first bytes, or one that is too large.

    Raises:
        ArchiveError: It cannot be read.
        OSError: The volume failed.
    """
    unpacked = _Gunzip(file)
    name = None
    while True:
        block = unpacked.read(tarfile.BLOCKSIZE)
        if not block.strip(b"\0"):
            return None
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ArchiveError(f"it has a broken header: {error}") from error
        if member.size < 0 or member.type == tarfile.GNUTYPE_SPARSE:
            # More headers would follow, which no builder makes.
            raise ArchiveError("it has a member of no sound size")
        left = 0 if member.type in _WITHOUT_CONTENT else -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if member.type in {tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME} and left <= _CHUNK:
            head = unpacked.read(left)[: member.size]
            found = _PAX_PATH.search(head) if member.type == tarfile.XHDTYPE else None
            name = found[1] if found else head.rstrip(b"\0") if member.type == tarfile.GNUTYPE_LONGNAME else name
            continue
        path = member.name if name is None else name.decode("utf-8", "surrogateescape")
        name = None
        if member.isreg() and path.count("/") == 1 and path.endswith("/PKG-INFO"):
            return _whole(unpacked, member.size) if member.size <= LARGEST else None
        unpacked.skip(left)


def _whole(unpacked: _Gunzip, size: int) -> bytes:
    content = unpacked.read(size)
    if len(content) != size:
        raise ArchiveError("it is cut short")
    return content


class _Gunzip:
    """The first bytes of a gzip file, unpacked; GzipFile reads a name in its head byte by byte, however long it is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._left = self._packed_left = MOST_READ
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end."""
        while len(self._held) < size and self._more():
            pass
        content = bytes(self._held[:size])
        del self._held[:size]
        return content

    def skip(self, size: int) -> None:
        """Go on."""
        while size > 0 and (skipped := len(self.read(min(size, _CHUNK)))):
            size -= skipped

    def _more(self) -> bool:
        packed = self._gzip.unconsumed_tail
        if not packed and not self._gzip.eof:
            packed = self._file.read(_CHUNK)
            self._packed_left -= len(packed)
        if not packed:
            return False
        try:
            block = self._gzip.decompress(packed, _CHUNK)
        except zlib.error as error:
            raise ArchiveError(f"it cannot be unpacked: {error}") from error
        self._left -= len(block)
        if min(self._left, self._packed_left) < 0:
            raise ArchiveError(f"it does not show its metadata within the first {MOST_READ} bytes")
        self._held += block
        return True
