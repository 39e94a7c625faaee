"""Packages in a store: the parts that know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.http.limits import Needs
from server.http.routes import Route
from server.pod.backing import Backing
from server.pod.samples import Sample
from server.store import start
from server.store.catalogue import Catalogue
from server.store.following import Following
from server.store.holdings import Holdings
from server.store.listed import Listed
from server.store.metadata import StoredMetadata
from server.store.notes import StoredNotes
from server.store.own_files import StoredFiles
from server.store.parts import Parts
from server.store.publishing import StorePublisher
from server.store.survey import SHOWN, Survey
from server.store.unfinished import Unfinished
from server.volume.health import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from server.index.listing import Change, Listing
    from server.index.pages import Pages
    from server.index.watch import OwnRecords
    from server.pod.settings import Settings
    from server.volume.problems import Problems


def in_store(
    settings: Settings, *, listing: Listing, pages: Pages, problems: Problems, stale: Callable[[Change], None]
) -> Backing:
    """Keep packages in an object store, and in the package directory only those that are asked for.

    Args:
        settings: Which store.
        listing: Is kept like the store's catalogue.
        pages: Keep METADATA that was read.
        problems: Are told of objects that cannot be read.
        stale: Is told what changes.
    """
    root = settings.packages_directory
    remote = start.remote_of(settings)
    identity = start.identity_of(settings, remote)
    holdings = Holdings(root, listing, stale)
    catalogue = Catalogue(remote, holdings, identity.name)
    unfinished = Unfinished(remote, listing)
    # Away means that the copies that are kept cannot be read; the store may be away, and they can.
    cache = Volume(root, lambda: None, settings.ready_timeout_seconds)
    publishing = StorePublisher(
        root, remote=remote, catalogue=catalogue, listing=listing, unfinished=unfinished, identity=identity
    )
    publishing.clean(0)
    survey = Survey(
        remote,
        catalogue=catalogue,
        holdings=holdings,
        listing=listing,
        unfinished=unfinished,
        identity=identity,
        problems=problems,
    )
    following = Following(
        remote,
        catalogue,
        survey=survey,
        holdings=holdings,
        unfinished=unfinished,
        parts=Parts(remote, unfinished, settings.store_parts_seconds),
        identity=identity,
        writes=settings.writes,
        poll_seconds=settings.store_poll_seconds,
        rescan_seconds=settings.rescan_seconds,
    )

    def files(name: str) -> StoredFiles:
        return StoredFiles(name, remote=remote, catalogue=catalogue, holdings=holdings, shown=SHOWN[name])

    def watching(own: Iterable[OwnRecords]) -> Following:
        following.own = tuple(own)
        return following

    def samples() -> Iterator[Sample]:
        away = following.away()
        yield Sample("pypiserver_store_answers", "Whether the object store answers.", away is None)
        # Who only looks does not find out that nothing can be put there.
        if reason := away or remote.refused:
            text = "Why the object store does not do what it is asked for."
            yield Sample("pypiserver_store_problem", text, 1, labels=f'{{reason="{reason}"}}')
        text = "Requests to the store that failed."
        yield Sample("pypiserver_store_failed_requests_total", text, remote.failures, "counter")
        yield Sample("pypiserver_store_requests_total", "Requests to the store.", remote.requests, "counter")
        text = "When the catalogue in the store was last looked at."
        yield Sample("pypiserver_store_catalogue_timestamp_seconds", text, following.looked)
        if settings.writes:
            text = "Whether another server has taken over writing to the store."
            yield Sample("pypiserver_store_fenced", text, following.fenced)
            text = "Listed files that the bucket has not, if more than half: too many to be believed gone."
            yield Sample("pypiserver_store_lost_files", text, survey.lost)
            text = "Objects that were put there by hand, and are still to be read."
            yield Sample("pypiserver_store_unread_objects", text, survey.unread)
            text = "When the whole bucket was last compared with the catalogue."
            yield Sample("pypiserver_store_survey_timestamp_seconds", text, following.surveyed)

    def begin() -> None:
        cache.start()
        unfinished.start()

    return Backing(
        publisher=publishing,
        files=files,
        problem=cache.problem,
        unready=cache.problem,
        closed=lambda: cache.problem() or following.closed(),
        verify=lambda: None,
        writes=lambda: settings.writes and not following.fenced,
        insides=StoredMetadata(remote, pages.keep_metadata),
        recall=lambda _: None,
        tell=lambda *_: None,
        remember=lambda _: None,
        unread=lambda: survey.projects,
        watching=watching,
        notes=StoredNotes(remote),
        samples=samples,
        routes=(Route("GET", "/-/stored/<path:path>", Listed(listing).stored, Needs.NOTHING),),
        start=begin,
    )
