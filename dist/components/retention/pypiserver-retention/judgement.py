"""Which versions of a project go, and why each of the others stays."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from server.index.patterns import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from retention.configuration import Configuration, Rule
    from retention.locks import Locks
    from retention.releases import Release


class Verdict(NamedTuple):
    """What becomes of a version."""

    release: Release
    goes: bool
    why: str
    """By what the rule has it go or stay."""
    rule: Rule | None = None
    spared: str | None = None
    """Why it stays although the rule has it go."""


class Judge:
    """Judges one project after the other; remembers which pins were about something."""

    def __init__(self, configuration: Configuration, locks: Locks, now: datetime) -> None:
        """Judge by the rules as things are `now`."""
        self._configuration = configuration
        self._locks = locks
        self._now = now
        self._pins = Rules(configuration.pinned)
        self.met_pins: set[str] = set()

    def verdicts(self, project: str, releases: Sequence[Release]) -> list[Verdict]:
        """What becomes of the releases of a project, which come the newest first."""
        rule = self._configuration.rule_of(project)
        pins = {each: self._pin(each) for each in releases}
        if rule is None:
            return [Verdict(each, goes=False, why="no rule is about it") for each in releases]
        found = [self._by_exceptions(each, pins[each.release]) for each in self._by_rule(rule, releases)]
        return _with_the_last(found) if rule.keep_last else found

    def _by_rule(self, rule: Rule, releases: Sequence[Release]) -> Iterable[Verdict]:
        replaced = _replaced(releases) if rule.final_replaces_prereleases else {}
        counted = [each for each in releases if each.version not in replaced and not each.is_yanked]
        apart = rule.keep_prereleases is not None
        for each in releases:
            if final := replaced.get(each.version):
                yield Verdict(each, goes=True, why=f"its final {final} is there", rule=rule)
                continue
            is_pre = each.version.is_prerelease
            alike = [other for other in counted if not apart or other.version.is_prerelease == is_pre]
            most = rule.keep_prereleases if apart and is_pre else rule.keep_versions
            what = "pre-releases" if apart and is_pre else "finals" if apart else "versions"
            yield self._counted(each, rule, alike, most, what)

    def _counted(self, release: Release, rule: Rule, alike: Sequence[Release], most: int | None, what: str) -> Verdict:
        if most is None and rule.keep_days is None:
            return Verdict(release, goes=False, why=f"its rule is not about {what}", rule=rule)
        past = []
        if most is not None:
            # 1.0+cpu and 1.0+cu118 are one version for different machines.
            own = _public(release)
            newer = {public for each in alike if (public := _public(each)) > own}
            last = f"the last {what[:-1]}" if most == 1 else f"among the last {most} {what}"
            if len(newer) < most:
                return Verdict(release, goes=False, why=last, rule=rule)
            past.append(f"not {last}" if most else f"{what} are not kept")
        if rule.keep_days is not None:
            if self._is_younger(release, rule.keep_days):
                return Verdict(release, goes=False, why=f"younger than {rule.keep_days} days", rule=rule)
            past.append(f"older than {rule.keep_days} days")
        return Verdict(release, goes=True, why=", ".join(past), rule=rule)

    def _by_exceptions(self, verdict: Verdict, pin: str | None) -> Verdict:
        release = verdict.release
        if not verdict.goes:
            return verdict
        spared = f"pinned by {pin}" if pin else None
        hashes = (each for file in release.files for each in file.hashes)
        if spared is None and (file := self._locks.naming(release.project, release.version, hashes)):
            spared = f"named by {file}"
        if spared is None and self._is_younger(release, self._configuration.minimum_age_days):
            spared = f"younger than {self._configuration.minimum_age_days} days, the minimum age"
        if spared is None and self._configuration.action == "yank" and release.is_yanked:
            spared = "yanked already"
        return verdict if spared is None else verdict._replace(goes=False, spared=spared)

    def _is_younger(self, release: Release, days: int) -> bool:
        return release.uploaded is None or self._now - release.uploaded < timedelta(days=days)

    def _pin(self, release: Release) -> str | None:
        met = self._pins.covering(release.project, str(release.version), unknown=True)
        self.met_pins.update(met)
        return met[0] if met else None


def _replaced(releases: Sequence[Release]) -> dict[Version, Version]:
    """Pre-releases whose final is there and not yanked, with that final."""
    finals = {
        _final(each.version): each.version for each in releases if not each.version.is_prerelease and not each.is_yanked
    }
    return {
        each.version: final
        for each in releases
        if each.version.is_prerelease and (final := finals.get(_final(each.version)))
    }


def _final(version: Version) -> tuple[int, tuple[int, ...], int | None]:
    """What a pre-release and its final have in common: 1.0rc1, 1.0.dev3 and 1.0; 1.0.post1.dev2 and 1.0.post1."""
    numbers = version.release
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers = numbers[:-1]
    return version.epoch, numbers, version.post


def _public(release: Release) -> Version:
    return Version(release.version.public)


def _with_the_last(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Spare what installers take if nobody names a version: nobody is to get less than before."""
    last = min((each.release for each in verdicts), key=_rank, default=None)
    return [
        each._replace(goes=False, spared="the last of its project") if each.goes and each.release == last else each
        for each in verdicts
    ]


def _rank(release: Release) -> tuple[bool, bool]:
    # They come the newest first, and min takes the first of those that are alike.
    return release.is_yanked, release.version.is_prerelease
