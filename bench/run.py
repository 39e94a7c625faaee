"""Runs the benchmarks: `python bench/run.py [name…]`; with --write their figures go to docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The programs of the pod are started as the tests start them.
sys.path += [str(ROOT / "tests"), str(ROOT / "constructs/cdk8s_pypiserver/runtime")]

from processes import prepare  # noqa: E402 - found through the line above

# Before cdk8s is imported, which starts Node.js.
prepare()

import contention  # noqa: E402
import deciding  # noqa: E402
import growth  # noqa: E402
import guessing  # noqa: E402
import keeping  # noqa: E402
import machine  # noqa: E402
import monitoring  # noqa: E402
import public  # noqa: E402
import rendering  # noqa: E402
import resolving  # noqa: E402
import serving  # noqa: E402
import store  # noqa: E402
import synthesis  # noqa: E402
import transfer  # noqa: E402
from report import Scale, Section  # noqa: E402

BENCHMARKS = {
    "synth": synthesis.measure,
    "render": rendering.measure,
    "serve": serving.measure,
    "decide": deciding.measure,
    "resolve": resolving.measure,
    "public": public.measure,
    "publish": contention.measure,
    "store": store.measure,
    "growth": growth.measure,
    "flood": guessing.measure,
    "backup": keeping.measure,
    "copy": transfer.measure,
    "monitor": monitoring.measure,
}
DOCUMENT = ROOT / "docs/performance.md"
INTRODUCTION = """\
# Performance

Written by `python bench/run.py --write`; do not edit. Every figure stands beside a baseline that was measured in turn
with it: the ratios carry over to other machines, the figures do not. On a busy machine they spread.
"""


def main() -> int:
    """Run what was asked for; 1 if a target is missed."""
    options = _options()
    pictures = DOCUMENT.parent if options.write else ROOT / "build"
    quick = Scale(rounds=3, seconds=1.0, sizes=(1_000, 10_000), pictures=pictures)
    scale = quick if options.quick else Scale(pictures=pictures)
    sections: list[Section] = []
    for name in options.name or BENCHMARKS:
        state = machine.settle(options.patience)
        section = BENCHMARKS[name](scale)
        today = datetime.now(tz=timezone.utc).date().isoformat()
        section.notes.append(f"Measured on {today}, {machine.processor()}; {state}.")
        print(section, flush=True)
        sections.append(section)
    if options.write:
        earlier = DOCUMENT.read_text("utf-8") if DOCUMENT.exists() else ""
        DOCUMENT.write_text(_document(sections, earlier), "utf-8")
    return 0 if all(target.met for section in sections for target in section.targets) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which benchmarks to run: {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument(
        "--write", action="store_true", help="write docs/performance.md; what is not run keeps its figures"
    )
    parser.add_argument("--quick", action="store_true", help="short runs, for working on the benchmarks")
    parser.add_argument(
        "--patience", type=float, default=0, metavar="SECONDS", help="how long to wait for a quiet machine"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.name if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}")
    return options


def _document(sections: list[Section], earlier: str) -> str:
    """Put the sections in place of those of the same title."""
    texts = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in earlier.split("\n## ")[1:]}
    texts |= {section.title: str(section) for section in sections}
    facts = "".join(f"- {fact}\n" for fact in machine.facts())
    return "\n".join([INTRODUCTION, facts, *texts.values()])


if __name__ == "__main__":
    sys.exit(main())
