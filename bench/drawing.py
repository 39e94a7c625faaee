"""Pictures of what was measured, where matplotlib is installed (the extra `bench`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLUMNS = 2
INK, FAINT = "#1f4e79", "#8a8a8a"


def can_draw() -> bool:
    """Whether there is what draws."""
    return find_spec("matplotlib") is not None


def draw_growth(path: Path, quantities: Mapping[str, Mapping[int, float]]) -> None:
    """Draw a diagram a quantity over the number of files, both axes logarithmic, with a line of slope 1 to compare.

    Args:
        path: The PNG to write.
        quantities: For each title the values by number of files.
    """
    # Only who draws pays for loading it.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    rows = -(-len(quantities) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(9, 3.2 * rows), layout="constrained", squeeze=False)
    for axis, (title, values) in zip(axes.flat, quantities.items(), strict=False):
        sizes, measured = list(values), list(values.values())
        linear = [measured[0] * size / sizes[0] for size in sizes]
        axis.loglog(sizes, linear, "--", color=FAINT, linewidth=1)
        axis.annotate(
            "proportional",
            (sizes[-1], linear[-1]),
            color=FAINT,
            ha="right",
            va="top",
            rotation=0,
            xytext=(-18, 0),
            textcoords="offset points",
            fontsize=9,
        )
        axis.loglog(sizes, measured, "o-", color=INK, linewidth=2)
        for size, value in values.items():
            axis.annotate(
                f"{value:.3g}",
                (size, value),
                color=INK,
                ha="center",
                xytext=(0, -14),
                textcoords="offset points",
                fontsize=9,
            )
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.set_ylim(min(measured) / 3, max(*linear, *measured) * 2)
        axis.margins(x=0.12)
        axis.grid(visible=True, color="#e6e6e6")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("files")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
