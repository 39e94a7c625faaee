"""What of a public project is not served, and why."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from server.upstream.configuration import origin
from server.upstream.filenames import version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.upstream.configuration import Configuration, IndexConfiguration
    from server.upstream.page import Page, PublicFile

KINDS = ("age", "denied", "hash", "host", "quarantined")
"""Why a file can be hidden."""


class NotServedError(Exception):
    """The policy lets a project or a file not be served; the text says why."""


class Hidden(NamedTuple):
    """A file that is not served."""

    filename: str
    kind: str
    """One of KINDS."""
    reason: str


class Policy:
    """Tells what is served from what is hidden."""

    def __init__(
        self, configuration: Configuration, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        """Decide as `configuration` says."""
        self._configuration = configuration
        self._now = now

    def refusal(self, project: str) -> str | None:
        """Why nothing at all of a project is served, None if something may be."""
        configuration = self._configuration
        if configuration.allow and not configuration.allow.names(project):
            return f"{project} is not among the public projects that this registry serves"
        if configuration.deny.covers_all(project):
            return f"{project} is among the public projects that this registry does not serve"
        return None

    def sorted(
        self, project: str, page: Page, index: IndexConfiguration
    ) -> tuple[tuple[PublicFile, ...], tuple[Hidden, ...]]:
        """The files that are served, and those that are not."""
        served, hidden = [], []
        for file in page.files:
            why = self.why(project, file, page, index)
            if why:
                hidden.append(why)
            else:
                served.append(file)
        return tuple(served), tuple(hidden)

    def covers(self, project: str, filename: str) -> bool:
        """Whether the rules about names and versions let a file be served."""
        return self.refusal(project) is None and self._denied(project, filename) is None

    def why(self, project: str, file: PublicFile, page: Page, index: IndexConfiguration) -> Hidden | None:
        """Why a file is not served, None if it is."""
        if page.status == "quarantined":
            return Hidden(file.filename, "quarantined", f"its index has put {project} into quarantine")
        if denied := self._denied(project, file.filename):
            return Hidden(file.filename, "denied", denied)
        if file.sha256 is None:
            return Hidden(file.filename, "hash", "its index names no sha256 of it")
        if origin(file.url) not in index.origins:
            host = origin(file.url)[1]
            return Hidden(file.filename, "host", f"it is at {host}, which is not among the hosts of {index.name}")
        if young := self._young(project, file):
            return Hidden(file.filename, "age", young)
        return None

    def _denied(self, project: str, filename: str) -> str | None:
        configuration = self._configuration
        if not (configuration.allow or configuration.deny):
            return None
        of = version_of(project, filename)
        if configuration.allow and not configuration.allow.covers(project, of, unknown=False):
            return f"no rule of allow is about version {of}"
        if configuration.deny.covers(project, of, unknown=True):
            return f"a rule of deny is about version {of}"
        return None

    def _young(self, project: str, file: PublicFile) -> str | None:
        days = self._configuration.minimum_age_days
        if not days or project in self._configuration.no_minimum_age:
            return None
        uploaded = file.uploaded
        if uploaded is None:
            return f"its index does not say when it was uploaded, and it has to be {days:g} days old"
        if self._now() - uploaded < timedelta(days=days):
            return f"it was uploaded at {file.upload_time}, and has to be {days:g} days old"
        return None
