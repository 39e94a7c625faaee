"""How long a cold `make synth` takes, against a bare cdk8s app, and what one more registry adds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import ROOT, Command, alternate
from report import Scale, Section, Target, median, number, spread

BENCH = ROOT / "bench"
COUNTS = (1, 11, 41)
ROUNDS = 15


def measure(scale: Scale) -> Section:
    """Run both apps in turn, each in a fresh process."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        # As when nothing has changed since the last synth.
        shutil.copytree(ROOT / "dist", directory / "dist")
        python = [sys.executable, "-O"]
        results = alternate(
            {
                "bare cdk8s app, ten Services": Command([*python, str(BENCH / "bare_app.py"), "bare"], directory),
                "`python -O app.py`": Command([*python, str(ROOT / "app.py")], directory),
            },
            ROUNDS,
        )
        rounds = [[_registries(directory, count) for count in COUNTS] for _ in range(scale.rounds)]
        growth = {count: median(times) for count, times in zip(COUNTS, zip(*rounds, strict=True), strict=True)}
    section = Section(
        "Synth",
        f"Each in a fresh process, in turn, {ROUNDS} times after one run that does not count; medians, the ratio "
        "that of the pairs. The bare app imports cdk8s and cdk8s_plus_27, makes ten Services, synthesizes them. "
        "Both run with `python -O`, on the same Node.js, with the package cache of jsii filled and modules compiled.",
        ["", "seconds", "range", "CPU seconds"],
    )
    for name, runs in results.items():
        walls = [run.wall for run in runs]
        section.rows.append([name, number(median(walls)), spread(walls), number(median([run.cpu for run in runs]))])
    for count, seconds in growth.items():
        section.rows.append([f"an app with registries, without start-up: {count}", number(seconds), "", ""])
    bare, ours = results.values()
    # Both of a pair saw the same machine.
    ratios = [one.wall / other.wall for one, other in zip(ours, bare, strict=True)]
    section.targets.append(Target("app.py against the bare app", median(ratios), 1.5))
    first, middle, last = COUNTS
    slopes = [(growth[high] - growth[low]) / (high - low) * 1000 for low, high in ((first, middle), (middle, last))]
    one_more = (growth[last] - growth[first]) / (last - first) * 1000
    section.targets.append(Target("one more registry", one_more, 40, unit="ms"))
    section.notes.append(
        f"Growth: {number(slopes[0])} ms a registry from {first} to {middle}, {number(slopes[1])} ms from {middle} to "
        f"{last}."
    )
    return section


def _registries(directory: Path, count: int) -> float:
    command = [sys.executable, "-O", str(BENCH / "many_registries.py"), str(directory / "many"), str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
