"""Tell whether the audit trail in a folder is whole: `python3 verify.py FOLDER`.

It needs nothing but Python, so that a copy of the folder can be verified wherever that is kept. The exit status is 0 if
the trail is whole, 1 if it is not, 2 if there is none.
"""

from __future__ import annotations

import hashlib
import json
import sys
from os import SEEK_END
from pathlib import Path
from typing import Any

START = "start"
"""What the first line of a file says that it is about."""
BLOCK = 2**16
"""How many bytes at the end of a file are read first for its last line."""


def digest(line: bytes) -> str:
    """What the line after this one names."""
    return hashlib.sha256(line).hexdigest()


def end_of(path: Path) -> str:
    """The digest of the last whole line of a file, "" if there is none.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        begin = size = file.seek(0, SEEK_END)
        whole, length = b"", BLOCK
        # Files are large and lines are not, so it is looked for from the end.
        while begin and b"\n" not in whole:
            begin, length = max(0, size - length), length * 16
            file.seek(begin)
            whole = file.read(size - begin).rpartition(b"\n")[0]
    return digest(whole.rpartition(b"\n")[2]) if whole else ""


def named_in(path: Path) -> dict[str, str]:
    """The files whose ends the first line of a file names, and those ends.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return _ends(_record(file.readline()) or {})


def problems(directory: Path) -> list[str]:
    """What is wrong with the files of a folder, a line each.

    A last line that was cut off is none: the process ended while it wrote it.

    Raises:
        OSError: They cannot be read.
    """
    found: list[str] = []
    digests: dict[str, list[str]] = {}
    named: list[tuple[str, str, str]] = []
    for path in sorted(directory.glob("*.jsonl")):
        digests[path.name] = []
        previous = ""
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            record = _record(line)
            if record is None or record.get("previous") != previous:
                found.append(f"{path.name}, line {number}: it does not follow the line before it")
            elif (number == 1) != (record.get("audit") == START):
                found.append(f"{path.name}, line {number}: the first line, and no other, is the start of a file")
            elif number == 1:
                named += [(path.name, name, end) for name, end in _ends(record).items()]
            previous = digest(line)
            digests[path.name].append(previous)
    for by, name, end in named:
        if name not in digests:
            found.append(f"{name}: it is not there, and {by} names it")
        elif end not in digests[name]:
            found.append(f"{name}: the line is missing that was its last when {by} was begun")
    return found


def _ends(record: dict[str, Any]) -> dict[str, str]:
    ends = record.get("ends")
    return ends if isinstance(ends, dict) else {}


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def main(arguments: list[str]) -> int:
    """Print what is wrong, or how much there is."""
    directory = Path(arguments[0]) if len(arguments) == 1 else None
    files = sorted(directory.glob("*.jsonl")) if directory else []
    if directory is None or not files:
        print(f"no audit trail: {directory or 'give one folder'}", file=sys.stderr)  # noqa: T201
        return 2
    found = problems(directory)
    for each in found:
        print(each)  # noqa: T201
    if not found:
        lines = sum(path.read_bytes().count(b"\n") for path in files)
        print(f"whole: {len(files)} files, {lines} lines")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
