"""What must not change while hostile input comes in: the workers, their memory, the files around the packages."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from server.index import findings, removed
from server.volume import lock, marker, registry, writer

if TYPE_CHECKING:
    import subprocess

MEBIBYTE = 2**20


def workers(master: subprocess.Popen[bytes] | None) -> frozenset[int]:
    """The processes that a master has started to work: not those that look after nginx, or after its cache."""
    assert master
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
    return frozenset(int(child) for child in children if not re.search(b"cache|start.sh|^$", _command(child)))


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        # It has ended meanwhile.
        return b""


def memory(pids: frozenset[int]) -> int:
    """The bytes that processes hold in memory and share with no other process."""
    return sum(_private(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids)


KEPT = ("gateway/", lock.FILE, marker.FILE, registry.FILE, writer.FILE)
"""What is there as long as a program runs: nginx's files in the scratch space, and the server's own on the volume."""


def files(directory: Path) -> frozenset[str]:
    """The paths of all files below a directory, but for those that are kept while programs run."""
    paths = (str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())
    return frozenset(path for path in paths if not path.startswith(KEPT))


def stored(packages: Path) -> list[str]:
    """The names of all files on a volume, hidden ones too, but for what the server knows of it and of them."""
    kept = tuple(f".pypiserver/{directory}/" for directory in (findings.DIRECTORY, removed.DIRECTORY))
    return sorted(PurePath(path).name for path in files(packages) if not path.startswith(kept))


def _private(rollup: str) -> int:
    lines = (line.split() for line in rollup.splitlines() if line.startswith("Private_"))
    return sum(int(kilobytes) * 1024 for _, kilobytes, *_ in lines)
