"""Has checkov look at all that is rendered: `python tests/scan.py CHECKOV FOLDER`; what it finds must be explained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from everything import EVERYTHING
from manifests import OVERLAYS, compose, render

EXPLAINED = Path(__file__).with_name("explained_findings.yaml")


def main(checkov: str, folder: Path) -> int:
    """Print each finding that is not explained and each explanation without a finding; return how many there are."""
    # Apart, since checkov takes the policy of one namespace for that of all.
    charts, overlays = folder / "of-charts", folder / "of-overlays"
    for each in (charts, overlays):
        each.mkdir(parents=True)
    for name, (chart, components) in EVERYTHING.items():
        composed = compose(folder / name, chart, *components, namespace=name)
        _write(charts / f"{name}.yaml", composed)
    for overlay in sorted(OVERLAYS.iterdir()):
        _write(overlays / f"{overlay.name}.yaml", [*render(overlay), *render(overlay / "volume")])
    found: defaultdict[str, set[str]] = defaultdict(set)
    for each in (charts, overlays):
        _look(checkov, each, found)
    explained = yaml.safe_load(EXPLAINED.read_text("utf-8"))
    problems = [
        f"{rule} is not explained: {', '.join(sorted(where))}" for rule, where in found.items() if rule not in explained
    ]
    problems += [f"{rule} is explained and finds nothing" for rule in explained if rule not in found]
    print("\n".join(sorted(problems)) or f"{len(found)} rules find something, all explained in {EXPLAINED.name}")  # noqa: T201
    return len(problems)


def _write(file: Path, manifests: list[dict[str, Any]]) -> None:
    file.write_text(yaml.safe_dump_all(manifests), "utf-8")


def _look(checkov: str, folder: Path, found: defaultdict[str, set[str]]) -> None:
    """Add the rules that find something, with their names and what they are about."""
    options = ["--framework=kubernetes", "--output=json", "--quiet", "--compact", "--skip-download"]
    command = [checkov, *options, f"--directory={folder}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        reports = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"checkov: {done.stderr or done.stdout}") from None
    looked_at = 0
    for report in reports if isinstance(reports, list) else [reports]:
        looked_at += report["summary"]["resource_count"]
        if report["summary"]["parsing_errors"]:
            raise SystemExit(f"checkov cannot read {report['results'].get('parsing_errors')}")
        for each in report["results"]["failed_checks"]:
            found[each["check_id"]].add(f"{each['check_name']}: {each['resource'].split('.app.kubernetes.io')[0]}")
    if not looked_at:
        raise SystemExit("checkov has looked at nothing")


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1], Path(sys.argv[2])), 1))
