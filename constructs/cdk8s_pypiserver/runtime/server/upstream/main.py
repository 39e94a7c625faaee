"""The program: `python -m server.upstream.main`."""

from __future__ import annotations

import os
from pathlib import Path

from server.fetching import program
from server.fetching.cache import Cache
from server.fetching.fetches import Fetches
from server.upstream.configuration import Configuration, ConfigurationError
from server.upstream.connections import Connections
from server.upstream.counters import counters
from server.upstream.listener import listen
from server.upstream.policy import Policy
from server.upstream.projects import Projects
from server.upstream.service import METADATA, Upstream


def main() -> None:
    """Answer until the process ends; the settings are variables of the environment."""
    read = os.environ
    program.begin(read.get("LOG_LEVEL", "info"))
    directory = Path(read.get("UPSTREAM_CACHE", "/var/cache/pypiserver"))
    counted = counters()
    try:
        configuration = Configuration.from_file(Path(read["UPSTREAM_CONFIGURATION"]))
        indexes = [
            Connections(
                index,
                proxy=configuration.proxy,
                secrets=Path(read.get("UPSTREAM_CREDENTIALS", "/etc/pypiserver/upstream-credentials")),
                authorities=Path(read.get("UPSTREAM_AUTHORITIES", "/etc/pypiserver/upstream-ca")),
                counters=counted,
            )
            for index in configuration.indexes
        ]
        cache = Cache(directory / "files", directory / "unfinished", configuration.cache_bytes, counted)
        projects = Projects(indexes, directory / "projects", page_seconds=configuration.page_seconds)
    except (ConfigurationError, OSError) as error:
        program.end(f"the upstream cannot start: {error}")
    policy = Policy(configuration)
    # What was kept when the rules were others.
    cache.drop(lambda path: policy.covers(path.parts[-3], path.name.removesuffix(METADATA)))
    cache.start()
    fetches = Fetches(cache, counted)
    upstream = Upstream(indexes, projects=projects, policy=policy, cache=cache, fetches=fetches, counters=counted)
    listen(upstream, int(read.get("UPSTREAM_PORT", "8083")))


if __name__ == "__main__":
    main()
