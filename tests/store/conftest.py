from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from store_programs import Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(tmp_path, stack)
