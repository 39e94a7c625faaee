"""How long `kubectl kustomize` takes for each overlay, against an empty kustomization."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from processes import ROOT, Command, alternate
from report import Scale, Section, Target, median, number, spread

EMPTY = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n"


def measure(scale: Scale) -> Section:
    """Render all overlays in turn."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RuntimeError("kubectl is not on PATH; `make bench` puts the tool environment there")
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "kustomization.yaml").write_text(EMPTY, "utf-8")
        folders = {"an empty kustomization": Path(empty)}
        folders |= {f"overlays/{path.name}": path for path in sorted((ROOT / "overlays").iterdir()) if path.is_dir()}
        commands = {name: Command([kubectl, "kustomize", str(path)], ROOT) for name, path in folders.items()}
        results = alternate(commands, scale.rounds)
    section = Section(
        "Rendering overlays",
        f"`kubectl kustomize`, in turn, {scale.rounds} times after one run that does not count; medians.",
        ["", "ms", "range", "beyond empty"],
    )
    empty_seconds = median([run.wall for run in results["an empty kustomization"]])
    slowest = 0.0
    for name, runs in results.items():
        walls = [run.wall for run in runs]
        seconds = median(walls)
        slowest = max(slowest, seconds)
        section.rows.append(
            [name, number(seconds * 1000), spread(walls, 1000), number((seconds - empty_seconds) * 1000)]
        )
    section.targets += [
        Target("slowest overlay", slowest, 0.5, unit="s"),
        Target("slowest overlay beyond the empty kustomization", slowest - empty_seconds, 0.2, unit="s"),
    ]
    return section
