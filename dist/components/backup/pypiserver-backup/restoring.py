"""Bringing back what a manifest names, into an empty registry or into one that goes on serving."""

from __future__ import annotations

import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backup import manifest
from backup.keeping import FILES, FOLDERS, VERSIONS
from backup.manifest import IDENTITY, OWN, Entry, Manifest
from backup.problems import RunError
from backup.source import digest_of
from server.index.identity import identity
from server.publish.direct import Direct
from server.publish.link import Link
from server.volume.content import CHUNK
from server.volume.durable import UnsuitableVolumeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Literal

    from backup.source import Volume
    from backup.store import Store

RESTORING = ".pypiserver/restoring"
"""Where files are until they have been compared with the manifest; nobody lists dot names."""
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05
_VERIFIERS = 2
_SHOWN = 20
_log = logging.getLogger("restore")


@dataclass
class Plan:
    """What is to be done."""

    manifest: Manifest
    missing: list[Entry] = field(default_factory=list)
    """Not on the volume."""
    differing: list[Entry] = field(default_factory=list)
    """There with other content, or under another name of the same file."""
    same: int = 0
    """Already there."""
    further: int = 0
    """Packages on the volume that the manifest does not name; they stay."""

    def report(self) -> str:
        """What people read before they go on."""
        size = sum(entry.size for entry in self.missing)
        lines = [
            f"backup of {self.manifest.made}: {len(self.manifest.entries)} files, {self.manifest.size} bytes",
            f"to be restored: {len(self.missing)} files, {size} bytes",
            f"already there: {self.same}",
            f"there with other content: {len(self.differing)}",
            f"there and not in this backup, left as they are: {self.further}",
        ]
        lines += [f"  differs: {entry.path}" for entry in self.differing[:_SHOWN]]
        return "\n".join(lines)


