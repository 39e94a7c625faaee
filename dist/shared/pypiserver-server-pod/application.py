"""The WSGI application: pypiserver's, with the index in memory, durable publishing, and the gateway's questions."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from server.access.credentials import Credentials
from server.http import errors, upstream
from server.http.slots import Slots
from server.http.upstream import HTTPError, request, response
from server.index import findings as facts
from server.index import yanks
from server.index.digests import Digests
from server.index.downloads import Downloads
from server.index.findings import Facts
from server.index.listing import Listing
from server.index.metadata import Metadata
from server.index.pages import Pages
from server.index.simple import Simple
from server.index.yanks import Yanks
from server.pod import start
from server.pod.metrics import Metrics
from server.pod.settings import Settings
from server.publish.methods import ABANDONED_SECONDS, publisher
from server.publish.packages import Packages
from server.publish.uploads import Uploads
from server.volume.health import Volume
from server.volume.own_files import Hidden
from server.volume.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.access.credentials import Role

CHALLENGE = 'Basic realm="pypiserver"'


def create(settings: Settings | None = None) -> Any:  # noqa: ANN401 - bottle has no types
    """Build the application, which is ready to answer when this returns.

    Args:
        settings: Defaults to those of the environment.

    Raises:
        OSError: The package volume cannot be listed.
        UnknownPypiserverError: pypiserver lacks a route that this server changes the behaviour of.
    """
    logging.basicConfig(level=logging.INFO, format="[%(asctime)s] [%(levelname)s] [%(name)s] %(message)s")
    # pypiserver tells about every request at INFO; the gateway has the access log.
    logging.getLogger("pypiserver").setLevel(logging.WARNING)
    settings = settings or Settings.from_environment()
    root = settings.packages_directory
    volume = Volume(root, settings.ready_timeout_seconds)
    listing = Listing()
    pages = Pages(settings.pages_directory, listing.stamp)
    publishing = publisher(settings.publish_method, root)
    publishing.clean(0 if settings.writers == "one" else ABANDONED_SECONDS)
    in_place = settings.publish_method == "direct"
    withdrawn = Yanks(Hidden(root, yanks.DIRECTORY, in_place=in_place), listing, pages.drop)
    watch = Watch(listing, publishing, pages.drop, settings, withdrawn)
    watch.rescan()
    known = Facts(Hidden(root, facts.DIRECTORY, in_place=in_place), listing)
    digests = Digests(root, volume.problem, known.recall)
    metadata = Metadata(root, volume.problem, known.recall, pages.keep_metadata)
    packages = Packages(root, listing, digests, pages.drop)
    app = upstream.application(upstream.configuration(root), packages)
    app.default_error_handler = errors.plain
    app.add_hook("before_request", errors.refuse_bad_addresses)
    app.install(Slots(settings.threads, settings.concurrent_uploads, volume.problem))
    app.install(Uploads(publishing, packages.exists, volume.problem, removal=settings.allow_removal))
    app.install(pages)
    app.install(Downloads(root, listing, volume.problem))
    app.install(Simple(listing=listing, digests=digests, metadata=metadata, facts=known, yanks=withdrawn))
    app.install(withdrawn)
    metrics = Metrics(root, listing, volume.problem)
    app.install(metrics)
    app.route("/-/metrics", "GET", metrics.page, skip=True)
    app.route("/-/ready", "GET", _ready(volume.problem, watch.problem), skip=True)
    credentials = Credentials(settings.credentials_directory, start.initial_password(settings))
    app.route("/-/auth/reader", "GET", _verdict(credentials, "reader"), skip=True)
    app.route("/-/auth/publisher", "GET", _verdict(credentials, "publisher"), skip=True)
    volume.start()
    watch.start()
    known.start()
    metrics.start()
    return app


def _ready(*problems: Callable[[], str | None]) -> Callable[[], str]:
    def ready() -> str:
        for problem in problems:
            if text := problem():
                raise errors.unavailable(text)
        response.content_type = "text/plain; charset=UTF-8"
        return "ready\n"

    return ready


def _verdict(credentials: Credentials, role: Role) -> Callable[[], str]:
    def verdict() -> str:
        status = credentials.verdict(request.get_header("Authorization"), role)
        if status == HTTPStatus.UNAUTHORIZED:
            raise HTTPError(status, "A user and a password are needed", www_authenticate=CHALLENGE)
        if status == HTTPStatus.FORBIDDEN:
            raise HTTPError(status, "This user may read, but not publish or remove")
        response.status = int(status)
        return ""

    return verdict
