"""What a program that fetches files counts, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {
    "received_bytes_total": "Bytes that were received.",
    "fetches_total": "Files that were fetched, by what came of them.",
    "evictions_total": "Files that had to leave the cache for others.",
    "evicted_young_total": "Those of them that somebody had asked for within the last hour.",
}
"""The counters that every such program has."""


class Counters:
    """Counters by name and labels; all methods may be called from any thread."""

    def __init__(self, prefix: str, names: Mapping[str, str] | None = None) -> None:
        """Begin at zero.

        Args:
            prefix: What the names begin with, such as `pypiserver_upstream`.
            names: Further counters, and what they count.
        """
        self._prefix = prefix
        self._names = {**NAMES, **(names or {})}
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, float]] = {name: defaultdict(float) for name in self._names}

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter, or make it with a value of 0: a rate sees the first event only if it was there before."""
        written = ",".join(f'{key}="{text}"' for key, text in labels.items())
        with self._lock:
            self._values[name][written] += value

    def text(self, gauges: Mapping[str, Mapping[str, float]]) -> str:
        """All counters, and gauges by name and written labels."""
        with self._lock:
            lines = [
                line
                for kind, series in (("counter", self._values), ("gauge", gauges))
                for name, values in series.items()
                for line in (
                    *((f"# HELP {self._prefix}_{name} {self._names[name]}",) if name in self._names else ()),
                    f"# TYPE {self._prefix}_{name} {kind}",
                    *(self._line(name, labels, value) for labels, value in values.items()),
                )
            ]
        return "\n".join(lines) + "\n"

    def _line(self, name: str, labels: str, value: float) -> str:
        braces = f"{{{labels}}}" if labels else ""
        return f"{self._prefix}_{name}{braces} {value:.17g}"
