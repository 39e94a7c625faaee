"""The program: `python -m retention.main`."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

from retention import locks, report
from retention.configuration import Configuration, ConfigurationError, Settings
from retention.registry import Place, Registry, context
from retention.run import Run, StoppedError


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
    locked = locks.read(settings.locks_directory, configuration.lock_config_maps)
    secured = context(settings.certificates) if configuration.tls else None
    place = Place(settings.registry_host, configuration.port, secured, configuration.tls_name)
    login = _login(settings, needed=not configuration.dry_run)
    run = Run(configuration, Registry(place, login, patience_seconds=configuration.patience_seconds), locked, stop)
    try:
        plan = run.plan()
        print("\n".join(report.lines(plan, f"{place.host}:{place.port}")), flush=True)  # noqa: T201
        if configuration.dry_run:
            return 0, _dry(plan)
        run.carry_out(plan)
    except StoppedError as error:
        hint = "" if login or "401" not in str(error) else f"; there is no Secret {settings.credentials_secret}"
        return 1, f"Stopped: {error}{hint}. {_done(run, configuration)}"
    return int(run.failed > 0), _done(run, configuration)


def _dry(plan: report.Plan) -> str:
    going = plan.verdicts
    said = f"Dry run, nothing was changed: {report.count(len(going), 'version')} would go, {_size(plan)}."
    return f"{said} Such a run would stop before it changes anything: {plan.excess}." if plan.excess else said


def _size(plan: report.Plan) -> str:
    return report.size(sum(each.release.size for each in plan.verdicts))


def _done(run: Run, configuration: Configuration) -> str:
    what = "Yanked" if configuration.action == "yank" else "Removed"
    versions, files = report.count(run.done, "version"), report.count(run.files, "file")
    failed = f"; {run.failed} failed" if run.failed else ""
    return f"{what} {versions} in {files}, {report.size(run.size)}{failed}."


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
