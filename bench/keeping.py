"""How long a backup and a restore take, beside rclone alone with the same files and the same store."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import remote_programs
from report import Scale, Section, Target, median, number, spread
from upkeep_programs import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = 1_000
SIZE = 500_000
LEAST = 0.8
"""How fast a restore has to be, as a share of rclone's own speed."""
BUCKET = "there"


def measure(scale: Scale) -> Section:
    """Back up and restore, in turn with `rclone copy`."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        packages = _packages(directory / "packages")
        store = remote_programs.s3(directory / "buckets")
        (store.directory / BUCKET).mkdir()
        options = {**remote_programs.s3_options(store), **remote_programs.KEYS, "type": "s3", "no_check_bucket": "true"}
        environment = {f"RCLONE_CONFIG_STORE_{each.upper()}": value for each, value in options.items()}
        environment |= {"RCLONE_RETRIES": "3", "RCLONE_LOW_LEVEL_RETRIES": "3"}
        upkeep = Upkeep(directory / "backup", packages, "", environment)
        target = directory / "restored"
        restore = Upkeep(directory / "restore", target, "", environment)
        times: dict[str, list[float]] = {each: [] for each in ("send", "backup", "again", "fetch", "restore")}

        def rclone(source: str, to: str) -> None:
            command = ["rclone", "copy", source, to]
            subprocess.run(command, check=True, env=restore.environment, capture_output=True)

        def run(kind: str, by: Upkeep, **variables: str) -> None:
            done = by.run(kind, **variables)
            if done.status:
                raise RuntimeError(done.said)

        with store:
            for number_of_round in range(scale.rounds):
                # A place of its own: the store remembers what was where.
                bare, own = (f"store:{BUCKET}/{each}-{number_of_round}" for each in ("bare", "own"))
                times["send"].append(_timed(partial(rclone, str(packages), bare)))
                times["backup"].append(_timed(partial(run, "backup", upkeep, BACKUP_STORE=own)))
                times["again"].append(_timed(partial(run, "backup", upkeep, BACKUP_STORE=own)))
                _emptied(target)
                times["fetch"].append(_timed(partial(rclone, f"{own}/files", str(target))))
                _emptied(target)
                by_us = partial(run, "restore", restore, BACKUP_STORE=own, RESTORE_DRY_RUN="no")
                times["restore"].append(_timed(by_us))
                for each in ("bare", "own"):
                    shutil.rmtree(store.directory / BUCKET / f"{each}-{number_of_round}")
        return _section(times)


def _packages(directory: Path) -> Path:
    """A package volume, of which the index has not read anything yet."""
    (directory / ".pypiserver").mkdir(parents=True)
    (directory / ".pypiserver/volume").write_text("identity\n")
    for number_of_file in range(FILES):
        path = directory / f"project_{number_of_file % 50}-1.{number_of_file}-py3-none-any.whl"
        path.write_bytes(os.urandom(SIZE))
    return directory


def _emptied(directory: Path) -> None:
    """The volume of an empty registry, which is there before anything is restored (docs/backup.md)."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / ".pypiserver").mkdir(parents=True)
    (directory / ".pypiserver/volume").write_text("another\n")


def _timed(act: Callable[[], None]) -> float:
    # A restore ends when everything is on the disk, also what had been written before it began.
    os.sync()
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def _section(times: dict[str, list[float]]) -> Section:
    size = FILES * SIZE / 1e6
    what = {
        "send": "`rclone copy` of the volume to the store",
        "backup": "the first backup: hashes, copy, manifest",
        "again": "a backup of which nothing is new",
        "fetch": "`rclone copy` of the files from the store",
        "restore": "restore: compared with the manifest, file by file",
    }
    section = Section(
        title="Backup and restore",
        method=f"{FILES:,} files of {SIZE / 1000:g} kB ({size:g} MB) and a store that speaks S3 (`rclone serve s3`) on "
        "the same disk, each run a new process; in turn.",
        columns=["", "seconds (median)", "lowest to highest", "MB/s"],
    )
    for each, text in what.items():
        middle = median(times[each])
        speed = number(size / middle) if each != "again" else ""
        section.rows.append([text, number(middle), spread(times[each]), speed])
    ratio = median([bare / own for bare, own in zip(times["fetch"], times["restore"], strict=True)])
    section.targets.append(Target("Speed of a restore, as a share of rclone's", ratio, LEAST, at_least=True))
    return section
