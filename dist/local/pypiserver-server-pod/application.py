"""The WSGI application: the parts of the server, and the table of what each answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from server.http.bottle import response
from server.http.errors import unavailable
from server.http.limits import Limits, Needs
from server.http.routes import Route, application
from server.index import browsing, findings, provenance, yanks
from server.index.browsing import Browsing
from server.index.digests import Digests
from server.index.downloads import Downloads
from server.index.findings import Findings
from server.index.listing import Listing
from server.index.metadata import Metadata
from server.index.pages import Pages
from server.index.provenance import Provenance
from server.index.records import Records
from server.index.watch import Watch
from server.index.yanks import Yanks
from server.pod.metrics import Metrics
from server.pod.settings import Settings
from server.publish.actions import Actions
from server.publish.claims import Claims
from server.publish.methods import ABANDONED_SECONDS, publisher
from server.publish.packages import Packages
from server.publish.uploads import Uploads
from server.volume.health import Volume
from server.volume.own_files import OwnFiles
from server.volume.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable


def create(settings: Settings | None = None) -> Any:  # noqa: ANN401 - bottle has no types
    """Build the application, which is ready to answer when this returns.

    Args:
        settings: Defaults to those of the environment.

    Raises:
        OSError: The package volume cannot be listed.
    """
    settings = settings or Settings.from_environment()
    level = settings.log_level.upper()
    logging.basicConfig(level=level, format="[%(asctime)s] [%(levelname)s] [%(name)s] %(message)s")
    root, in_place = settings.packages_directory, settings.publish_method == "direct"
    volume = Volume(root, settings.ready_timeout_seconds)
    publishing = publisher(settings.publish_method, root)
    publishing.clean(0 if settings.writers == "one" else ABANDONED_SECONDS)

    listing, problems = Listing(), Problems()
    pages = Pages(settings.pages_directory, listing.stamp)
    withdrawn = Yanks(OwnFiles(root, yanks.DIRECTORY, in_place=in_place), pages.drop, problems)
    attested = Provenance(OwnFiles(root, provenance.DIRECTORY, in_place=in_place), pages.drop)
    watch = Watch(
        root,
        listing,
        (withdrawn, attested),
        pages.drop,
        problems,
        unfinished=publishing.unfinished,
        times_tell=not in_place,
        rescan_seconds=settings.rescan_seconds,
    )
    watch.rescan()
    found = Findings(OwnFiles(root, findings.DIRECTORY, in_place=in_place), listing)
    metadata = Metadata(root, volume.problem, found.recall, pages.keep_metadata)
    digests = Digests(root, volume.problem, listing.know, found.recall, problems)
    records = Records(digests, metadata, withdrawn, attested, volume.problem)
    pages_of = Browsing(listing, records, pages, found)
    downloads = Downloads(
        root,
        listing=listing,
        metadata=metadata,
        provenance=attested,
        digests=digests,
        problem=volume.problem,
    )
    packages = Packages(root, listing, pages.drop, Claims(root, shared=settings.writers == "many"), attested)
    actions = Actions(
        uploads=Uploads(publishing, packages.twin, volume.problem),
        packages=packages,
        listing=listing,
        yanks=withdrawn,
        problem=volume.problem,
        removal=settings.allow_removal,
    )
    metrics = Metrics(root, listing, problems, volume.problem)

    routes = (
        Route("POST", "/", actions.post, Needs.UPLOAD),
        Route("GET", "/", pages_of.welcome, Needs.NOTHING),
        Route("GET", "/simple/", pages_of.index, Needs.NOTHING),
        Route("GET", "/simple/<project>/", pages_of.project, Needs.VOLUME),
        Route("GET", "/packages/", pages_of.packages, Needs.NOTHING),
        Route("GET", "/packages/<filename:path>", downloads.file, Needs.VOLUME),
        Route("GET", "/<project>/json", pages_of.description, Needs.NOTHING),
        Route("GET", "/simple", browsing.directory, Needs.NOTHING),
        Route("GET", "/simple/<project>", browsing.directory, Needs.NOTHING),
        Route("GET", "/packages", browsing.directory, Needs.NOTHING),
        Route("GET", "/<project>", browsing.misplaced, Needs.NOTHING),
        Route("GET", "/<project>/", browsing.misplaced, Needs.NOTHING),
        Route("GET", "/health", _health, Needs.NOTHING),
        Route("GET", "/-/ready", _ready(volume.problem, watch.problem, pages.problem), Needs.NOTHING),
        Route("GET", "/-/metrics", metrics.page, Needs.NOTHING),
    )
    app = application(routes, Limits(settings.threads, settings.concurrent_uploads, volume.problem))
    volume.start()
    watch.start()
    found.start()
    metrics.start()
    return app


def _health() -> str:
    return "Ok"


def _ready(*problems: Callable[[], str | None]) -> Callable[[], str]:
    def ready() -> str:
        for problem in problems:
            if text := problem():
                raise unavailable(text)
        response.content_type = "text/plain; charset=UTF-8"
        return "ready\n"

    return ready
