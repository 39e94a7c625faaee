"""The program: `python -m retention.main`."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from retention import locks, report
from retention.configuration import Configuration, ConfigurationError, Settings
from retention.registry import AwayError, ForbiddenError, GoneError, Place, RefusedError, Registry, context
from retention.run import Run, StoppedError

if TYPE_CHECKING:
    from collections.abc import Mapping


def main() -> None:
    """Make one run; exits with 0 if all was done, 1 if not, 2 if the configuration cannot work."""
    settings = Settings.from_environment()
    stop = threading.Event()
    # The first process of a container is told to end in vain if it does not say what then.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        status, summary = _run(settings, stop)
    except (ConfigurationError, OSError) as error:
        status, summary = 2, f"cannot begin: {error}"
    print(summary)  # noqa: T201 - the report is what this program is for
    with contextlib.suppress(OSError), settings.termination_log.open("r+") as file:
        file.write(f"{summary}\n")
    sys.exit(status)


def _run(settings: Settings, stop: threading.Event) -> tuple[int, str]:
    configuration = Configuration.from_file(settings.rules_file)
    secured = context(settings.certificates) if configuration.tls else None
    place = Place(settings.registry_host, configuration.port, secured, configuration.tls_name)
    login = _login(settings, needed=not configuration.dry_run)
    registry = Registry(place, login, patience_seconds=configuration.patience_seconds)
    begun = time.monotonic()
    figures: dict[str, float] = {}
    try:
        reason, summary = _carried_out(settings, configuration, registry, stop, figures)
    except StoppedError as error:
        hint = "" if login or "401" not in str(error) else f"; there is no Secret {settings.credentials_secret}"
        reason, summary = error.reason, f"Stopped: {error}{hint}. {_done(figures, configuration)}"
    except (ConfigurationError, OSError) as error:
        _report(registry, {"reason": "settings", "text": str(error), "seconds": time.monotonic() - begun})
        raise
    if reason != "away":
        # Who is away takes no report; there is an alert when none has come for long.
        _report(registry, {**figures, "reason": reason, "text": summary, "seconds": time.monotonic() - begun})
    return int(bool(reason)), summary


def _carried_out(
    settings: Settings,
    configuration: Configuration,
    registry: Registry,
    stop: threading.Event,
    figures: dict[str, float],
) -> tuple[str, str]:
    """Make the run, and return why it failed, in one word, and what it did; `figures` has that too, if it is ended.

    Raises:
        ConfigurationError: A lock file cannot be read.
        StoppedError: It cannot go on.
    """
    locked = locks.read(settings.locks_directory, configuration.lock_config_maps)
    run = Run(configuration, registry, locked, stop)
    plan = run.plan()
    print("\n".join(report.lines(plan, f"{settings.registry_host}:{configuration.port}")), flush=True)  # noqa: T201
    figures["dry_run"] = float(configuration.dry_run)
    if configuration.dry_run:
        going = [each.release for each in plan.verdicts]
        figures |= _figures(len(going), sum(len(each.files) for each in going), sum(each.size for each in going))
        return "", _dry(plan)
    try:
        run.carry_out(plan)
    finally:
        figures |= {**_figures(run.done, run.files, run.size), "failed": run.failed}
    return "failed" if run.failed else "", _done(figures, configuration)


def _figures(versions: int, files: int, size: int) -> dict[str, float]:
    return {"versions": versions, "files": files, "bytes": size}


def _report(registry: Registry, told: Mapping[str, object]) -> None:
    """Have the registry show how the run ended; a reader may make a dry run, and not tell of it."""
    try:
        registry.report(told)
    except (AwayError, ForbiddenError, GoneError, RefusedError) as error:
        print(f"The registry will not show how this ended: {error}", flush=True)  # noqa: T201 - part of the report


def _dry(plan: report.Plan) -> str:
    going = plan.verdicts
    said = f"Dry run, nothing was changed: {report.count(len(going), 'version')} would go, {_size(plan)}."
    return f"{said} Such a run would stop before it changes anything: {plan.excess}." if plan.excess else said


def _size(plan: report.Plan) -> str:
    return report.size(sum(each.release.size for each in plan.verdicts))


def _done(figures: Mapping[str, float], configuration: Configuration) -> str:
    what = "Yanked" if configuration.action == "yank" else "Removed"
    done = {key: int(figures.get(key, 0)) for key in ("versions", "files", "bytes", "failed")}
    versions, files = report.count(done["versions"], "version"), report.count(done["files"], "file")
    failed = f"; {done['failed']} failed" if done["failed"] else ""
    return f"{what} {versions} in {files}, {report.size(done['bytes'])}{failed}."


def _login(settings: Settings, *, needed: bool) -> tuple[str, str] | None:
    """The user of the Secret.

    Raises:
        ConfigurationError: It has none, and somebody who may publish is needed.
    """
    parts = []
    for name in ("username", "password"):
        path = settings.credentials_directory / name
        parts.append(path.read_text("utf-8").strip("\r\n") if path.exists() else "")
    user, password = parts
    if user and password and ":" not in user:
        return user, password
    if needed or user or password:
        raise ConfigurationError(
            f"the Secret {settings.credentials_secret} must have the keys username and password, of a publisher"
        )
    return None


if __name__ == "__main__":
    main()
