"""Wheels and source distributions as no builder makes them."""

from __future__ import annotations

import functools
import gzip
import io
import tarfile
import zipfile

from hypothesis import strategies as st

METADATA = (
    b"Metadata-Version: 2.1\nName: fuzzed\nVersion: 1.0\nRequires-Python: >=3\n",
    b"Requires-Python: banana\n",
    b"Requires-Python: >=3\n more\n\tmore\nRequires-Python: <3\n",
    b"Requires-Python: =?utf-8?b?4piD?= \xff\xfe\n",
    b"\0" * 1000,
    b"",
    b"A" * 3_000_000,
)


def _wheel(metadata: bytes, directory: str = "fuzzed-1.0.dist-info", *, twice: bool = False) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{directory}/METADATA", metadata)
        if twice:
            archive.writestr("other-1.dist-info/METADATA", metadata)
        archive.writestr(f"{directory}/RECORD", b"")
    return packed.getvalue()


def _sdist(metadata: bytes, directory: str = "fuzzed-1.0", kind: bytes = tarfile.REGTYPE) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo(f"{directory}/PKG-INFO")
        member.type, member.linkname = kind, "/etc/passwd"
        member.size = len(metadata) if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(metadata))
    return packed.getvalue()


@functools.cache
def archives() -> tuple[bytes, ...]:
    """Wheels and source distributions, sound ones and such as a reader of archives stumbles over."""
    wheels = [_wheel(metadata) for metadata in METADATA]
    sdists = [_sdist(metadata) for metadata in METADATA]
    bomb = gzip.compress(bytes(30_000_000), 9)
    # A directory that claims more entries and another place than there are.
    lying = wheels[0][:-12] + b"\xff" * 12
    encrypted = bytearray(wheels[0])
    encrypted[wheels[0].index(b"PK\x01\x02") + 8] |= 1
    unknown_method = wheels[0].replace(b"\x08\x00", b"\x63\x00")
    return (
        *wheels,
        *sdists,
        _wheel(METADATA[0], "../../etc/x.dist-info"),
        _wheel(METADATA[0], twice=True),
        _sdist(METADATA[0], kind=tarfile.SYMTYPE),
        _sdist(METADATA[0], kind=tarfile.GNUTYPE_SPARSE),
        bomb,
        lying,
        bytes(encrypted),
        unknown_method,
        b"PK\x05\x06" + b"\0" * 18,
        b"",
        b"content",
        bytes(range(256)) * 500,
    )


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """The bytes of a file: an archive, often cut or with bytes changed."""
    content = draw(st.sampled_from(archives()))
    damage = draw(st.integers(0, 5))
    if damage == 0 and content:
        return content[: draw(st.integers(0, len(content)))]
    if damage == 1 and content:
        changed = bytearray(content)
        for place, byte in draw(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=8)):
            changed[place % len(changed)] = byte
        return bytes(changed)
    # Names are unique, so most of what is accepted has a name of its own; so has its content.
    return content + draw(st.binary(max_size=4))
