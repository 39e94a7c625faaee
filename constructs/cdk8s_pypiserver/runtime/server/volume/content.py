"""What files on the volume have in common."""

from __future__ import annotations

from typing import NamedTuple

CHUNK = 2**20
"""How many bytes are read at a time."""
SETTLED_NS = 2_000_000_000
"""How old a directory's time of change must be to prove that nothing has changed since it was listed.

Kernels count it in ticks of some milliseconds, some file systems in seconds.
"""


class Stamp(NamedTuple):
    """What tells one content of a file from another."""

    size: int
    mtime_ns: int
