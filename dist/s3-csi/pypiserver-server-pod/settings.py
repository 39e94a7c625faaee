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

    packages_directory: Path = Path("/data/packages")
    """The package volume."""
    pages_directory: Path = Path("/run/pypiserver/pages")
    """Where index pages are kept as files, for the gateway to serve."""
    credentials_directory: Path = Path("/etc/pypiserver/auth")
    """Where the Secret's htpasswd files `readers` and `publishers` are mounted."""
    credentials_secret: str = "pypiserver-auth"  # noqa: S105 - a name
    """The name of that Secret, for the text that says it is missing."""
    publish_method: str = "link"
    """`link`, or `direct` for a volume without hard links."""
    writers: str = "one"
    """`one` if no other pod writes to the volume, `many` otherwise."""
    pods: str = "one"
    """`many` if an autoscaler makes pods, `one` otherwise."""
    rescan_seconds: float = 30.0
    """How often the whole volume is listed, in seconds."""
    allow_removal: bool = False
    """Whether packages can be removed through `:action=remove_pkg`."""
    initial_password: bool = False
    """Whether to make a publisher's password where no credentials are mounted."""
    ready_timeout_seconds: float = 3.0
    """How long the volume may take to answer before the server is not ready, in seconds."""
    log_level: str = "info"
    """Least severity of what is logged: `debug`, `info`, `warning` or `error`."""
    volume_wait_seconds: float = 120.0
    """How long to wait for another pod that uses a volume for one. Longer than Linux's NFS server keeps the locks of a
    client that is lost (90 s)."""
    verdicts_port: int = 8082
    """The port on loopback where the gateway asks about credentials."""
    threads: int = 64
    """How many requests are worked on at the same time, beside uploads."""
    concurrent_uploads: int = 20
    """How many uploads are received at the same time; each has a thread of its own, which waits for its client."""

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
            packages_directory=Path(read.get("PACKAGES_DIRECTORY", cls.packages_directory)),
            pages_directory=Path(read.get("PAGES_DIRECTORY", cls.pages_directory)),
            credentials_directory=Path(read.get("CREDENTIALS_DIRECTORY", cls.credentials_directory)),
            credentials_secret=read.get("CREDENTIALS_SECRET", cls.credentials_secret),
            publish_method=_choice(read, "PUBLISH_METHOD", ("link", "direct")),
            writers=_choice(read, "WRITERS", ("one", "many")),
            pods=_choice(read, "PODS", ("one", "many")),
            rescan_seconds=_positive(read, "RESCAN_SECONDS", cls.rescan_seconds),
            allow_removal=_choice(read, "ALLOW_REMOVAL", ("no", "yes")) == "yes",
            initial_password=_choice(read, "INITIAL_PASSWORD", ("no", "yes")) == "yes",
            ready_timeout_seconds=_positive(read, "READY_TIMEOUT_SECONDS", cls.ready_timeout_seconds),
            log_level=_choice(read, "LOG_LEVEL", ("info", "debug", "warning", "error")),
            volume_wait_seconds=_positive(read, "VOLUME_WAIT_SECONDS", cls.volume_wait_seconds),
            verdicts_port=int(_positive(read, "VERDICTS_PORT", cls.verdicts_port, least=1)),
            threads=int(_positive(read, "THREADS", cls.threads, least=6)),
            concurrent_uploads=int(_positive(read, "CONCURRENT_UPLOADS", cls.concurrent_uploads, least=1)),
        )


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
