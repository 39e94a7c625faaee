"""The size of a cache on a volume of its own, which bounds it."""

from decimal import Decimal
from typing import Annotated

from .fields import Form, quantity

LEAST = 1 << 30
"""Bytes that files have at least: large wheels would push each other out."""
_SHARE = Decimal("0.9")
_BESIDE_FILES = 512 << 20


def _too_small(value: str) -> str | None:
    try:
        size = quantity(value)
    except ValueError:
        return None
    return "must be at least 1Gi: large wheels would push each other out" if size < LEAST else None


CacheSize = Annotated[
    str,
    Form(r"[0-9]+(?:\.[0-9]+)?[KMGTP]i?", "must be an amount of bytes such as 10Gi or 200G", 20, _too_small),
]
"""Size of a cache, as a Kubernetes quantity."""


def bytes_of_files(size: str) -> int:
    """Return how much of a volume of this size files may take: nine tenths, less 512 MiB for what is beside them."""
    return int(quantity(size) * _SHARE) - _BESIDE_FILES
