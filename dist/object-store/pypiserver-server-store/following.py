"""Keeps what is known like the store, as long as the process lives."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from server.store.complaints import Complaint
from server.store.problems import FencedError, StoreError
from server.volume.problems import why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.index.watch import OwnRecords
    from server.store.catalogue import Catalogue
    from server.store.holdings import Holdings
    from server.store.identity import Identity
    from server.store.parts import Parts
    from server.store.remote import Remote
    from server.store.survey import Survey
    from server.store.unfinished import Unfinished

_WRITER_EVERY = 15
"""How many looks at the catalogue there are for one at who writes, which is a request of its own."""
_log = logging.getLogger("following")


class Following:
    """Looks at the catalogue every few seconds, and if this server writes, at the whole bucket from time to time.

    A store that is away changes nothing: the last listing stays, and `problem` says why.
    """

    def __init__(  # noqa: PLR0913
        self,
        remote: Remote,
        catalogue: Catalogue,
        *,
        survey: Survey,
        holdings: Holdings,
        unfinished: Unfinished,
        parts: Parts,
        identity: Identity,
        writes: bool,
        poll_seconds: float,
        rescan_seconds: float,
    ) -> None:
        """Follow `catalogue`, which is in `remote`."""
        self._remote = remote
        self._catalogue = catalogue
        self.own: Sequence[OwnRecords] = ()
        """The records that are shown of it."""
        self._survey = survey
        self._holdings = holdings
        self._unfinished = unfinished
        self._parts = parts
        self._identity = identity
        self._writes = writes
        self._poll_seconds = poll_seconds
        self._rescan_seconds = rescan_seconds
        self._failure: str | None = None
        self._complaint, self._complaint_of_survey = Complaint(_log.warning), Complaint(_log.warning)
        self._looks = 0
        self._fence: str | None = None
        self.looked = 0.0
        """When the catalogue was last read, in seconds; 0 if it never was."""
        self.surveyed = 0.0
        """When the whole bucket was last listed."""

    @property
    def fenced(self) -> bool:
        """Whether another server writes."""
        return self._fence is not None

    def problem(self) -> str | None:
        """See Watching: while the store is away the catalogue that is known is shown."""
        return None

    def away(self) -> str | None:
        """Why the store cannot be used, in a word, or None if it can."""
        return self._complaint.reason

    def closed(self) -> str | None:
        """Why nothing can be published, or None if it can."""
        return self._fence or self._failure

    def rescan(self) -> None:
        """Read the whole catalogue, for the first time.

        Raises:
            OSError: The store does not say, or is another's.
        """
        self._identity.adopt(writes=self._writes)
        if self._writes:
            self._identity.take_over()
            self._catalogue.write_as(self._identity.may_write, conditional=self._identity.conditional)
        begun = time.monotonic()
        self._catalogue.load()
        if self._writes:
            self._unfinished.load()
        self._holdings.tidy()
        for each in self.own:
            each.rescan()
        self.looked = time.time()
        _log.info("the catalogue was read in %.1f s", time.monotonic() - begun)

    def look(self) -> None:
        """Take over what has changed, once.

        Raises:
            OSError: The store does not say.
        """
        if self._writes and not self.fenced and self._looks % _WRITER_EVERY == 0:
            self._catalogue.check_writer()
        self._looks += 1
        self._catalogue.follow()
        for each in self.own:
            each.look()
        self.looked = time.time()

    def start(self) -> None:
        """Begin to follow, until the process ends."""
        threading.Thread(target=self._run, name="following", daemon=True).start()
        if self._writes:
            threading.Thread(target=self._run_survey, name="survey", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._try()
            time.sleep(self._poll_seconds)

    def _try(self) -> None:
        try:
            self.look()
            if self._writes and not self.fenced:
                self._catalogue.merge()
        except FencedError as error:
            if not self.fenced:
                _log.error("%s: this server only reads from now on", why(error))
            self._fence = why(error)
        except StoreError as error:
            told = self._remote.explained(error)
            self._failure = f"The store is away: {why(told)}"
            self._complaint.make(told.reason, f"{why(told)}; the last listing stays")
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever it meets
            if self._failure is None:
                _log.exception("the store cannot be followed; the last listing stays")
            self._failure = f"The store is away: {why(error) if isinstance(error, OSError) else error}"
            self._complaint.make("other", self._failure)
        else:
            if self._complaint.end():
                _log.warning("The store is back")
            self._failure = None

    def _run_survey(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                if not self.fenced:
                    self._survey.run()
                    self._unfinished.sweep()
                    self.surveyed = time.time()
                    self._complaint_of_survey.end()
                    self._parts.end()
            except OSError as error:
                told = self._remote.explained(error) if isinstance(error, StoreError) else error
                reason = told.reason if isinstance(told, StoreError) else "other"
                self._complaint_of_survey.make(reason, f"{why(told)}; what is known stays")
                # As soon as it answers.
                time.sleep(min(self._poll_seconds * 5, self._rescan_seconds))
                continue
            except Exception:  # noqa: BLE001 - as above
                _log.exception("the bucket cannot be surveyed")
            time.sleep(max(1.0, self._rescan_seconds - (time.monotonic() - begun)))
