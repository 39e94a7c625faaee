"""The WSGI application: the parts of the server, and the table of what each answers."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from server.access.attestation_rules import AttestationRules
from server.access.decisions import Decisions
from server.access.exchange import Exchange
from server.access.rights import rights
from server.access.trusted import Publishers
from server.audit.trail import trail
from server.http.bottle import response
from server.http.errors import unavailable
from server.http.limits import Limits, Needs
from server.http.routes import Route, application
from server.index import browsing, owners, provenance, removed, reserved, yanks
from server.index.browsing import Browsing
from server.index.digests import Digests
from server.index.downloads import Downloads
from server.index.listing import Listing
from server.index.owners import Owners
from server.index.pages import Pages
from server.index.presence import Presence
from server.index.provenance import Provenance
from server.index.records import Records
from server.index.removed import Removed
from server.index.reserved import Reserved
from server.index.yanks import Yanks
from server.pod.metrics import Metrics
from server.pod.scraped import scraped
from server.pod.settings import Settings
from server.pod.upkeep import Upkeep
from server.publish import elsewhere
from server.publish.actions import Actions
from server.publish.claims import Claims
from server.publish.packages import Packages
from server.publish.uploads import Uploads
from server.publish.verification import Verification
from server.volume.backing import on_volume
from server.volume.notice import Notice
from server.volume.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.index.listing import Change
    from server.pod.backing import Backing
    from server.upstream.public import Public


def create(settings: Settings | None = None) -> Any:  # noqa: ANN401 - bottle has no types
    """Build the application, which is ready to answer when this returns.

    Args:
        settings: Defaults to those of the environment.

    Raises:
        OSError: What packages are kept in cannot be listed.
    """
    settings = settings or Settings.from_environment()
    level = settings.log_level.upper()
    logging.basicConfig(level=level, format="[%(asctime)s] [%(levelname)s] [%(name)s] %(message)s")
    root, many = settings.packages_directory, settings.writers == "many"
    listing, problems = Listing(), Problems()
    pages = Pages(settings.pages_directory, listing.stamp)
    has_public = settings.upstream_configuration is not None

    def stale(change: Change) -> None:
        pages.drop(change)
        if has_public:
            kept_names.notice(change)

    kept = _storage(settings)
    backing = kept(settings, listing=listing, pages=pages, problems=problems, stale=stale)

    def withdraw(change: Change) -> None:
        pages.drop(change)
        backing.tell(f".pypiserver/{yanks.DIRECTORY}", None)

    withdrawn = Yanks(backing.files(yanks.DIRECTORY), withdraw, problems)
    attested = Provenance(backing.files(provenance.DIRECTORY), pages.drop)
    kept_names = Reserved(
        backing.files(reserved.DIRECTORY), listing, shared=many or settings.readers, writes=settings.writes
    )
    rules, owned = rights(settings), Owners(backing.files(owners.DIRECTORY), problems)
    rules.owner = owned.known
    # Who reads is told by what is known; before a change the record is read.
    shows_owned = rules.leaves_names and rules.reads_by_project
    watch = backing.watching(
        (withdrawn, attested, *((kept_names,) if has_public else ()), *((owned,) if shows_owned else ()))
    )
    watch.rescan()
    digests = Digests(root, backing.problem, listing.know, backing.recall, problems)
    records = Records(digests, backing.insides, withdrawn, attested, backing.problem)
    presence = Presence(listing, problems, lambda: backing.problem() or watch.problem(), backing.unread)
    public = _public(settings, listing=listing, reserved=kept_names, pages=pages, presence=presence)
    decisions = Decisions(rules, owned, presence.is_new)
    pages_of = Browsing(listing, records, pages, backing.remember, public, decisions.readable, decisions.is_anonymous)
    downloads = Downloads(
        root,
        listing=listing,
        metadata=backing.insides,
        provenance=attested,
        digests=digests,
        problem=backing.problem,
    )
    names_stay_taken = settings.removed_names == "taken"
    packages = Packages(
        backing.publisher,
        listing,
        pages.drop,
        Claims(root, shared=many),
        attested,
        Removed(backing.files(removed.DIRECTORY), taken=names_stay_taken),
        trail(settings),
        # Another pod may have published it: then it is read for these two, and for nothing else.
        digests.of if names_stay_taken or settings.audit != "none" else lambda entry: entry.digest,
        first=_each(decisions.begin, *((kept_names.begin,) if has_public else ())),
        fewer=_each(decisions.end, *((kept_names.reserve,) if has_public else ())),
        found=pages.keep_new_metadata,
        remember=backing.remember,
        tell=backing.tell,
    )
    upkeep = Upkeep.of(settings, backing.notes)
    actions = Actions(
        uploads=Uploads(
            backing.publisher,
            packages.twin,
            backing.closed,
            decisions.check,
            Verification(
                AttestationRules.from_file(settings.attestations),
                settings.attestations_port,
                settings.concurrent_uploads,
            ),
        ),
        packages=packages,
        listing=listing,
        yanks=withdrawn,
        problem=backing.closed,
        verify=backing.verify,
        removal=settings.allow_removal,
        trail=trail(settings),
        report=upkeep.report,
        public=public,
        permit=decisions.check,
        # Retention takes versions away; a token for publishing tells nothing of it.
        permit_report=partial(decisions.check_scope, "yank", "remove"),
    )
    notice = Notice(settings.run_directory, backing.problem)
    metrics = Metrics(
        root,
        listing,
        problems,
        backing.problem,
        upkeep,
        writes=backing.writes,
        others=backing.samples,
        beside=partial(_counted_beside, settings),
    )

    routes: tuple[Route, ...] = (
        Route("POST", "/", actions.post if settings.writes else elsewhere.refuse, Needs.UPLOAD),
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
        Route("GET", "/-/ready", _ready(backing.unready, watch.problem, pages.problem), Needs.NOTHING),
        Route("GET", "/-/metrics", metrics.page, Needs.NOTHING),
        *backing.routes,
        *_trusted(settings),
    )
    if public:
        routes += (Route("GET", "/-/upstream/<project>/<rest:path>", public.file, Needs.VOLUME),)
        public.start()
    app = application(routes, Limits(settings.threads, settings.concurrent_uploads, backing.problem))
    backing.start()
    notice.start()
    watch.start()
    metrics.start()
    return app


def _public(
    settings: Settings, *, listing: Listing, reserved: Reserved, pages: Pages, presence: Presence
) -> Public | None:
    """Return the public side of the index, if there is one."""
    if not settings.upstream_configuration:
        return None
    # Elsewhere the room is not there.
    from server.upstream.configuration import Configuration  # noqa: PLC0415
    from server.upstream.public import Public  # noqa: PLC0415

    return Public(
        Configuration.from_file(settings.upstream_configuration),
        listing=listing,
        reserved=reserved,
        pages=pages,
        presence=presence,
        port=settings.upstream_port,
    )


def _each(*acts: Callable[[str], None]) -> Callable[[str], None]:
    """Return what does one after the other."""

    def act(project: str) -> None:
        for each in acts:
            each(project)

    return act


def _trusted(settings: Settings) -> Iterator[Route]:
    """Yield where trusted publishers exchange what they are, if there are any."""
    if settings.trusted_publishers:
        publishers = Publishers.from_file(settings.trusted_publishers)
        exchange = Exchange(publishers, publishers.tokens(settings), trail(settings))
        yield Route("GET", "/_/oidc/audience", exchange.audience, Needs.NOTHING)
        yield Route("POST", "/_/oidc/mint-token", exchange.mint, Needs.NOTHING)


def _storage(settings: Settings) -> Callable[..., Backing]:
    """Return what makes the parts that know where packages are kept."""
    if settings.publish_method != "store":
        return on_volume
    # Elsewhere the room is not there.
    from server.store.backing import in_store  # noqa: PLC0415

    return in_store


def _counted_beside(settings: Settings) -> str:
    """Return what else is counted in the pod: by the program that fetches, and where credentials are judged."""
    ports = [settings.fetching_port] if settings.publish_method == "store" else []
    return "".join(map(scraped, [*ports, settings.verdicts_port]))


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
