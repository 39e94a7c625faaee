"""The kinds of runs, and the parts that each is made of."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, cast

from backup import lean  # noqa: F401 - before anything that imports pypiserver
from backup.comparing import Index
from backup.drilling import Drill
from backup.keeping import Backup, Rules
from backup.manifest import MOMENT
from backup.parts import end_parts
from backup.problems import RunError, reason_of
from backup.restoring import Restore
from backup.source import Volume
from backup.status import DirectoryNotes, Outcome
from backup.target import VolumeTarget
from server.http.errors import AwayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Literal

    from backup.settings import Settings
    from backup.source import Source
    from backup.status import Notes
    from backup.store import Listed, Store
    from backup.target import Target

_log = logging.getLogger("run")


@dataclass(frozen=True)
class Place:
    """Where the registry's packages are."""

    source: Source
    notes: Notes
    target: Callable[[Store], Target]
    """What brings files back to it from a store."""


@contextmanager
def place_of(settings: Settings) -> Iterator[Place]:
    """The volume, or the store, as long as it is needed."""
    if not settings.backup_source:
        root = settings.packages_directory
        yield Place(Volume(root), DirectoryNotes(settings.backup_status), partial(VolumeTarget, root))
        return
    # The server's room for stores is there only where the packages are in one.
    from backup.bucket_place import bucket_place  # noqa: PLC0415

    with bucket_place(settings) as (source, notes, target):
        yield Place(source, notes, target)


def outcome_of(kind: str, settings: Settings, place: Place, store: Store, there: Listed) -> Outcome:
    """Run, and return how it ended.

    Args:
        kind: One of RUNS.
        settings: Those of the run.
        place: Where the registry's packages are.
        store: What keeps the copies.
        there: What the store has.
    """
    try:
        return RUNS[kind](settings, place, store, there)
    except RunError as error:
        return Outcome(error.reason, str(error), {})
    except AwayError as error:
        text = f"the registry's store: {error.strerror}"
        return Outcome(reason_of(text), text, {})
    except OSError as error:
        return Outcome("volume", f"the volume fails: {error}", {})


def backup(settings: Settings, place: Place, store: Store, there: Listed) -> Outcome:
    """Make a backup."""
    # Before it: what is left may be what there is no room for.
    end_parts(settings.backup_store, settings.backup_program)
    rules = Rules(
        keep=settings.backup_keep,
        most_lost_percent=settings.backup_most_lost_percent,
        accepted=settings.backup_accepted,
        prune=settings.backup_prune,
    )
    made = datetime.now(timezone.utc).strftime(MOMENT)
    found = Backup(place.source, store, rules).run(made, there)
    figures = {"files": len(found.entries), "packages": found.packages, "bytes": found.size}
    return Outcome("", f"backup {found.made}: {found.packages} packages, {found.size} bytes", figures)


def restore(settings: Settings, place: Place, store: Store, there: Listed) -> Outcome:
    """Tell what a restore would do, or do it."""
    run = Restore(place.source, store, place.target(store))
    plan = run.plan(settings.restore_as_of, there, incomplete=settings.restore_incomplete)
    for line in plan.report().splitlines():
        _log.info("%s", line)
    if settings.restore_dry_run:
        return Outcome("", f"nothing was restored (RESTORE_DRY_RUN=yes)\n{plan.report()}", {})
    differing = cast('Literal["refuse", "keep", "replace"]', settings.restore_differing)
    restored = run.run(plan, differing=differing)
    return Outcome("", f"restored {restored} files of the backup {plan.manifest.made}", {})


def drill(settings: Settings, _: Place, store: Store, there: Listed) -> Outcome:
    """Try whether the last backup can be restored and is what the registry has."""
    authority = settings.drill_authority if settings.drill_authority.exists() else None
    scheme = "https" if settings.drill_tls else "http"
    url = settings.drill_url or f"{scheme}://{settings.registry_name}:{settings.drill_port}"
    registry = Index(url, _reader(settings.drill_credentials), authority, tls_name=settings.drill_tls_name)
    made, found = Drill(store, registry, settings.drill_scratch, port=settings.drill_server_port).run(there)
    text = (
        f"the backup {made} is whole: {found.same} files on {found.projects} pages are as the registry shows them; "
        f"since then {found.new} came, {found.gone} went, {found.yanked} were withdrawn or brought back"
    )
    return Outcome("", text, {"files": found.same, "projects": found.projects})


RUNS: dict[str, Callable[[Settings, Place, Store, Listed], Outcome]] = {
    "backup": backup,
    "restore": restore,
    "drill": drill,
}


def _reader(directory: Path) -> tuple[str, str] | None:
    try:
        name, password = ((directory / key).read_text("utf-8").strip() for key in ("username", "password"))
    except FileNotFoundError:
        return None
    return name, password
