from __future__ import annotations

from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING

import pytest

from public_index import Answer, PublicIndex
from public_pages import PLAIN_HTML
from server.upstream import projects
from server.upstream.configuration import IndexConfiguration
from server.upstream.connections import Connections
from server.upstream.counters import counters
from server.upstream.projects import Projects

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PublicIndex]:
    with PublicIndex(tmp_path) as started:
        yield started


def of(index: PublicIndex, tmp_path: Path) -> Projects:
    configuration = IndexConfiguration(name="public", url=index.url, file_hosts=(index.file_host,), plain_http=True)
    through = Connections(configuration, proxy=None, secrets=tmp_path, authorities=tmp_path, counters=counters())
    return Projects([through], tmp_path / "projects", page_seconds=600)


def test_links_are_seen_from_where_a_redirection_has_led(index: PublicIndex, tmp_path: Path) -> None:
    index.lies["old"] = lambda: Answer(302, {"Location": f"{index.pages.url}/simple/new/"})
    index.lies["new"] = lambda: Answer(200, {"Content-Type": PLAIN_HTML}, b'<a href="old-1.0.zip">old</a>')
    (file,) = of(index, tmp_path).project("old").page.files
    assert file.url == f"{index.url}new/old-1.0.zip"


def test_what_is_read_from_disk_counts_as_what_is_in_memory(
    index: PublicIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "MOST_FILES_IN_MEMORY", 4)
    names = [f"demo{number}" for number in range(8)]
    for name in names:
        index.add(name, "1.0")
    of_before, after = of(index, tmp_path), of(index, tmp_path)
    for known in (of_before, after):
        for name in names:
            assert known.project(name).page.files
        assert len(known._memory) == 4
    assert len(index.requests()) == len(names)
