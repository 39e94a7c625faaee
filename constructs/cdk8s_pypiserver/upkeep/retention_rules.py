"""What of which projects is kept."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from cdk8s_pypiserver.base.model import Spec
from cdk8s_pypiserver.base.patterns import NamePattern, PatternIndex, normalised
from cdk8s_pypiserver.base.problems import Problem

MOST = 100_000
"""More are a slip of the pen."""


class RetentionRuleSpec(Spec):
    """What of some projects is kept: a version that nothing here keeps may go.

    A version is every file of it, and is as old as the youngest of them. Those that are yanked do not count among the
    last ones, and `1.0+cpu` counts as one with `1.0+cu118`.
    """

    projects: Sequence[NamePattern] = ()
    """Names and patterns of projects, in any spelling; without any the rule is about every project that no earlier one
    is about, and has to be the last."""
    keep_versions: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """How many versions are kept, the highest ones."""
    keep_days: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """For how many days after its upload a version is kept, whatever its number."""
    keep_prereleases: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """How many pre-releases are kept, the highest ones; then `keep_versions` counts finals alone. If nothing is said
    they are versions like any."""
    final_replaces_prereleases: bool = False
    """Whether pre-releases go once their final is there (2.0rc1 and 2.0.dev3 with 2.0), whatever is kept besides."""
    keep_last: bool = True
    """Whether the last version of a project stays: the highest final that is not yanked, else the highest."""

    def conflicts(self) -> Iterator[Problem]:
        """Yield a rule without effect."""
        yield from super().conflicts()
        keeps = (self.keep_versions, self.keep_days, self.keep_prereleases)
        if keeps == (None, None, None) and not self.final_replaces_prereleases:
            yield self.problem(
                "keep_versions",
                "must be given, or keep_days, keep_prereleases or final_replaces_prereleases: nothing would ever go",
            )
        if self.keep_versions and not self.keep_last:
            reason = f"must be left out with keep_versions ({self.keep_versions}): some version is always kept"
            yield self.problem("keep_last", reason)
        if self.final_replaces_prereleases and self.keep_prereleases == 0 and self.keep_days is None:
            reason = "must be left out with keep_prereleases (0): none is kept anyway"
            yield self.problem("final_replaces_prereleases", reason)


def without_effect(rules: Sequence[RetentionRuleSpec], pinned: Sequence[str]) -> Iterator[Problem]:
    """Yield rules that are about no project, since others are about all of theirs."""
    earlier = PatternIndex[tuple[int, str]]()
    everything: int | None = None
    pins = PatternIndex((normalised(pin), normalised(pin)) for pin in pinned)
    for number, rule in enumerate(rules):
        if everything is not None:
            reason = f"must stand before rules[{everything}], which is about every project that is left"
            yield Problem(("rules", number, "projects"), list(rule.projects), reason)
            continue
        if not rule.projects:
            everything = number
        for index, pattern in enumerate(map(normalised, rule.projects)):
            path = ("rules", number, "projects", index)
            if first := earlier.covering(pattern):
                reason = f"is never reached: rules[{first[0][0]}] is about it ({first[0][1]})"
                yield Problem(path, rule.projects[index], reason)
            elif pin := pins.covering(pattern):
                reason = f"has no effect with pinned ({pin[0]}): no version of it may go"
                yield Problem(path, rule.projects[index], reason)
            earlier.add(pattern, (number, pattern))
