"""A figure of the page of metrics, as whoever counts it hands it on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Sample(NamedTuple):
    """One figure."""

    name: str
    text: str
    value: float
    kind: str = "gauge"
    labels: str = ""
    """In braces, if there are any."""


def text_of(samples: Iterable[Sample]) -> str:
    """The figures in the text format of Prometheus; those of one name follow each other."""
    lines, before = [], ""
    for each in samples:
        if each.name != before:
            lines += [f"# HELP {each.name} {each.text}", f"# TYPE {each.name} {each.kind}"]
        lines.append(f"{each.name}{each.labels} {each.value:.17g}")
        before = each.name
    return "".join(f"{line}\n" for line in lines)
