"""A gateway in front of a recorder, started for each test: that takes a tenth of a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_programs import Scene, Setup, scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Scene]:
    """Reads need credentials."""
    with scene(tmp_path) as started:
        yield started


@pytest.fixture
def anonymous(tmp_path: Path) -> Iterator[Scene]:
    """Reads need none."""
    with scene(tmp_path, Setup(anonymous=True)) as started:
        yield started


@pytest.fixture(scope="module")
def shared_private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Reads need credentials; shared by tests that change nothing."""
    with scene(tmp_path_factory.mktemp("private")) as started:
        yield started


@pytest.fixture(scope="module")
def shared_anonymous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Reads need none; shared by tests that change nothing."""
    with scene(tmp_path_factory.mktemp("anonymous"), Setup(anonymous=True)) as started:
        yield started
