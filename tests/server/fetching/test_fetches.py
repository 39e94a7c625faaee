from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003

import pytest

from programs import wait_for
from public_index import PublicIndex, Trouble
from server.fetching import fetches
from server.fetching.answers import AwayError
from server.fetching.cache import Cache
from server.fetching.fetches import Fetches, Order
from server.upstream.configuration import IndexConfiguration
from server.upstream.connections import Connections
from server.upstream.counters import counters


def test_files_that_wait_to_be_fetched_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks for thousands and goes leaves a thread and a descriptor for each."""
    monkeypatch.setattr(fetches, "MOST_RUNNING", 2)
    counted = counters()
    with PublicIndex(tmp_path) as index:
        configuration = IndexConfiguration(name="public", url=index.url, file_hosts=(index.file_host,), plain_http=True)
        through = Connections(configuration, proxy=None, secrets=tmp_path, authorities=tmp_path, counters=counted)
        cache = Cache(tmp_path / "cache/files", tmp_path / "cache/unfinished", 2**30, counted)
        running = Fetches(cache, counted)
        files = [index.add("demo", version) for version in ("1.0", "2.0", "3.0")]
        orders = [Order(through, index.file_url(each), each.sha256, None, 2**20, 1e9) for each in files]
        finals = [cache.files / "demo" / each.sha256 / each.name for each in files]
        held = index.trouble("demo", Trouble(hold_at=1))
        for order, final in zip(orders[:2], finals, strict=False):
            os.close(running.join(final, order)[1])
        with pytest.raises(AwayError, match="Too many"):
            running.join(finals[2], orders[2])
        held.go.set()
        wait_for(lambda: cache.count == 2, "both files")
        os.close(running.join(finals[2], orders[2])[1])
        wait_for(lambda: cache.count == 3, "the third")
