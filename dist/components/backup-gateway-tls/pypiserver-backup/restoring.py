"""Bringing back what a manifest names, into an empty registry or into one that goes on serving."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backup import manifest
from backup.layout import MANIFESTS
from backup.manifest import IDENTITY, OWN, Entry, Manifest
from backup.problems import RunError
from server.index.identity import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Literal

    from backup.source import Source
    from backup.store import Listed, Store
    from backup.target import Target

_SHOWN = 20


@dataclass
class Plan:
    """What is to be done."""

    manifest: Manifest
    missing: list[Entry] = field(default_factory=list)
    """Not there."""
    differing: list[Entry] = field(default_factory=list)
    """There with other content, or under another name of the same file."""
    same: int = 0
    """Already there."""
    further: int = 0
    """Packages that are there and that the manifest does not name; they stay."""
    twins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other names that files of the manifest have there, by path."""

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

    def __init__(self, place: Source, store: Store, target: Target) -> None:
        """Copy from `store` to `place`, by way of `target`."""
        self._place = place
        self._store = store
        self._target = target

    def plan(self, moment: str, there: Listed, *, incomplete: bool = False) -> Plan:
        """Compare what is there with the last manifest that is not after a moment.

        Args:
            moment: A date or time of UTC; "" for the last manifest of all.
            there: What the store has.
            incomplete: Whether a backup will do that is not of everything there was.

        Raises:
            RunError: There is no such manifest, or the store does not have all that it names.
        """
        kept = there()
        found = manifest.names_in(kept)
        name = manifest.as_of(found, moment)
        if name is None:
            oldest = f", the oldest of {found[0].removesuffix('.jsonl')}" if found else ""
            raise RunError(
                "missing", f"{self._store.fs} has no backup of {moment or 'any time'}: {len(found)} manifests{oldest}"
            )
        text = self._store.read(f"{MANIFESTS}/{name}")
        chosen = manifest.read(name, text or "")
        if chosen.unread and not incomplete:
            told = ", ".join(chosen.unread[:_SHOWN])
            raise RunError(
                "incomplete",
                f"{name} is not of everything there was ({told}): choose another, or say that it will do "
                "(RESTORE_INCOMPLETE=yes)",
            )
        absent = [entry.path for entry in chosen.entries.values() if kept.get(entry.stored) != entry.size]
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
        self._target.prepare(wanted)
        replaced = {entry.path: plan.twins.get(entry.path, ()) for entry in plan.differing}
        # Records first: no version is shown for a moment that had been withdrawn.
        for records in (True, False):
            self._target.bring([entry for entry in wanted if entry.path.startswith(OWN) == records], replaced)
        self._target.end()
        if damaged := self._target.damaged:
            told = ", ".join(damaged[:_SHOWN])
            raise RunError("damaged", f"{len(damaged)} files of the store are not what was backed up: {told}")
        return len(wanted)

    def _compared(self, chosen: Manifest) -> Plan:
        plan = Plan(chosen)
        seen = self._place.files()
        plan.twins = _twins(chosen, seen)
        unsure = []
        for path, entry in chosen.entries.items():
            if path == IDENTITY and path in seen:
                # It says which volume this is.
                plan.same += 1
            elif path not in seen:
                (plan.differing if path in plan.twins else plan.missing).append(entry)
            elif seen[path].size != entry.size:
                plan.differing.append(entry)
            elif (known := self._place.known_digest(path, seen[path])) is None:
                unsure.append(path)
            elif known == entry.sha256:
                plan.same += 1
            else:
                plan.differing.append(entry)
        for path, digest in self._place.digests(unsure):
            if digest == chosen.entries[path].sha256:
                plan.same += 1
            else:
                plan.differing.append(chosen.entries[path])
        plan.further = sum(path not in chosen.entries and not path.startswith(OWN) for path in seen)
        return plan


def _twins(chosen: Manifest, seen: Iterable[str]) -> dict[str, list[str]]:
    """Other names of the same file, which nobody could install beside it, and which the manifest does not name."""
    there: dict[str, list[str]] = {}
    for path in seen:
        if not path.startswith(OWN) and path not in chosen.entries:
            there.setdefault(identity(path.rpartition("/")[2]), []).append(path)
    found = {path: there.get(identity(path.rpartition("/")[2])) for path in chosen.entries if not path.startswith(OWN)}
    return {path: twins for path, twins in found.items() if twins}