class Restore:
    """A run, which can be repeated: what is there already is not fetched again."""

    def __init__(self, volume: Volume, store: Store) -> None:
        """Copy from `store` to `volume`."""
        self._volume = volume
        self._root = volume.root
        self._store = store
        self._direct: Direct | None = None
        self._damaged: list[str] = []

    def plan(self, moment: str, *, incomplete: bool = False) -> Plan:
        """Compare the volume with the last manifest that is not after a moment.

        Args:
            moment: A date or time of UTC; "" for the last manifest of all.
            incomplete: Whether a backup will do that is not of everything there was.

        Raises:
            RunError: There is no such manifest, or the store does not have all that it names.
        """
        there = self._store.everything(FOLDERS)
        found = manifest.names_in(there)
        name = manifest.as_of(found, moment)
        if name is None:
            raise RunError(
                "missing", f"{self._store.fs} has no backup of {moment or 'any time'}: {len(found)} manifests"
            )
        text = self._store.read(f"{manifest.FOLDER}/{name}")
        chosen = manifest.read(name, text or "")
        if chosen.unread and not incomplete:
            told = ", ".join(chosen.unread[:_SHOWN])
            raise RunError(
                "incomplete",
                f"{name} is not of everything there was ({told}): choose another, or say that it will do "
                "(RESTORE_INCOMPLETE=yes)",
            )
        absent = [entry.path for entry in chosen.entries.values() if there.get(entry.stored) != entry.size]
        if absent:
            told = ", ".join(absent[:_SHOWN])
            raise RunError("incomplete", f"the store no longer has {len(absent)} files of {name}: {told}")
        return self._compared(chosen)

    def run(self, plan: Plan, *, differing: Literal["refuse", "keep", "replace"] = "refuse") -> int:
        """Bring back what is missing, and return how many files that were.

        Raises:
            RunError: Something differs and nobody said what to do, or not everything could be brought back.
        """
        if plan.differing and differing == "refuse":
            raise RunError(
                "differs",
                f"{len(plan.differing)} files are there with other content, {plan.differing[0].path} among them; "
                "nothing was restored: say RESTORE_DIFFERING=keep to leave them, or =replace to have the backup's",
            )
        wanted = plan.missing + (plan.differing if differing == "replace" else [])
        self._check_space(wanted)
        try:
            Link(self._root).check()
        except UnsuitableVolumeError:
            # As in a mounted bucket.
            self._direct = Direct(self._root)
        replaced = frozenset(entry.path for entry in plan.differing)
        # Records first: no version is shown for a moment that had been withdrawn.
        for records in (True, False):
            self._bring([entry for entry in wanted if entry.path.startswith(OWN) == records], replaced)
        os.sync()
        with suppress(OSError):
            shutil.rmtree(self._root / RESTORING)
        if self._damaged:
            told = ", ".join(self._damaged[:_SHOWN])
            raise RunError("damaged", f"{len(self._damaged)} files of the store are not what was backed up: {told}")
        return len(wanted)

    def _compared(self, chosen: Manifest) -> Plan:
        plan = Plan(chosen)
        seen = self._volume.files()
        packages = {identity(path.rpartition("/")[2]): path for path in seen if not path.startswith(OWN)}
        unsure = []
        for path, entry in chosen.entries.items():
            twin = None if path.startswith(OWN) else packages.get(identity(path.rpartition("/")[2]))
            if path == IDENTITY and path in seen:
                # It says which volume this is.
                plan.same += 1
            elif path not in seen:
                (plan.differing if twin else plan.missing).append(entry)
            elif seen[path].size != entry.size:
                plan.differing.append(entry)
            elif (known := self._volume.known_digest(path, seen[path])) is None:
                unsure.append(path)
            elif known == entry.sha256:
                plan.same += 1
            else:
                plan.differing.append(entry)
        for path, digest in self._volume.digests(unsure):
            if digest == chosen.entries[path].sha256:
                plan.same += 1
            else:
                plan.differing.append(chosen.entries[path])
        plan.further = sum(path not in chosen.entries and not path.startswith(OWN) for path in seen)
        return plan

    def _check_space(self, wanted: Iterable[Entry]) -> None:
        needed = sum(entry.size for entry in wanted)
        found = os.statvfs(self._root)
        if needed > (free := found.f_bavail * found.f_frsize):
            raise RunError("full", f"the volume has {free} bytes left, and {needed} are to be restored; nothing was")

    def _bring(self, entries: list[Entry], replaced: frozenset[str]) -> None:
        for folder in (FILES, VERSIONS):
            waiting = {
                entry.stored.removeprefix(f"{folder}/"): entry
                for entry in entries
                if entry.stored.startswith(f"{folder}/")
            }
            damaged: set[str] = set()
            for attempt in range(1, _ATTEMPTS + 1):
                if not waiting:
                    break
                try:
                    damaged = self._receive(folder, waiting, replaced)
                except RunError:
                    if attempt == _ATTEMPTS:
                        raise
                    _log.warning("the store failed; %d files are still to come", len(waiting))
            self._damaged += sorted(waiting[name].path for name in damaged)

    def _receive(self, folder: str, waiting: dict[str, Entry], replaced: frozenset[str]) -> set[str]:
        """Fetch files, and give each its place as soon as it is whole.

        Args:
            folder: Where the store has them.
            waiting: Those that are still to come, by name.
            replaced: Paths at which there is something that differs.

        Returns:
            Those that came, and are not what they should be; on their way or in the store.
        """
        directory = self._root / RESTORING / folder
        directory.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_VERIFIERS) as pool:

            def place() -> set[str]:
                came = [name for name in _names(directory, "") if name in waiting]
                whole = list(pool.map(lambda name: self._place(directory / name, waiting[name], replaced), came))
                for name, is_whole in zip(came, whole, strict=True):
                    if is_whole:
                        del waiting[name]
                return {name for name in came if name in waiting}

            # Of a run that was ended: what is whole is not asked for again.
            place()
            damaged: set[str] = set()
            if not waiting:
                return damaged
            with self._store.receiving(folder, directory, sorted(waiting)) as process:
                while process.poll() is None:
                    damaged |= place()
                    time.sleep(_PAUSE_SECONDS)
                damaged |= place()
        if absent := waiting.keys() - damaged:
            raise RunError("store", f"the store has given {min(absent)} in no attempt")
        return damaged

    def _place(self, staged: Path, entry: Entry, replaced: frozenset[str]) -> bool:
        """Give a file its place, if it is what the manifest says; whether it is."""
        digest = digest_of(staged)
        # The kernel begins to write it, so that little is left to wait for at the end; only it knows whether it can.
        with suppress(OSError), staged.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if digest != entry.sha256:
            staged.unlink()
            return False
        final = self._root / entry.path
        final.parent.mkdir(parents=True, exist_ok=True)
        staged.chmod(0o644)
        # Before anybody sees it: the index shows it as the time of the upload. Not every mount knows times.
        with suppress(OSError):
            os.utime(staged, ns=(entry.mtime_ns, entry.mtime_ns))
        try:
            if entry.path in replaced:
                self._replace(staged, final, entry)
            elif self._direct is None:
                os.link(staged, final)
            elif "/" in entry.path:
                _write(staged, final)
            else:
                self._direct.publish(entry.path, _blocks(staged))
        except FileExistsError:
            # Somebody has just published it.
            if digest_of(final) != entry.sha256:
                raise RunError("differs", f"{entry.path} has come with other content meanwhile; it stays") from None
        if self._direct is not None:
            with suppress(OSError):
                os.utime(final, ns=(entry.mtime_ns, entry.mtime_ns))
        with suppress(FileNotFoundError):
            staged.unlink()
        return True

    def _replace(self, staged: Path, final: Path, entry: Entry) -> None:
        for twin in self._twins(entry.path):
            twin.unlink()
        if self._direct is None:
            staged.replace(final)
            return
        final.unlink(missing_ok=True)
        _write(staged, final)

    def _twins(self, path: str) -> list[Path]:
        """Other names of the same file, which nobody could install beside it."""
        if path.startswith(OWN):
            return []
        directory, _, name = path.rpartition("/")
        own = identity(name)
        found = (self._root / directory).iterdir()
        return [
            each for each in found if each.name != name and not each.name.startswith(".") and identity(each.name) == own
        ]


def _names(directory: Path, below: str) -> Iterator[str]:
    """The files below a directory."""
    with os.scandir(directory / below) as entries:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in inside:
        path = f"{below}/{name}" if below else name
        if is_directory:
            yield from _names(directory, path)
        else:
            yield path


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            yield block


def _write(staged: Path, final: Path) -> None:
    """Write a file that is not there yet, on a mount that has no links."""
    with final.open("xb") as file:
        file.writelines(_blocks(staged))
        file.flush()
        os.fsync(file.fileno())
