"""Whether a source is what it was: one that has suddenly lost much is not backed up, so that somebody looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backup.manifest import IDENTITY, OWN
from backup.problems import RunError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from backup.manifest import Manifest


@dataclass(frozen=True)
class Loss:
    """What of the last manifest is not on the volume any more."""

    missing: int
    """Packages that are gone."""
    replaced: int
    """Packages that have other content, which no registry gives them."""
    of: int
    """Packages in the last manifest."""
    missing_bytes: int
    """Bytes of both."""
    of_bytes: int
    """Bytes in the last manifest."""

    def exceeds(self, percent: int) -> bool:
        """Whether more than this share of the packages or of their bytes is lost."""
        return self._share(self.missing + self.replaced, self.of) > percent or (
            self._share(self.missing_bytes, self.of_bytes) > percent
        )

    def __str__(self) -> str:
        """The numbers."""
        return (
            f"{self.missing} of {self.of} files are gone and {self.replaced} have other content, "
            f"together {self.missing_bytes} of {self.of_bytes} bytes"
        )

    @staticmethod
    def _share(part: int, whole: int) -> float:
        return 100 * part / whole if whole else 0.0


def loss(last: Manifest, now: Mapping[str, str | None], unread: Collection[str]) -> Loss:
    """Compare the volume with the last manifest.

    Args:
        last: The last manifest.
        now: What is on the volume: the sha256 by path, None where it is as it was.
        unread: Paths that are there and could not be looked at.
    """
    packages = [entry for path, entry in last.entries.items() if not path.startswith(OWN)]
    blind = tuple(f"{path}/" for path in unread)
    missing = [
        entry
        for entry in packages
        if entry.path not in now and entry.path not in unread and not entry.path.startswith(blind)
    ]
    replaced = [entry for entry in packages if now.get(entry.path) not in (None, entry.sha256)]
    return Loss(
        len(missing),
        len(replaced),
        len(packages),
        sum(entry.size for entry in (*missing, *replaced)),
        sum(entry.size for entry in packages),
    )


def check(found: Loss, last: Manifest, identity: str, *, percent: int, accepted: str) -> None:
    """Refuse a source that is another, or has lost more than it may.

    Raises:
        RunError: So it is, and nobody has said of the last manifest that this is right.
    """
    if last.made == accepted:
        return
    how = f"if this is right, accept what has changed since {last.made} (BACKUP_ACCEPTED={last.made})"
    if identity != last.volume:
        raise RunError(
            "other-volume",
            f"another volume is in the place of the one that was backed up: its {IDENTITY} says {identity}, that of "
            f"the last backup {last.volume}; nothing was written; {how}",
        )
    if found.exceeds(percent):
        raise RunError(
            "emptier",
            f"the volume has lost more than {percent} % since {last.made}: {found}; nothing was written; {how}",
        )
