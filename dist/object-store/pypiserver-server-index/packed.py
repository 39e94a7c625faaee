"""What is known of a file, packed for as long as nobody asks: a hundred thousand files take half of the memory by that.

What is not of the usual form is kept as it is.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, TypeAlias

from server.volume.content import Stamp

_STAMP = struct.Struct("<qq")
_PREFIX = "sha256="
_SHA256_BYTES = 32
_NOTHING = b"\xff"
"""In the place of text that is not there; no UTF-8 has it."""


class Core(NamedTuple):
    """What the index says about the inside of a file."""

    metadata: str | None
    """The sha256 of a wheel's METADATA; None if it has none that can be read."""
    requires_python: str | None


PackedStamp: TypeAlias = "bytes | Stamp"
PackedDigest: TypeAlias = "bytes | str | None"
PackedCore: TypeAlias = "bytes | Core | None"


def pack_stamp(stamp: Stamp) -> PackedStamp:
    """Pack a stamp."""
    try:
        return _STAMP.pack(*stamp)
    except struct.error:
        return stamp


def unpack_stamp(held: PackedStamp) -> Stamp:
    """Make the stamp again."""
    return Stamp(*_STAMP.unpack(held)) if isinstance(held, bytes) else held


def pack_digest(digest: str | None) -> PackedDigest:
    """Pack a digest as a link to the file carries it."""
    if digest and digest.startswith(_PREFIX):
        return _bytes_of(digest.removeprefix(_PREFIX)) or digest
    return digest


def unpack_digest(held: PackedDigest) -> str | None:
    """Make the digest again."""
    return f"{_PREFIX}{held.hex()}" if isinstance(held, bytes) else held


def pack_core(core: Core | None) -> PackedCore:
    """Pack what is known of the inside."""
    if core is None:
        return None
    sha256 = _bytes_of(core.metadata or "")
    if core.metadata is not None and sha256 is None:
        return core
    try:
        text = _NOTHING if core.requires_python is None else core.requires_python.encode()
    except UnicodeEncodeError:
        return core
    return bytes([sha256 is not None]) + (sha256 or b"") + text


def unpack_core(held: PackedCore) -> Core | None:
    """Make it again."""
    if not isinstance(held, bytes):
        return held
    end = 1 + _SHA256_BYTES * held[0]
    text = held[end:]
    return Core(held[1:end].hex() or None, None if text == _NOTHING else text.decode())


def _bytes_of(sha256: str) -> bytes | None:
    """The bytes of a digest that can be made of them again, None if it cannot."""
    try:
        found = bytes.fromhex(sha256)
    except ValueError:
        return None
    return found if len(found) == _SHA256_BYTES and found.hex() == sha256 else None
