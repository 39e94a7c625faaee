"""What is counted of the upstream."""

from __future__ import annotations

from server.fetching.counters import Counters

NAMES = {
    "requests_total": "Requests to an index or its file hosts, by what came of them.",
    "seconds_total": "Seconds until an index began to answer.",
    "hidden_files_total": "Files that were left out of a page when it was read, by reason.",
}
"""The counters besides those of whatever is fetched."""


def counters() -> Counters:
    """Counters whose names begin with `pypiserver_upstream_`."""
    return Counters("pypiserver_upstream", NAMES)
