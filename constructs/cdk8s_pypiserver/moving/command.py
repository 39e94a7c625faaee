"""`copy`: what the command line names is opened, then copied."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import bucket
from .credentials import Login, Logins
from .directory import Directory, TargetDirectory
from .downloads import Downloads, cache
from .environments import Environment
from .index import SimpleIndex
from .lock_source import LockedSource
from .locks import read
from .pace import Pace
from .problems import InputError, StoppedError, why
from .registry import IndexSource, Registry
from .report import Report
from .transfer import Transfer
from .web import Web

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from .package import Source

INTERRUPTED = 130


def run(given: Namespace) -> int:
    """Copy as the arguments say, and return the exit status."""
    stop = threading.Event()
    report = Report(is_dry=given.dry_run)
    try:
        with _stopping(stop), ExitStack() as opened:
            _check(given)
            target = _target(given, stop)
            source = _source(given, stop, report, target, opened)
            transfer = Transfer(source, target, report, stop, only=given.only, jobs=given.jobs, is_dry=given.dry_run)
            if (
                isinstance(target, Registry)
                and (projects := transfer.projects)
                and (unsure := target.probe(projects[0]))
            ):
                sys.stderr.write(f"copy: {unsure}\n")
            with report:
                transfer.run()
            if isinstance(target, TargetDirectory):
                target.close()
    except InputError as error:
        sys.stderr.write(f"copy: error: {error}\n")
        return 2
    except StoppedError:
        pass
    report.print(interrupted=stop.is_set())
    if stop.is_set():
        return INTERRUPTED
    return 0 if report.is_well else 1


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Set `stop` when somebody wants the command to end; who wants it twice need not wait."""
    signals = (signal.SIGINT, signal.SIGTERM)

    def end(*_: object) -> None:
        stop.set()
        for each in signals:
            signal.signal(each, signal.SIG_DFL)

    before = {each: signal.signal(each, end) for each in signals}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _check(given: Namespace) -> None:
    """Refuse options that mean nothing together."""
    is_lock = not _is_url(given.source) and Path(given.source).is_file()
    for option, value in (("--python", given.python), ("--platform", given.platform), ("--index", given.index)):
        if value and not is_lock:
            raise InputError(option, value if isinstance(value, str) else value[0], "is for a lock file as SOURCE")
    if bool(given.python) != bool(given.platform):
        one, other = ("--python", "--platform") if given.python else ("--platform", "--python")
        raise InputError(one, getattr(given, one[2:])[0], f"needs {other} too")
    if given.target_index and not _is_url(given.target):
        raise InputError("--target-index", given.target_index, "is for a registry as TARGET")


def _is_url(text: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _web(given: Namespace, logins: Logins, pace: Pace) -> Web:
    return Web(logins, pace, retries=given.retries, timeout=given.timeout)


def _target(given: Namespace, stop: threading.Event) -> Registry | TargetDirectory:
    pace = Pace(stop, given.limit_rate)
    if not _is_url(given.target):
        return TargetDirectory(Path(given.target), pace)
    login = Login("TARGET", given.target, "COPY_TARGET_", os.environ)
    of_index = Login("--target-index", given.target_index, "COPY_TARGET_", os.environ) if given.target_index else login
    web = _web(given, Logins(login, of_index), pace)
    index = SimpleIndex(of_index.url if given.target_index else f"{login.url.rstrip('/')}/simple/", web)
    return Registry(login.url, web, index, Downloads(given.partial or cache(), web))


def _source(
    given: Namespace, stop: threading.Event, report: Report, target: Registry | TargetDirectory, opened: ExitStack
) -> Source:
    pace = Pace(stop, given.limit_rate, report.passed)
    partial = given.partial or (target.partial if isinstance(target, TargetDirectory) else cache())
    if given.source.startswith(bucket.PREFIX):
        place = given.source.removeprefix(bucket.PREFIX)
        return opened.enter_context(bucket.opened(place, pace, partial, retries=given.retries, timeout=given.timeout))
    if _is_url(given.source):
        login = Login("SOURCE", given.source, "COPY_SOURCE_", os.environ)
        web = _web(given, Logins(login), pace)
        source = IndexSource(SimpleIndex(login.url, web), Downloads(partial, web, given.jobs))
        if login.url.rstrip("/") == target.name.rstrip("/"):
            raise InputError("TARGET", target.name, "is SOURCE")
        return source
    path = Path(given.source)
    try:
        if path.is_dir():
            if isinstance(target, TargetDirectory) and path.resolve() == Path(target.name).resolve():
                raise InputError("TARGET", target.name, "is SOURCE")
            return Directory(path, pace)
        if path.is_file():
            return _locked(given, path, pace, partial)
    except OSError as error:
        raise InputError("SOURCE", path, f"cannot be read: {why(error)}") from error
    raise InputError("SOURCE", given.source, "is no URL, no directory, no file and no rclone:REMOTE:PATH")


def _locked(given: Namespace, path: Path, pace: Pace, partial: Path) -> LockedSource:
    environments = [Environment(python, platform) for python in given.python for platform in given.platform]
    locked = read(path, environments)
    if given.index:
        logins = [Login("--index", given.index, "COPY_SOURCE_", os.environ)]
    else:
        logins = [Login("SOURCE", url, "", {}) for url in sorted({each.index for each in locked if each.index})]
    web = _web(given, Logins(*logins), pace)
    index = SimpleIndex(logins[0].url, web) if given.index else None
    return LockedSource(str(path), locked, web, Downloads(partial, web, given.jobs), index)
