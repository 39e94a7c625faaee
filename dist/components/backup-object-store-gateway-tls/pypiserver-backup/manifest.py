"""What a backup consists of: a file a run, with path, size, time and sha256 of everything that was there.

The first line says how many lines follow and what their sha256 is, so that half a manifest is known for one.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from backup.layout import MANIFESTS
from backup.problems import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOMENT = "%Y%m%dT%H%M%SZ"
"""How a moment is written, in UTC."""
_FORMS = {
    "%Y-%m-%d": timedelta(days=1),
    "%Y-%m-%dT%H:%MZ": timedelta(minutes=1),
    "%Y-%m-%dT%H:%M:%SZ": timedelta(seconds=1),
    MOMENT: timedelta(seconds=1),
}
"""How people may write one, and how long what they name is."""
FORM = 1
OWN = ".pypiserver/"
"""What the path of everything begins with that is no package."""
IDENTITY = ".pypiserver/volume"
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z\.jsonl")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """A file as it was."""

    path: str
    """Below the package directory."""
    size: int
    mtime_ns: int
    sha256: str
    stored: str
    """Where the store has it."""


@dataclass(frozen=True)
class Manifest:
    """All files of a run."""

    made: str
    """When, as in its name: 20261126T083000Z."""
    volume: str
    """The volume's identity."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """The files by path."""
    unread: tuple[str, ...] = ()
    """What could not be read; what is known of these from before is among the entries."""

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.made}.jsonl"

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def packages(self) -> int:
        """The number of files that are no records of the server's."""
        return sum(not path.startswith(OWN) for path in self.entries)

    def text(self) -> str:
        """What its file has in it."""
        rows = (self.entries[path] for path in sorted(self.entries))
        body = "".join(f"{json.dumps(asdict(row), separators=(',', ':'))}\n" for row in rows)
        head = {
            "form": FORM,
            "made": self.made,
            "volume": self.volume,
            "files": len(self.entries),
            "bytes": self.size,
            "unread": list(self.unread),
            "sha256": hashlib.sha256(body.encode()).hexdigest(),
        }
        return f"{json.dumps(head)}\n{body}"


def read(name: str, text: str) -> Manifest:
    """The manifest that a file of this name has.

    Raises:
        RunError: It is not whole, or none.
    """
    first, _, body = text.partition("\n")
    try:
        head = json.loads(first)
        if head["form"] != FORM:
            raise RunError("manifest", f"{name} has the form {head['form']}; this version reads {FORM}")
        if hashlib.sha256(body.encode()).hexdigest() != head["sha256"]:
            raise RunError("manifest", f"{name} is not whole: what follows its first line does not have the sha256")
        entries = [Entry(**json.loads(line)) for line in body.splitlines()]
        manifest = Manifest(
            str(head["made"]), str(head["volume"]), {each.path: each for each in entries}, tuple(head["unread"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError("manifest", f"{name} is no manifest: {error}") from error
    if len(manifest.entries) != head["files"] or manifest.size != head["bytes"]:
        raise RunError("manifest", f"{name} is not whole: it has {len(manifest.entries)} of {head['files']} files")
    for entry in entries:
        _check(name, entry)
    return manifest


def names(found: Iterable[str]) -> list[str]:
    """Those of these names that are manifests, the oldest first."""
    return sorted(name for name in found if _NAME.fullmatch(name))


def names_in(paths: Iterable[str]) -> list[str]:
    """Those of the paths of a store that are manifests, by name, the oldest first."""
    return names(path.removeprefix(f"{MANIFESTS}/") for path in paths if path.startswith(f"{MANIFESTS}/"))


def after(moment: str) -> str:
    """The second after a moment: two runs may fall into one, and a clock may be set back."""
    return (datetime.strptime(moment, MOMENT).replace(tzinfo=timezone.utc) + timedelta(seconds=1)).strftime(MOMENT)


def as_of(found: Iterable[str], moment: str) -> str | None:
    """The last of these names that is not after a moment of UTC, to the end of what it names; "" for the last of all.

    Raises:
        RunError: There is no such moment, or it is yet to come.
    """
    made = names(found)
    if moment:
        latest = f"{_end(moment).strftime(MOMENT)}.jsonl"
        made = [name for name in made if name <= latest]
    return made[-1] if made else None


def _end(moment: str) -> datetime:
    """The last second of what people have written."""
    begin, length = _span(moment)
    if begin > (now := datetime.now(timezone.utc)):
        raise RunError(
            "settings",
            f"RESTORE_AS_OF is {moment!r}, which is yet to come: it is {now:%Y-%m-%dT%H:%M:%SZ}; leave it out for the "
            "last backup of all",
        )
    return begin + length - timedelta(seconds=1)


def _span(moment: str) -> tuple[datetime, timedelta]:
    for form, length in _FORMS.items():
        with suppress(ValueError):
            begin = datetime.strptime(moment, form).replace(tzinfo=timezone.utc)
            # It takes figures of fewer digits too.
            if begin.strftime(form) == moment:
                return begin, length
    reason = "must be a date or a time of UTC that there is, such as 2026-11-26 or 2026-11-26T08:30:00Z"
    raise RunError("settings", f"RESTORE_AS_OF is {moment!r}; it {reason}")


def _check(name: str, entry: Entry) -> None:
    """Refuse an entry that could reach outside of the directory, or was written by something else."""
    parts = entry.path.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\n" in entry.path or "\0" in entry.path:
        raise RunError("manifest", f"{name} has a path that there cannot be: {entry.path!r}")
    if not _SHA256.fullmatch(entry.sha256):
        raise RunError("manifest", f"{name} has no sha256 of {entry.path}")
