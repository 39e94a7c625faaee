"""A public index, and registries that lead to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from public_index import PublicIndex
from upstream_programs import Registry, registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upstream_programs import Start


@pytest.fixture(scope="module")
def shared_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicIndex]:
    """For tests that each have projects of their own."""
    with PublicIndex(tmp_path_factory.mktemp("shared")) as started:
        yield started


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory, shared_index: PublicIndex) -> Iterator[Registry]:
    """A pod that leads to it."""
    with registry(tmp_path_factory.mktemp("pod") / "pod", shared_index) as started:
        yield started


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PublicIndex]:
    with PublicIndex(tmp_path) as started:
        yield started


@pytest.fixture
def start(tmp_path: Path, index: PublicIndex) -> Iterator[Start]:
    """Starts pods that lead to the index, or to others, and kills them at the end of the test."""
    with contextlib.ExitStack() as stack:
        count = 0

        def begin(*indexes: PublicIndex, **options: Any) -> Registry:  # noqa: ANN401 - of upstream_programs.registry
            nonlocal count
            count += 1
            return stack.enter_context(registry(tmp_path / f"pod{count}", *(indexes or (index,)), **options))

        yield begin


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A pod with private names, one of which somebody has published on its public index."""
    directory = tmp_path_factory.mktemp("private")
    with PublicIndex(directory) as started, registry(directory / "pod", started, private_names=["acme-*"]) as pod:
        started.add("acme-tool", "66.6")
        yield pod
