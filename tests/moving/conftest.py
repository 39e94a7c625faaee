"""What the tests of moving share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_programs import Registry, registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Registry]:
    """Return our registry, empty."""
    with registry(tmp_path / "target") as running:
        yield running
