"""One run: everything is judged first, then what goes is taken away, each project being looked at anew."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from retention import releases, report
from retention.judgement import Judge
from retention.registry import AwayError, ForbiddenError, GoneError, RefusedError

if TYPE_CHECKING:
    from retention.configuration import Configuration
    from retention.judgement import Verdict
    from retention.locks import Locks
    from retention.registry import Registry

MOST_CLOCK_DIFFERENCE = timedelta(hours=1)


class StoppedError(Exception):
    """The run ends here, with nothing done from now on; the text says why.

    Attributes:
        reason: One word for metrics and alerts.
    """

    def __init__(self, reason: str, text: str) -> None:
        """Say why."""
        super().__init__(text)
        self.reason = reason


class Run:
    """Reads a registry and brings it to what the rules say."""

    def __init__(
        self, configuration: Configuration, registry: Registry, locks: Locks, stop: threading.Event | None = None
    ) -> None:
        """Work on `registry`; end between two versions when `stop` is set."""
        self._configuration = configuration
        self._registry = registry
        self._locks = locks
        self._stop = stop or threading.Event()
        self.done = 0
        self.files = 0
        self.size = 0
        self.failed = 0

    def plan(self) -> report.Plan:
        """What the rules say of what is there.

        Raises:
            StoppedError: That cannot be told.
        """
        try:
            names = self._registry.projects()
            judge = Judge(self._configuration, self._locks, self._now())
            plan = report.Plan(self._configuration, lock_files=self._locks.files)
            for name in names:
                self._go_on()
                verdicts, unordered = self._judged(judge, name)
                # One whose last file somebody has just removed.
                if verdicts or unordered:
                    plan.add(self._configuration.rule_of(name), verdicts, unordered)
        except AwayError as error:
            raise StoppedError("away", f"the registry cannot be read: {error}") from error
        except (ForbiddenError, RefusedError, GoneError) as error:
            raise StoppedError(_reason(error), f"the registry cannot be read: it says {error}") from error
        plan.met_pins = judge.met_pins
        return plan

    def carry_out(self, plan: report.Plan) -> None:
        """Take away what the plan has, so far as the rules still say so.

        Raises:
            StoppedError: It cannot go on; what was done is said on the way.
        """
        if plan.excess:
            raise StoppedError("bounds", f"nothing was changed: {plan.excess}")
        judge = Judge(self._configuration, self._locks, self._now())
        for project, planned in plan.going.items():
            self._go_on()
            versions = [verdict.release.version for verdict in planned]
            try:
                # Somebody may have published, yanked or removed something meanwhile.
                verdicts, _ = self._judged(judge, project)
                still = {each.release.version: each for each in verdicts if each.goes}
                # What only now may go was not counted against the bound.
                for version in versions:
                    if version in still:
                        self._go_on()
                        self._take(still[version])
                    else:
                        _say(f"left: {project} {version} has changed since it was listed")
            except AwayError as error:
                raise StoppedError("away", f"the registry went away: {error}") from error
            except ForbiddenError as error:
                raise StoppedError("denied", f"the registry says {error}") from error
            except (RefusedError, GoneError) as error:
                raise StoppedError("refused", f"the registry cannot be read any more: it says {error}") from error

    def _judged(self, judge: Judge, project: str) -> tuple[list[Verdict], list[tuple[str, releases.File]]]:
        found, unordered = releases.of(project, self._registry.files(project))
        return judge.verdicts(project, found), [(project, file) for file in unordered]

    def _take(self, verdict: Verdict) -> None:
        release = verdict.release
        try:
            is_gone = not (self._yank(release) if self._configuration.action == "yank" else self._remove(release))
        except RefusedError as error:
            self.failed += 1
            _say(f"failed: {release}: the registry says {error}")
            return
        if is_gone:
            _say(f"gone already: {release}")
            return
        self.done += 1
        self.files += len(release.files)
        self.size += release.size
        _say(f"{'yanked' if self._configuration.action == 'yank' else 'removed'}: {report.described(release)}")

    def _yank(self, release: releases.Release) -> bool:
        """Whether it was there."""
        try:
            self._registry.yank(release.project, str(release.version), self._configuration.yank_reason)
        except GoneError:
            return False
        return True

    def _remove(self, release: releases.Release) -> bool:
        """Whether any of it was there."""
        was_there = False
        for written, names in release.spellings.items():
            with suppress(GoneError):
                self._registry.remove(release.project, written, names)
                was_there = True
        return was_there

    def _now(self) -> datetime:
        """The time by which ages are told: a clock that is ahead would have everything look old.

        Raises:
            StoppedError: The two clocks differ.
        """
        own, theirs = datetime.now(timezone.utc), self._registry.time
        if theirs is None:
            raise StoppedError("clock", "the registry does not say what time it is, so no age can be told")
        if abs(own - theirs) > MOST_CLOCK_DIFFERENCE:
            raise StoppedError(
                "clock",
                f"the clock of this node ({own:%Y-%m-%d %H:%M} UTC) and that of the registry's ({theirs:%Y-%m-%d %H:%M}"
                " UTC) differ by more than an hour, so no age can be told",
            )
        return min(own, theirs)

    def _go_on(self) -> None:
        if self._stop.is_set():
            raise StoppedError("stopped", "it was told to end; the next run goes on")


def _reason(error: Exception) -> str:
    return "denied" if isinstance(error, ForbiddenError) else "refused"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
