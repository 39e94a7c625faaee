"""A backup: what is new goes to the store, then a manifest of everything; what is there is never replaced."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backup import guard, manifest
from backup.manifest import Entry, Manifest
from backup.problems import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backup.source import Seen, Volume
    from backup.store import Store

FILES = "files"
"""The folder of the store that looks like the volume, so that anything can copy it back."""
VERSIONS = "versions"
"""The folder of what has a name that other content had before: `versions/<sha256>/<path>`."""
FOLDERS = (manifest.FOLDER, FILES, VERSIONS)
_log = logging.getLogger("backup")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a backup goes by."""

    keep: int
    """How many manifests stay."""
    most_lost_percent: int
    """The share of packages or bytes that may be gone."""
    accepted: str = ""
    """The manifest since which whatever has changed is right."""
    prune: bool = False
    """Whether files that no manifest names any more are removed from the store."""


class Backup:
    """A run."""

    def __init__(self, volume: Volume, store: Store, rules: Rules) -> None:
        """Copy from `volume` to `store`."""
        self._volume = volume
        self._store = store
        self._rules = rules

    def run(self, made: str) -> Manifest:
        """Make a backup, whose manifest is called after the moment `made`, or a later one than the last manifest.

        Raises:
            RunError: It cannot be made, or is not of everything; then its manifest says of what it is not.
        """
        identity = self._volume.identity()
        seen = self._volume.files()
        there = self._store.everything(FOLDERS)
        names = manifest.names_in(there)
        last = self._last(names)
        wanted = self._wanted(seen, last)
        unread = self._volume.unread
        if last:
            made = max(made, manifest.after(last.made))
            unchanged = {path for path in seen if path not in wanted}
            now = {path: None if path in unchanged else wanted[path].sha256 for path in seen if path not in unread}
            lost = guard.loss(last, now, unread)
            _log.info("since %s %s", last.made, lost)
            guard.check(lost, last, identity, percent=self._rules.most_lost_percent, accepted=self._rules.accepted)
        entries = self._sent(seen, wanted, last, there)
        complete = Manifest(made, identity, entries, tuple(sorted(map(_printable, unread))))
        self._store.write(f"{manifest.FOLDER}/{complete.name}", complete.text())
        _log.info("%s: %d files, %d bytes", complete.name, len(entries), complete.size)
        if unread:
            told = "; ".join(f"{path!a}: {why}" for path, why in sorted(unread.items())[:10])
            raise RunError("unread", f"{len(unread)} entries could not be backed up, all others were: {told}")
        self._forget([*names, complete.name])
        return complete

    def _last(self, names: list[str]) -> Manifest | None:
        """The last manifest; one that cannot be read is no reason to go without comparing."""
        if not names:
            return None
        return self._manifest(names[-1])

    def _manifest(self, name: str) -> Manifest:
        text = self._store.read(f"{manifest.FOLDER}/{name}")
        if text is None:
            raise RunError("manifest", f"{name} was there and is gone")
        return manifest.read(name, text)

    def _wanted(self, seen: dict[str, Seen], last: Manifest | None) -> dict[str, Entry]:
        """What is new or has changed since the last manifest, and is what the index says that it is."""
        before = last.entries if last else {}
        new = []
        for path, each in seen.items():
            entry = before.get(path)
            if entry and (entry.size, entry.mtime_ns) == each:
                known = self._volume.known_digest(path, each)
                if known not in (None, entry.sha256):
                    self._volume.unread[path] = f"the index has the sha256 {known}, the last backup {entry.sha256}"
            else:
                new.append(path)
        wanted = {}
        for path, digest in self._volume.digests(new):
            if digest is None:
                if path not in self._volume.unread:
                    del seen[path]
                continue
            known = self._volume.known_digest(path, seen[path])
            if known not in (None, digest):
                self._volume.unread[path] = f"it has the sha256 {digest}, and the index says {known}"
            else:
                wanted[path] = Entry(path, *seen[path], digest, f"{FILES}/{path}")
        return wanted

    def _sent(
        self,
        seen: Mapping[str, Seen],
        wanted: Mapping[str, Entry],
        last: Manifest | None,
        there: Mapping[str, int],
    ) -> dict[str, Entry]:
        """Bring to the store what is not `there`, and return all entries of the new manifest."""
        before = last.entries if last else {}
        entries = {}
        for path in seen:
            entry = before.get(path)
            if path in wanted:
                entry = wanted[path]
            elif path in self._volume.unread and (not entry or there.get(entry.stored) != entry.size):
                # Nobody has it.
                continue
            if entry:
                entries[path] = entry
        # What could not even be looked at is kept as it was.
        blind = tuple(f"{path}/" for path in self._volume.unread)
        for path, entry in before.items():
            kept = path in self._volume.unread or path.startswith(blind)
            if kept and path not in entries and there.get(entry.stored) == entry.size:
                entries[path] = entry
        contents = {entry.stored: entry.sha256 for entry in before.values()}
        entries = self._placed(entries, there, contents)
        missing = [entry for entry in entries.values() if there.get(entry.stored) != entry.size]
        missing = [entry for entry in missing if entry.path in wanted or self._is_still(entry, entries)]
        self._send(missing)
        for entry in missing:
            self._check_unchanged(entry)
        return entries

    def _is_still(self, entry: Entry, entries: dict[str, Entry]) -> bool:
        """Whether a file that the store has lost still has its content; one that has not is left out."""
        for _, digest in self._volume.digests([entry.path]):
            if digest == entry.sha256:
                return True
            if digest:
                self._volume.unread[entry.path] = f"it has the sha256 {digest}, and the last backup {entry.sha256}"
        del entries[entry.path]
        return False

    def _placed(
        self, entries: dict[str, Entry], there: Mapping[str, int], contents: dict[str, str]
    ) -> dict[str, Entry]:
        """Give each entry a place of the store that is free, or has this content."""
        unsure = [
            entry.stored.removeprefix(f"{FILES}/")
            for entry in entries.values()
            if entry.stored.startswith(f"{FILES}/")
            and there.get(entry.stored) == entry.size
            and entry.stored not in contents
        ]
        # Of a run that came to no end, or of a file that was gone for a while.
        contents |= {f"{FILES}/{name}": digest for name, digest in self._store.digests(FILES, unsure).items()}
        return {
            path: entry
            if entry.stored not in there
            or (there[entry.stored] == entry.size and contents.get(entry.stored, entry.sha256) == entry.sha256)
            else replace(entry, stored=f"{VERSIONS}/{entry.sha256}/{path}")
            for path, entry in entries.items()
        }

    def _send(self, missing: Iterable[Entry]) -> None:
        plain = [entry for entry in missing if entry.stored.startswith(f"{FILES}/")]
        others = [entry for entry in missing if entry.stored.startswith(f"{VERSIONS}/")]
        if plain:
            self._store.send(self._volume.root, FILES, [entry.path for entry in plain])
        if others:
            with tempfile.TemporaryDirectory() as directory:
                for entry in others:
                    link = Path(directory, entry.stored.removeprefix(f"{VERSIONS}/"))
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(self._volume.root / entry.path)
                self._store.send(Path(directory), VERSIONS)
        for folder, sent in ((FILES, plain), (VERSIONS, others)):
            names = {entry.stored.removeprefix(f"{folder}/"): entry.size for entry in sent}
            found = self._store.sizes(folder, names) if names else {}
            if absent := [name for name, size in names.items() if found.get(name) != size]:
                # rclone passes over what was removed meanwhile.
                raise RunError("changed", f"{len(absent)} files changed or went while they were copied: {absent[0]}")

    def _check_unchanged(self, entry: Entry) -> None:
        status = os.lstat(self._volume.root / entry.path)
        if (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
            raise RunError("changed", f"{entry.path} changed while it was copied")

    def _forget(self, names: list[str]) -> None:
        """Remove the oldest manifests, and perhaps what none of the others names."""
        self._store.delete(manifest.FOLDER, names[: -self._rules.keep])
        if not self._rules.prune:
            return
        named = {each.stored for name in names[-self._rules.keep :] for each in self._manifest(name).entries.values()}
        for folder in (FILES, VERSIONS):
            found = self._store.sizes(folder)
            unnamed = sorted(name for name in found if f"{folder}/{name}" not in named)
            self._store.delete(folder, unnamed)
            if unnamed:
                _log.info("removed %d files of %s that no manifest names any more", len(unnamed), folder)


def _printable(path: str) -> str:
    """A path as text that can be written down, whatever bytes its name has."""
    return path.encode("utf-8", "backslashreplace").decode()
