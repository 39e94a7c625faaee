"""What is known of a file is the same after it was packed, and takes less memory if it is of the usual form."""

from __future__ import annotations

import sys

import pytest

from server.index.packed import Core, pack_core, pack_digest, pack_stamp, unpack_core, unpack_digest, unpack_stamp
from server.volume.content import Stamp

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "stamp", [Stamp(0, 0), Stamp(2**40, 10**18 + 1), Stamp(1, -1), Stamp(2**64, 0), Stamp(0, 10**30)], ids=str
)
def test_a_stamp_stays_as_it_is(stamp: Stamp) -> None:
    assert unpack_stamp(pack_stamp(stamp)) == stamp


@pytest.mark.parametrize(
    "digest",
    [
        None,
        "",
        "sha256=",
        f"sha256={SHA256}",
        f"sha256={SHA256.upper()}",
        f"sha256={SHA256[2:]}",
        f"sha256={SHA256} ",
        f"sha512={SHA256}",
        'sha256="<script>',
    ],
)
def test_a_digest_stays_as_it_is(digest: str | None) -> None:
    assert unpack_digest(pack_digest(digest)) == digest


@pytest.mark.parametrize("metadata", [None, "", SHA256, SHA256.upper(), SHA256[2:], "another form"])
@pytest.mark.parametrize("requires_python", [None, "", ">=3.10", "≥3", "\udcff", "\x00"], ids=ascii)
def test_what_is_known_of_the_inside_stays_as_it_is(metadata: str | None, requires_python: str | None) -> None:
    core = Core(metadata, requires_python)
    assert unpack_core(pack_core(core)) == core


def test_nothing_that_is_known_is_not_nothing_to_be_known() -> None:
    assert unpack_core(pack_core(None)) is None
    assert unpack_core(pack_core(Core(None, None))) == Core(None, None)


def test_the_usual_form_takes_half_of_the_memory() -> None:
    stamp, digest, core = Stamp(50_000, 10**18), f"sha256={SHA256}", Core(SHA256, ">=3.10")
    plain = sum(map(sys.getsizeof, (stamp, *stamp, digest, core, *core)))
    assert sum(map(sys.getsizeof, (pack_stamp(stamp), pack_digest(digest), pack_core(core)))) < plain / 2
