"""What the environment of a run says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backup.problems import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of all kinds of runs; every attribute is the environment variable of the same name in capitals."""

    backup_store: str = ""
    """The place that rclone keeps copies at: `crypt:`, `store:bucket/folder` or a directory."""
    backup_program: str = "rclone"
    """rclone."""
    backup_source: str = ""
    """Where the registry's packages are in a store, as rclone calls it; empty where they are on a volume."""
    backup_control_port: int = 5573
    """The port on loopback of the rclone that speaks with that store."""
    packages_directory: Path = Path("/data/packages")
    """The package volume."""
    backup_status: Path = Path("/var/lib/pypiserver/backup")
    """Where the server reads what became of a run."""
    backup_keep: int = 30
    """How many manifests stay."""
    backup_most_lost_percent: int = 10
    """The share of packages or bytes that may be gone since the last backup."""
    backup_accepted: str = ""
    """The backup since which whatever has changed is right, such as 20261126T083000Z."""
    backup_prune: bool = False
    """Whether files that no manifest names any more are removed from the store."""
    backup_bandwidth: str = ""
    """What rclone takes as --bwlimit; no limit if it is empty."""
    restore_as_of: str = ""
    """A date or time of UTC, of whose last backup before it everything is; the last of all if it is empty."""
    restore_dry_run: bool = True
    """Whether a restore only tells what it would do."""
    restore_differing: str = "refuse"
    """What becomes of files that are there with other content: refuse, keep or replace."""
    restore_incomplete: bool = False
    """Whether a backup will do that is not of everything there was."""
    registry_name: str = ""
    """The name of the registry's Service."""
    drill_port: int = 80
    """The port of that Service."""
    drill_url: str = ""
    """The registry's address, where that is another."""
    drill_tls_name: str = ""
    """The name that the registry's certificate is for, if it is not the one of its address."""
    drill_tls: bool = False
    """Whether that Service has TLS at its port."""
    drill_credentials: Path = Path("/etc/pypiserver/drill")
    """Where `username` and `password` of a reader are, if reading needs any."""
    drill_authority: Path = Path("/etc/pypiserver/drill-ca/ca.crt")
    """The certificates by which the registry is known, where it has one of its own."""
    drill_scratch: Path = Path("/scratch")
    """The directory that is restored to, which is thrown away."""
    drill_server_port: int = 8081
    """The port on loopback of the server that is tried."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; what is not set has the default.

        Raises:
            RunError: A value is outside what the variable allows.
        """
        read = os.environ if environment is None else environment
        if not read.get("BACKUP_STORE"):
            raise RunError("settings", "BACKUP_STORE is not set; it must be where copies are kept")
        return cls(
            backup_store=read["BACKUP_STORE"],
            backup_program=read.get("BACKUP_PROGRAM", cls.backup_program),
            backup_source=read.get("BACKUP_SOURCE", ""),
            backup_control_port=_count(read, "BACKUP_CONTROL_PORT", cls.backup_control_port, 1),
            packages_directory=Path(read.get("PACKAGES_DIRECTORY", cls.packages_directory)),
            backup_status=Path(read.get("BACKUP_STATUS", cls.backup_status)),
            backup_keep=_count(read, "BACKUP_KEEP", cls.backup_keep, 1),
            backup_most_lost_percent=_count(read, "BACKUP_MOST_LOST_PERCENT", cls.backup_most_lost_percent, 0),
            backup_accepted=read.get("BACKUP_ACCEPTED", ""),
            backup_prune=_choice(read, "BACKUP_PRUNE", "no", "yes") == "yes",
            backup_bandwidth=read.get("BACKUP_BANDWIDTH", ""),
            restore_as_of=read.get("RESTORE_AS_OF", ""),
            restore_dry_run=_choice(read, "RESTORE_DRY_RUN", "yes", "no") == "yes",
            restore_differing=_choice(read, "RESTORE_DIFFERING", "refuse", "keep", "replace"),
            restore_incomplete=_choice(read, "RESTORE_INCOMPLETE", "no", "yes") == "yes",
            registry_name=read.get("REGISTRY_NAME", ""),
            drill_port=_count(read, "DRILL_PORT", cls.drill_port, 1),
            drill_url=read.get("DRILL_URL", ""),
            drill_tls_name=read.get("DRILL_TLS_NAME", ""),
            drill_tls=_choice(read, "DRILL_TLS", "no", "yes") == "yes",
            drill_credentials=Path(read.get("DRILL_CREDENTIALS", cls.drill_credentials)),
            drill_authority=Path(read.get("DRILL_AUTHORITY", cls.drill_authority)),
            drill_scratch=Path(read.get("DRILL_SCRATCH", cls.drill_scratch)),
            drill_server_port=_count(read, "DRILL_SERVER_PORT", cls.drill_server_port, 1),
        )


def _choice(environment: Mapping[str, str], name: str, *allowed: str) -> str:
    value = environment.get(name, allowed[0])
    if value not in allowed:
        raise RunError("settings", f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def _count(environment: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = environment.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or int(text) < least:
        raise RunError("settings", f"{name} is {text!r}; it must be a number of at least {least}")
    return int(text)
