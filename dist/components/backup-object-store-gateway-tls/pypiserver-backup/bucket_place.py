"""The parts of a run whose registry has its packages in a store; they need the server's room for it."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backup.bucket import Bucket
from backup.bucket_target import BucketTarget
from backup.control import control
from server.store.notes import StoredNotes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backup.settings import Settings
    from backup.store import Store
    from backup.target import Target


@contextmanager
def bucket_place(settings: Settings) -> Iterator[tuple[Bucket, StoredNotes, Callable[[Store], Target]]]:
    """The registry's place to read, where the server reads how runs end, and what brings files back.

    Raises:
        RunError: rclone does not start.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        control(settings.backup_program, settings.backup_control_port, Path(directory)) as found,
    ):
        remote, cache = found.at(settings.backup_source), Path(directory, "cache")
        cache.mkdir()
        source = Bucket(
            settings.backup_source,
            remote,
            cache,
            program=settings.backup_program,
            bandwidth=settings.backup_bandwidth,
        )

        def target(store: Store) -> Target:
            return BucketTarget(remote, found.at(store.at("")), cache)

        yield source, StoredNotes(remote), target
