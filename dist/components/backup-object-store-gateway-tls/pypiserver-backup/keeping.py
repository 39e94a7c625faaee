"""A backup: what is new goes to the store, then a manifest of everything; what is there is never replaced."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backup import guard, manifest
from backup.layout import FILES, MANIFESTS, VERSIONS
from backup.manifest import Entry, Manifest
from backup.problems import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from backup.source import Seen, Source
    from backup.store import Listed, Store

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

    def __init__(self, source: Source, store: Store, rules: Rules) -> None:
        """Copy from `source` to `store`."""
        self._source = source
        self._store = store
        self._rules = rules

    def run(self, made: str, there: Listed) -> Manifest:
        """Make a backup, whose manifest is called after the moment `made`, or a later one than the last manifest.

        Args:
            made: The moment, as in the name of a manifest.
            there: What the store has.

        Raises:
            RunError: It cannot be made, or is not of everything; then its manifest says of what it is not.
        """
        identity = self._source.identity()
        seen = self._source.files()
        kept = there()
        names = manifest.names_in(kept)
        last = self._last(names)
        wanted = self._wanted(seen, last)
        unread = self._source.unread
        if last:
            made = max(made, manifest.after(last.made))
            unchanged = {path for path in seen if path not in wanted}
            now = {path: None if path in unchanged else wanted[path].sha256 for path in seen if path not in unread}
            lost = guard.loss(last, now, unread.keys() - self._source.lost)
            _log.info("since %s %s", last.made, lost)
            guard.check(lost, last, identity, percent=self._rules.most_lost_percent, accepted=self._rules.accepted)
        entries = self._sent(seen, wanted, last, kept)
        complete = Manifest(made, identity, entries, tuple(sorted(map(_printable, unread))))
        self._store.write(f"{MANIFESTS}/{complete.name}", complete.text())
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
        text = self._store.read(f"{MANIFESTS}/{name}")
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
                known = self._source.known_digest(path, each)
                if known not in (None, entry.sha256):
                    self._source.unread[path] = f"the index has the sha256 {known}, the last backup {entry.sha256}"
            else:
                new.append(path)
        wanted = {}
        for path, digest in self._source.digests(new):
            if digest is None:
                if path not in self._source.unread:
                    del seen[path]
                continue
            known = self._source.known_digest(path, seen[path])
            if known not in (None, digest):
                self._source.unread[path] = f"it has the sha256 {digest}, and the index says {known}"
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
            elif path in self._source.unread and (not entry or there.get(entry.stored) != entry.size):
                # Nobody has it.
                continue
            if entry:
                entries[path] = entry
        # What could not even be looked at is kept as it was.
        blind = tuple(f"{path}/" for path in self._source.unread)
        for path, entry in before.items():
            kept = path in self._source.unread or path.startswith(blind)
            if kept and path not in entries and there.get(entry.stored) == entry.size:
                entries[path] = entry
        contents = {entry.stored: entry.sha256 for entry in before.values()}
        entries = self._placed(entries, there, contents)
        missing = [entry for entry in entries.values() if there.get(entry.stored) != entry.size]
        missing = [entry for entry in missing if entry.path in wanted or self._is_still(entry, entries)]
        proven = {entry.path for folder in (FILES, VERSIONS) for entry in self._send(folder, missing)}
        for entry in missing:
            if entry.path not in proven:
                del entries[entry.path]
        return entries

    def _is_still(self, entry: Entry, entries: dict[str, Entry]) -> bool:
        """Whether a file that the store has lost still has its content; one that has not is left out."""
        for _, digest in self._source.digests([entry.path]):
            if digest == entry.sha256:
                return True
            if digest:
                self._source.unread[entry.path] = f"it has the sha256 {digest}, and the last backup {entry.sha256}"
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

    def _send(self, folder: str, missing: Iterable[Entry]) -> Iterator[Entry]:
        """Bring what has its place in a folder there, and tell what of it is there then, and right."""
        files = {
            entry.stored.removeprefix(f"{folder}/"): entry for entry in missing if entry.stored.startswith(f"{folder}/")
        }
        if not files:
            return
        self._source.send(self._store, folder, {name: entry.path for name, entry in files.items()})
        found = self._store.sizes(folder, files)
        if absent := [name for name, entry in files.items() if found.get(name) != entry.size]:
            # rclone passes over what was removed meanwhile.
            raise RunError("changed", f"{len(absent)} files changed or went while they were copied: {absent[0]}")
        for name in self._source.proven(self._store, folder, files):
            yield files[name]

    def _forget(self, names: list[str]) -> None:
        """Remove the oldest manifests, and perhaps what none of the others names."""
        self._store.delete(MANIFESTS, names[: -self._rules.keep])
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
