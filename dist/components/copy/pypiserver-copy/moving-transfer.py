"""Brings what is at a source to a target, several packages at a time."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from packaging.utils import canonicalize_name

from .package import same
from .problems import CopyError, ExistsError, HopelessError, InputError, StoppedError
from .report import Outcome, Result

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .package import Content, Package, Source, Target
    from .report import Report

T = TypeVar("T")
R = TypeVar("R")
LISTED_SECONDS = 15.0
"""How long a registry may take to list what it has taken: another of its pods may be asked."""
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class _Step:
    package: Package
    there: Package | None
    of_version: list[Package]


class Transfer:
    """One run."""

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        target: Target,
        report: Report,
        stop: threading.Event,
        *,
        only: Sequence[str] = (),
        jobs: int = 8,
        is_dry: bool = False,
    ) -> None:
        """Copy the projects whose names match a pattern of `only`, if there is one."""
        self._source = source
        self._target = target
        self._report = report
        self._stop = stop
        self._only = [canonicalize_name(each) if "[" not in each else each.lower() for each in only]
        self._jobs = jobs
        self._is_dry = is_dry
        self._hopeless: str | None = None

    @cached_property
    def projects(self) -> list[str]:
        """The normalised names of the projects that are copied.

        Raises:
            InputError: They cannot be had, or a pattern is the name of none.
        """
        # Servers that mirror others have more names than there are packages.
        if self._only and not any(set(each) & set("*?[") for each in self._only):
            return sorted(set(self._only))
        projects = self._source.projects()
        for pattern in self._only:
            if not any(fnmatchcase(each, pattern) for each in projects):
                raise InputError("--only", pattern, f"is the name of no project of {self._source.name}")
        return [
            each for each in projects if not self._only or any(fnmatchcase(each, pattern) for pattern in self._only)
        ]

    def run(self) -> None:
        """Do it; when `stop` is set it ends early.

        Raises:
            InputError: There is nothing to copy.
        """
        with ThreadPoolExecutor(self._jobs) as pool:
            planned = self._each(pool, self._plan, self.projects)
            steps = [step for each in planned for step in each]
            self._report.expect(len(steps), sum(step.package.size or 0 for step in steps))
            copied: dict[str, list[tuple[Package, Content]]] = defaultdict(list)
            for done in self._each(pool, self._take, steps):
                if done:
                    copied[done[0].project].append(done)
            for _ in self._each(pool, self._verify, list(copied.values())):
                pass

    def _each(self, pool: ThreadPoolExecutor, do: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Do it to all items, with few of them waiting, until the command is to end."""
        pending: set[Future[R]] = set()
        waiting = list(items)[::-1]
        while True:
            while waiting and len(pending) < 2 * self._jobs and not self._stop.is_set():
                pending.add(pool.submit(do, waiting.pop()))
            if not pending:
                return
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for each in done:
                if not isinstance(each.exception(), StoppedError):
                    yield each.result()

    def _plan(self, project: str) -> list[_Step]:
        """What there is to do for a project."""
        try:
            packages = self._source.packages(project)
            there = self._target.packages(project)
        except CopyError as error:
            self._report.add(Result(project, Outcome.FAILED, str(error)))
            return []
        versions: dict[str, list[Package]] = defaultdict(list)
        named = [package for package in packages if self._is_named(package)]
        for package in named:
            versions[package.release].append(package)
        steps = [_Step(each, there.get(each.filename), versions[each.release]) for each in named]
        # One that is there and known to be the same takes no bytes: it is told of at once.
        left = []
        for step in steps:
            if step.there and (is_same := same(step.package.digests, step.there.digests)) is not None:
                self._compared(step, is_same=is_same)
            elif self._is_dry and not step.there:
                self._report.add(Result(step.package.filename, Outcome.TO_COPY, size=step.package.size))
            else:
                left.append(step)
        return left

    def _is_named(self, package: Package) -> bool:
        """Whether a name says what the package is; else it is told of here."""
        try:
            package.parsed()
        except CopyError as error:
            self._report.add(Result(package.filename, Outcome.FAILED, str(error)))
            return False
        return True

    def _compared(self, step: _Step, *, is_same: bool) -> None:
        package = step.package
        if not is_same:
            why = "the target has another content under this name"
            self._report.add(Result(package.filename, Outcome.DIFFERENT, why, package.size))
            return
        self._source.forget(package)
        self._end(step, Outcome.THERE)

    def _end(self, step: _Step, outcome: Outcome, size: int | None = None) -> None:
        """Tell that a package is there, after its yanked state is."""
        package = step.package
        try:
            if not self._is_dry:
                self._target.withdraw(package, step.there, step.of_version)
        except CopyError as error:
            self._report.add(Result(package.filename, Outcome.DIFFERENT, str(error), package.size))
        else:
            self._report.add(Result(package.filename, outcome, size=package.size if size is None else size))

    def _take(self, step: _Step) -> tuple[Package, Content] | None:
        """Copy a package, or compare what could not be compared yet; returns what was copied."""
        package, there = step.package, step.there
        if self._hopeless:
            self._report.add(Result(package.filename, Outcome.FAILED, self._hopeless, package.size))
            return None
        try:
            with self._source.fetch(package, there.digests if there else ()) as content:
                if there is None:
                    there = self._put(package, content)
                if there is None:
                    self._end(step, Outcome.COPIED, content.size)
                    return package, content
                self._compared(_Step(package, there, step.of_version), is_same=self._is_same(content, there))
        except HopelessError as error:
            self._hopeless = f"not tried, after another was answered: {error}"
            self._report.add(Result(package.filename, Outcome.FAILED, str(error), package.size))
        except CopyError as error:
            self._report.add(Result(package.filename, Outcome.FAILED, str(error), package.size))
        return None

    def _put(self, package: Package, content: Content) -> Package | None:
        """Put a package to the target; returns what was there already, if something was."""
        try:
            self._target.put(package, content)
        except ExistsError as error:
            # Another run was faster, or an answer was lost.
            if there := self._listed(package):
                return there
            raise CopyError(f"{error}; it is not listed under this name") from error
        return None

    def _listed(self, package: Package) -> Package | None:
        """What the target lists under the name of a package that it says it has, as soon as it does."""
        # A registry refuses a second upload while the first is on its way, and another of its pods may be asked.
        for _ in self._looks():
            files = self._target.packages(package.project)
            if there := files.get(package.filename):
                return there
            if any(package.means(each) for each in files.values()):
                return None
        return None

    def _looks(self) -> Iterator[None]:
        """Come back for another look until a registry must have listed what it has taken, or the command is to end."""
        for _ in range(int(LISTED_SECONDS / LOOK_SECONDS)):
            yield
            if self._stop.wait(LOOK_SECONDS):
                return
        yield

    def _is_same(self, content: Content, there: Package) -> bool:
        content.whole()
        is_same = same(content.digests, there.digests)
        if is_same is None:
            is_same = same(content.digests, self._target.digest(there, content.digests)) is True
        return is_same

    def _verify(self, copied: list[tuple[Package, Content]]) -> None:
        """Compare what a target lists with what it was given."""
        missing = dict.fromkeys(package.filename for package, _ in copied)
        for _ in self._looks():
            try:
                there = self._target.packages(copied[0][0].project)
            except CopyError as error:
                self._report.add(Result(copied[0][0].project, Outcome.FAILED, f"copied, but not verified: {error}"))
                return
            for package, content in copied:
                listed = there.get(package.filename)
                if listed and package.filename in missing:
                    del missing[package.filename]
                    if same(content.digests, listed.digests) is False:
                        why = "the target lists it with another digest"
                        self._report.replace(Result(package.filename, Outcome.DIFFERENT, why, package.size))
            if not missing:
                return
        if not self._stop.is_set():
            for filename in missing:
                self._report.replace(Result(filename, Outcome.FAILED, "the target does not list it"))
