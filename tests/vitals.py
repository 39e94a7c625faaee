"""What must not change while hostile input comes in: the workers, their memory, the files around the packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

MEBIBYTE = 2**20


def workers(master: subprocess.Popen[bytes] | None) -> frozenset[int]:
    """The processes that a master has started to work; nginx also starts one that reads its cache and ends."""
    assert master
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
    return frozenset(int(child) for child in children if b"cache" not in Path(f"/proc/{child}/cmdline").read_bytes())


def memory(pids: frozenset[int]) -> int:
    """The bytes that processes hold in memory and share with no other process."""
    return sum(_private(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids)


KEPT = ("gateway/", ".pypiserver/in-use", ".pypiserver/volume")
"""What is there as long as a program runs: nginx's files in the scratch space, and the server's own on the volume."""


def files(directory: Path) -> frozenset[str]:
    """The paths of all files below a directory, but for those that are kept while programs run."""
    paths = (str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())
    return frozenset(path for path in paths if not path.startswith(KEPT))


def _private(rollup: str) -> int:
    lines = (line.split() for line in rollup.splitlines() if line.startswith("Private_"))
    return sum(int(kilobytes) * 1024 for _, kilobytes, *_ in lines)
