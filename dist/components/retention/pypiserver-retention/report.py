"""What people read: what goes and by which rule, what stays and why, and what the rules do not meet."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retention.configuration import Configuration, Rule
    from retention.judgement import Verdict
    from retention.releases import File, Release

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass
class Plan:
    """What the rules say of a registry as it was listed."""

    configuration: Configuration
    projects: int = 0
    versions: int = 0
    files: int = 0
    size: int = 0
    going: dict[str, list[Verdict]] = field(default_factory=lambda: defaultdict(list))
    """By project."""
    spared: list[Verdict] = field(default_factory=list)
    staying: dict[Rule | None, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How many versions stay, by the rule and the reason."""
    projects_of: Counter[Rule | None] = field(default_factory=Counter)
    unordered: list[tuple[str, File]] = field(default_factory=list)
    met_pins: set[str] = field(default_factory=set)
    lock_files: dict[str, int] = field(default_factory=dict)
    """How many entries each has."""

    def add(self, rule: Rule | None, verdicts: list[Verdict], unordered: list[tuple[str, File]]) -> None:
        """Take what was said of a project."""
        self.projects += 1
        self.projects_of[rule] += 1
        self.unordered += unordered
        self.files += len(unordered)
        self.size += sum(file.size for _, file in unordered)
        for verdict in verdicts:
            release = verdict.release
            self.versions += 1
            self.files += len(release.files)
            self.size += release.size
            if verdict.goes:
                self.going[release.project].append(verdict)
            elif verdict.spared:
                self.spared.append(verdict)
            else:
                self.staying[rule][verdict.why] += 1

    @property
    def verdicts(self) -> list[Verdict]:
        """Those of all that go."""
        return [verdict for verdicts in self.going.values() for verdict in verdicts]

    @property
    def excess(self) -> str | None:
        """Why so much is not done in one run, None if it is."""
        going, configuration = len(self.verdicts), self.configuration
        share = 100 * going / max(1, self.versions)
        if going <= configuration.most_versions and share <= configuration.most_percent:
            return None
        return (
            f"{going} of {self.versions} versions ({share:.1f} %) would go, and one run may take {_many(configuration)}"
            ": most_versions and most_percent say so"
        )


def lines(plan: Plan, place: str) -> Iterator[str]:
    """The report of a plan."""
    configuration = plan.configuration
    yanks = configuration.action == "yank"
    yield (
        f"{place} has {count(plan.projects, 'project')} with {count(plan.versions, 'version')} in "
        f"{count(plan.files, 'file')}, {size(plan.size)}."
    )
    yield ""
    going = plan.verdicts
    total = sum(each.release.size for each in going)
    files = sum(len(each.release.files) for each in going)
    verb = "be yanked" if yanks else "go"
    yield (
        f"{'Would' if configuration.dry_run else 'Will'} {verb}: {count(len(going), 'version')} in "
        f"{count(files, 'file')}, {size(total)}"
    )
    for verdict in going:
        yield f"  {described(verdict.release)}: {verdict.why}; {verdict.rule.called if verdict.rule else ''}"
    if plan.spared:
        yield f"Stay, though a rule would take them: {count(len(plan.spared), 'version')}"
        for verdict in plan.spared:
            yield f"  {described(verdict.release)}: {verdict.spared} ({verdict.why})"
    yield "Stay:"
    for rule in (*configuration.rules, None):
        if rule is None and not plan.projects_of[None]:
            continue
        called = rule.called if rule else "no rule"
        yield f"  {called}: {count(plan.projects_of[rule], 'project')}"
        for why, number in plan.staying[rule].most_common():
            yield f"    {count(number, 'version')}: {why}"
    for project, file in plan.unordered:
        yield f"  {file.name} of {project}: its version cannot be compared with others (PEP 440)"
    yield from _without_effect(plan)
    for name, number in sorted(plan.lock_files.items()):
        yield f"{name} names {count(number, 'package')}."


def _without_effect(plan: Plan) -> Iterator[str]:
    for rule in plan.configuration.rules:
        if not plan.projects_of[rule]:
            yield f"Matches nothing: {rule.called} is about no project that is here."
    for pin in plan.configuration.pinned:
        if pin not in plan.met_pins:
            yield f"Matches nothing: {pin} in pinned is about no version that is here."


def described(release: Release) -> str:
    """A version with what it takes."""
    uploaded = f"{release.uploaded:%Y-%m-%d}" if release.uploaded else "at an unknown time"
    return f"{release} ({count(len(release.files), 'file')}, {size(release.size)}, uploaded {uploaded})"


def size(number: float) -> str:
    """A number of bytes as people read it."""
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == _UNITS[0] else f"{number:.1f} {unit}"


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _many(configuration: Configuration) -> str:
    return f"{configuration.most_versions} and {configuration.most_percent} %"
