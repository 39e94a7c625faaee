"""Packages on a volume: the parts that know of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from server.index import announcements, findings
from server.index.announcements import Announced, Announcements
from server.index.findings import Findings
from server.index.metadata import Metadata
from server.index.watch import Watch
from server.pod.backing import Backing
from server.pod.guard import Guard
from server.pod.notes import VolumeNotes
from server.pod.start import SPARE_SECONDS, marker
from server.publish.methods import ABANDONED_SECONDS, publisher
from server.volume.health import Volume
from server.volume.own_files import OwnFiles
from server.volume.replacement import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from server.index.listing import Change, Listing
    from server.index.pages import Pages
    from server.index.watch import OwnRecords
    from server.pod.settings import Settings
    from server.volume.problems import Problems


def on_volume(
    settings: Settings, *, listing: Listing, pages: Pages, problems: Problems, stale: Callable[[Change], None]
) -> Backing:
    """Keep packages on the package volume.

    Args:
        settings: Which volume, and how to write to it.
        listing: Is kept like the volume.
        pages: Keep METADATA that was read.
        problems: Are told of entries that cannot be read.
        stale: Is told what changes.

    Raises:
        OSError: It is another volume.
    """
    root, in_place = settings.packages_directory, settings.publish_method == "direct"
    mark = marker(settings)
    mark.adopt()
    volume = Volume(root, mark.verify, settings.ready_timeout_seconds)
    replacement = Replacement(root, settings.replacement_directory)
    guard = Guard(settings, mark.verify, volume.problem)
    publishing = publisher(settings.publish_method, root)
    if settings.writes:
        publishing.clean(0 if settings.writers == "one" else ABANDONED_SECONDS)

    files = partial(OwnFiles, root, in_place=in_place, writes=settings.writes)

    told = files(announcements.DIRECTORY)
    tells = in_place and settings.readers
    announcing = Announcements(told) if tells and settings.writes else None
    announced = Announced(told, settings.poll_seconds + SPARE_SECONDS) if tells and not settings.writes else None

    def watching(own: Iterable[OwnRecords]) -> Watch:
        return Watch(
            root,
            listing,
            own,
            stale,
            problems,
            verify=mark.verify,
            unfinished=publishing.unfinished,
            times_tell=not in_place,
            rescan_seconds=settings.rescan_seconds,
            announced=announced,
        )

    found = Findings(files(findings.DIRECTORY), listing, volume.problem, mark.verify)

    def start() -> None:
        volume.start()
        replacement.start()
        guard.start()
        found.start()
        if announcing:
            announcing.start()

    return Backing(
        publisher=publishing,
        files=files,
        problem=volume.problem,
        unready=guard.problem,
        closed=guard.problem,
        verify=guard.verify,
        writes=guard.writes,
        insides=Metadata(root, volume.problem, found.recall, pages.keep_metadata),
        recall=found.recall,
        remember=found.keep,
        unread=frozenset,
        tell=announcing.tell if announcing else lambda *_: None,
        watching=watching,
        notes=VolumeNotes(root, in_place=in_place, writes=settings.writes),
        samples=lambda: iter(()),
        routes=(),
        start=start,
    )
