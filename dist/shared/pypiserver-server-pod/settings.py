"""What the pod's environment says, read once at the start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class SettingError(ValueError):
    """A variable of the environment has a value this server cannot work with; the text names both."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The server's settings; every attribute is the environment variable of the same name in capitals."""

    registry_name: str = "pypiserver"
    """The registry's name, which tells it from another one on the same place of a bucket."""
    registry_namespace: str = "default"
    """The namespace of the registry."""
    packages_directory: Path = Path("/data/packages")
    """The package volume."""
    pages_directory: Path = Path("/run/pypiserver/pages")
    """Where index pages are kept as files, for the gateway to serve."""
    credentials_directory: Path = Path("/etc/pypiserver/auth")
    """Where the Secret's htpasswd files `readers` and `publishers`, and its `tokens`, are mounted."""
    credentials_secret: str = "pypiserver-auth"  # noqa: S105 - a name
    """The name of that Secret, for the text that says it is missing."""
    publish_method: str = "link"
    """`link`, or `direct` for a volume without hard links, or `store` for an object store, of which the package volume
    only keeps what is asked for."""
    writers: str = "one"
    """`one` if no other pod writes to the volume, `many` otherwise."""
    pods: str = "one"
    """`many` if an autoscaler makes pods, `one` otherwise."""
    role: str = "writer"
    """`reader` if this pod never writes to the volume, since another one publishes; `writer` otherwise."""
    readers: bool = False
    """Whether there are pods of the other role."""
    poll_seconds: float = 5.0
    """How long a mount without directory times may show what is old, in seconds: readers look at what the writer told
    for as long."""
    rescan_seconds: float = 30.0
    """How often the whole volume is listed, in seconds."""
    allow_removal: bool = False
    """Whether packages can be removed through `:action=remove_pkg`."""
    removed_names: str = "taken"
    """`taken` if what was removed can only come back with the content that it had; `free` if names are free again."""
    initial_password: bool = False
    """Whether to make a publisher's password where no credentials are mounted."""
    ready_timeout_seconds: float = 3.0
    """How long the volume may take to answer before the server is not ready, in seconds."""
    log_level: str = "info"
    """Least severity of what is logged: `debug`, `info`, `warning` or `error`."""
    trusted_publishers: Path | None = None
    """The file that says which jobs may exchange their identity for a token; None for none."""
    anonymous_projects: bool = False
    """Whether the gateway asks about those who give no credentials, of whom the permissions may let some read."""
    permissions: Path | None = None
    """The file that says who may do what with which projects; None if the credentials alone decide."""
    attestations: Path | None = None
    """The file that says whose attestations the files of which projects must have; None if they are checked for form
    alone."""
    attestations_port: int = 8085
    """The port on loopback where the program listens that verifies attestations."""
    audit: str = "none"
    """`log` if changes and refusals are written to standard output for an auditor, `volume` if changes also to the
    package volume; `none` otherwise."""
    volume_wait_seconds: float = 120.0
    """How long to wait for another pod that uses a volume for one. Longer than Linux's NFS server keeps the locks of a
    client that is lost (90 s)."""
    volume_identity: str = ""
    """What the volume's `.pypiserver/volume` must say; anything if this is empty."""
    replacement_directory: Path | None = None
    """A volume of the pod that may hold next to nothing, for a server that has its pod replaced when the mount of the
    package volume is dead; None for one that waits."""
    verdicts_port: int = 8082
    """The port on loopback where the gateway asks about credentials."""
    directory_port: int = 0
    """The port on loopback where httpd asks a directory of users (LDAP); 0 if there is none."""
    external_auth_url: str = ""
    """Where a service answers about users that the Secret does not name (auth_request); empty if there is none."""
    external_auth_user_header: str = "X-Auth-Request-User"
    """The header of its answer that names the user."""
    external_auth_groups_header: str = "X-Auth-Request-Groups"
    """The header of its answer that has the user's groups, with commas between them."""
    external_auth_readers: frozenset[str] = frozenset()
    """Groups that may read; `*` for everybody whose password is right."""
    external_auth_publishers: frozenset[str] = frozenset()
    """Groups that may publish and read."""
    external_auth_original_url: str = ""
    """The registry's address, which the service is told; empty for none."""
    external_auth_certificates: Path | None = None
    """The certificates that issued the service's; None for one that is spoken to in the clear."""
    directory_seconds: float = 60.0
    """How long an answer of the directory counts, in seconds."""
    directory_guesses: int = 4
    """How many wrong passwords of one user reach the directory within a quarter of an hour."""
    threads: int = 64
    """How many requests are worked on at the same time, beside uploads."""
    concurrent_uploads: int = 20
    """How many uploads are received at the same time; each has a thread of its own, which waits for its client."""

    backup_max_age_seconds: float = 0.0
    """How long ago the last backup may be; 0 if none is expected."""
    drill_max_age_seconds: float = 0.0
    """How long ago the last restore drill may be; 0 if none is expected."""
    retention_max_age_seconds: float = 0.0
    """How long ago the last run of retention may be; 0 if none is expected."""
    upstream_configuration: Path | None = None
    """The file that says which public packages are served; None for none at all."""
    upstream_port: int = 8083
    """The port on loopback where the program listens that asks other indexes."""

    store_url: str = "http://127.0.0.1:5572"
    """Where rclone's remote control listens."""
    store_path: str = ""
    """Where the packages are, as rclone writes it: `remote:bucket/folder`."""
    store_poll_seconds: float = 2.0
    """How often the catalogue in the store is looked at, in seconds."""
    store_parts_seconds: float = 0.0
    """How old the parts of an upload that nobody has finished must be until they are removed, in seconds; 0 if they
    never are."""
    fetching_port: int = 8084
    """The port on loopback where the program listens that fetches packages from the store."""

    @property
    def registry(self) -> str:
        """The registry as the whole cluster knows it."""
        return f"{self.registry_namespace}/{self.registry_name}"

    @property
    def run_directory(self) -> Path:
        """What the containers of the pod share beside the volume, as long as the pod lasts."""
        return self.pages_directory.parent

    @property
    def writes(self) -> bool:
        """Whether this pod may write to the volume."""
        return self.role == "writer"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; what is not set has the default.

        Args:
            environment: Variables to read. Defaults to those of this process.

        Raises:
            SettingError: A value is outside what the variable allows.
        """
        read = os.environ if environment is None else environment
        return cls(
            registry_name=read.get("REGISTRY_NAME", cls.registry_name),
            registry_namespace=read.get("REGISTRY_NAMESPACE", cls.registry_namespace),
            packages_directory=Path(read.get("PACKAGES_DIRECTORY", cls.packages_directory)),
            pages_directory=Path(read.get("PAGES_DIRECTORY", cls.pages_directory)),
            credentials_directory=Path(read.get("CREDENTIALS_DIRECTORY", cls.credentials_directory)),
            credentials_secret=read.get("CREDENTIALS_SECRET", cls.credentials_secret),
            publish_method=_choice(read, "PUBLISH_METHOD", ("link", "direct", "store")),
            writers=_choice(read, "WRITERS", ("one", "many")),
            pods=_choice(read, "PODS", ("one", "many")),
            role=_choice(read, "ROLE", ("writer", "reader")),
            readers=_choice(read, "READERS", ("no", "yes")) == "yes",
            poll_seconds=_positive(read, "POLL_SECONDS", cls.poll_seconds),
            rescan_seconds=_positive(read, "RESCAN_SECONDS", cls.rescan_seconds),
            allow_removal=_choice(read, "ALLOW_REMOVAL", ("no", "yes")) == "yes",
            removed_names=_choice(read, "REMOVED_NAMES", ("taken", "free")),
            initial_password=_choice(read, "INITIAL_PASSWORD", ("no", "yes")) == "yes",
            ready_timeout_seconds=_positive(read, "READY_TIMEOUT_SECONDS", cls.ready_timeout_seconds),
            log_level=_choice(read, "LOG_LEVEL", ("info", "debug", "warning", "error")),
            trusted_publishers=Path(path) if (path := read.get("TRUSTED_PUBLISHERS")) else None,
            anonymous_projects=_choice(read, "ANONYMOUS_PROJECTS", ("no", "yes")) == "yes",
            permissions=Path(path) if (path := read.get("PERMISSIONS")) else None,
            attestations=Path(path) if (path := read.get("ATTESTATIONS")) else None,
            attestations_port=int(_positive(read, "ATTESTATIONS_PORT", cls.attestations_port, least=1)),
            audit=_choice(read, "AUDIT", ("none", "log", "volume")),
            volume_wait_seconds=_positive(read, "VOLUME_WAIT_SECONDS", cls.volume_wait_seconds),
            volume_identity=read.get("VOLUME_IDENTITY", cls.volume_identity),
            replacement_directory=Path(path) if (path := read.get("REPLACEMENT_DIRECTORY")) else None,
            verdicts_port=int(_positive(read, "VERDICTS_PORT", cls.verdicts_port, least=1)),
            directory_port=int(_positive(read, "DIRECTORY_PORT", cls.directory_port, least=1)),
            external_auth_url=read.get("EXTERNAL_AUTH_URL", cls.external_auth_url),
            external_auth_user_header=read.get("EXTERNAL_AUTH_USER_HEADER", cls.external_auth_user_header),
            external_auth_groups_header=read.get("EXTERNAL_AUTH_GROUPS_HEADER", cls.external_auth_groups_header),
            external_auth_readers=_set(read, "EXTERNAL_AUTH_READERS"),
            external_auth_publishers=_set(read, "EXTERNAL_AUTH_PUBLISHERS"),
            external_auth_original_url=read.get("EXTERNAL_AUTH_ORIGINAL_URL", cls.external_auth_original_url),
            external_auth_certificates=Path(path) if (path := read.get("EXTERNAL_AUTH_CERTIFICATES")) else None,
            directory_seconds=_positive(read, "DIRECTORY_SECONDS", cls.directory_seconds, least=1),
            directory_guesses=int(_positive(read, "DIRECTORY_GUESSES", cls.directory_guesses, least=1)),
            threads=int(_positive(read, "THREADS", cls.threads, least=6)),
            backup_max_age_seconds=_positive(read, "BACKUP_MAX_AGE_SECONDS", cls.backup_max_age_seconds),
            drill_max_age_seconds=_positive(read, "DRILL_MAX_AGE_SECONDS", cls.drill_max_age_seconds),
            retention_max_age_seconds=_positive(read, "RETENTION_MAX_AGE_SECONDS", cls.retention_max_age_seconds),
            upstream_configuration=Path(path) if (path := read.get("UPSTREAM_CONFIGURATION")) else None,
            upstream_port=int(_positive(read, "UPSTREAM_PORT", cls.upstream_port, least=1)),
            store_url=read.get("STORE_URL", cls.store_url),
            store_path=_place(read),
            store_poll_seconds=_positive(read, "STORE_POLL_SECONDS", cls.store_poll_seconds),
            store_parts_seconds=_positive(read, "STORE_PARTS_SECONDS", cls.store_parts_seconds),
            fetching_port=int(_positive(read, "FETCHING_PORT", cls.fetching_port, least=1)),
            concurrent_uploads=int(_positive(read, "CONCURRENT_UPLOADS", cls.concurrent_uploads, least=1)),
        )


def _place(environment: Mapping[str, str]) -> str:
    value = environment.get("STORE_PATH", "")
    if environment.get("PUBLISH_METHOD") == "store" and not value.partition(":")[2]:
        raise SettingError(f"STORE_PATH is {value!r}; it must be a place as rclone writes it, remote:bucket/folder")
    return value


def _set(environment: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(line for line in environment.get(name, "").splitlines() if line)


def _choice(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = environment.get(name, allowed[0])
    if value not in allowed:
        raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def _positive(environment: Mapping[str, str], name: str, default: float, least: float = 0.1) -> float:
    text = environment.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingError(f"{name} is {text!r}; it must be a number") from None
    if not least <= value < float("inf"):
        raise SettingError(f"{name} is {text}; it must be a number of at least {least:g}")
    return value
