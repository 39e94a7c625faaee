"""Files of JSON that say who may do what, which somebody may have written by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> Any:  # noqa: ANN401 - whatever it says
    """What a file says.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or a key is in an object twice: the last would count and nobody see the others.
    """
    return json.loads(path.read_text("utf-8"), object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found
