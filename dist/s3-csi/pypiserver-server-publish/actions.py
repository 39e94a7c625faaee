"""The one address that is written to: what a form asks for is its field `:action`, as on PyPI."""

from __future__ import annotations

import logging
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from server.http.bottle import HTTPError, request, response
from server.http.errors import RefusedError, from_os, unavailable
from server.index.names import name_and_version, normalised, version
from server.index.records import SIGNATURE
from server.index.yanks import is_same_version
from server.publish.packages import user
from server.publish.uploads import FILENAME, existing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from server.access.who import Right
    from server.audit.trail import Trail
    from server.index.listing import Entry, Listing
    from server.index.yanks import Yanks
    from server.publish.packages import Packages
    from server.publish.uploads import Uploads
    from server.upstream.public import Public

LONGEST_REASON = 1000
EVENTS = {"file_upload": "publish", "remove_pkg": "remove", "yank": "yank", "unyank": "unyank"}
"""What the audit trail calls the values of `:action`."""
_log = logging.getLogger("actions")


class Actions:
    """Answers forms."""

    def __init__(  # noqa: PLR0913
        self,
        *,
        uploads: Uploads,
        packages: Packages,
        listing: Listing,
        yanks: Yanks,
        problem: Callable[[], str | None],
        verify: Callable[[], None],
        removal: bool,
        trail: Trail,
        report: Callable[[str, str], None],
        public: Public | None = None,
        permit: Callable[[Right, str], None] = lambda *_: None,
        permit_report: Callable[[], None] = lambda: None,
    ) -> None:
        """Change `packages` and `yanks`, unless there is a `problem` with the volume; remove only if it is allowed.

        What was done is acknowledged only after `verify` has made sure that it was done to the volume, by the one pod
        that may; and nothing is begun without.
        `public` says which new names may be published; `permit` refuses what whoever asks has no right to, and
        `permit_report` who is no Job; `trail` is told who did what, and what was refused, and `report` of what a Job
        says of its own end.
        """
        self._reported = report
        self._permit = permit
        self._permit_report = permit_report
        self._uploads = uploads
        self._packages = packages
        self._listing = listing
        self._yanks = yanks
        self._problem = problem
        self._verify = verify
        self._removal = removal
        self._public = public
        self._trail = trail
        self._actions: dict[str, Callable[[Mapping[str, str]], None]] = {
            "file_upload": self._publish,
            "remove_pkg": self._remove,
            "yank": self._yank,
            "unyank": self._unyank,
            "report": self._report,
        }

    def post(self) -> str:
        """Answer the form of the request.

        Raises:
            HTTPError: It cannot be done.
            OSError: The volume did not take it.
            RefusedError: It is not to be done.
        """
        form: Mapping[str, str] = {}
        try:
            with self._uploads.received() as form:
                self._act(form)
        except FileExistsError as error:
            refusal = existing(Path(error.filename2 or error.filename).name)
            self._note(form, refusal.status_code, refusal.body)
            raise refusal from error
        except HTTPError as error:
            self._note(form, error.status_code, error.body)
            raise
        except RefusedError as error:
            self._note(form, HTTPStatus.BAD_REQUEST, str(error))
            raise
        except OSError as error:
            answer = from_os(error)
            self._note(form, answer.status_code, answer.body)
            raise
        return ""

    def _note(self, form: Mapping[str, str], status: int, reason: object) -> None:
        """Tell the trail that a form was not done as it asked."""
        file: str | None = request.environ.get(FILENAME)
        # A file may be refused before the rest of its form has come.
        action = form.get(":action", "file_upload" if file else "")
        self._trail.refused(
            EVENTS.get(action, "form"),
            status,
            str(reason),
            file=file,
            project=form.get("name"),
            version=form.get("version"),
        )

    def _act(self, form: Mapping[str, str]) -> None:
        action = form.get(":action")
        if action in {"verify", "submit"}:
            # distutils asked these before it uploaded; there is nothing to do.
            return
        if action is None:
            raise RefusedError("Missing ':action' field!")
        if action == "doc_upload":
            raise RefusedError("Documentation is not kept here")
        if action not in self._actions:
            raise RefusedError(f"Unsupported ':action' field: {action}")
        if action == "remove_pkg" and not self._removal:
            raise HTTPError(
                HTTPStatus.FORBIDDEN, "Removal is off: what is published stays (ALLOW_REMOVAL=yes allows it)"
            )
        if problem := self._problem():
            raise unavailable(problem)
        self._verify()
        self._actions[action](form)
        self._verify()

    def _publish(self, form: Mapping[str, str]) -> None:
        files = self._uploads.files(form)
        for filename, _ in files:
            if twin := self._packages.twin(filename):
                raise existing(twin)
        self._refuse_shadow(files[0][0])
        provenance = self._uploads.provenance(form)
        (filename, draft), *signatures = files
        self._packages.add(filename, draft, provenance)
        for filename, draft in signatures:
            self._packages.add(filename, draft)
        # For the gateway's log and its metrics.
        response.set_header("X-Stored", "yes")

    def _refuse_shadow(self, filename: str) -> None:
        guess = name_and_version(filename)
        if self._public and guess:
            self._public.refuse_shadow(normalised(guess[0]))

    def _remove(self, form: Mapping[str, str]) -> None:
        name, of = form.get("name"), form.get("version")
        if not name or not of:
            raise RefusedError(f"Missing 'name'/'version' fields: name={name}, version={of}")
        self._permit("remove", normalised(name))
        entries = [entry for entry in self._listing.of_project(name) if (name_and_version(entry.name) or "_")[1] == of]
        if not entries:
            raise HTTPError(HTTPStatus.NOT_FOUND, f"{name} ({of}) not found")
        if (known := form.get("files")) is not None:
            _refuse_others(entries, frozenset(known.split()))
        for entry in entries:
            self._packages.remove(entry)

    def _yank(self, _form: Mapping[str, str]) -> None:
        project, of, reason = self._withdrawal()
        self._trail.begun("yank", project=project, version=of, reason=reason)
        self._yanks.withdraw(project, of, reason)
        self._trail.done("yank", project=project, version=of, reason=reason)
        _log.info("%r: yank %s %s: %r", user(), project, of, reason)

    def _unyank(self, _form: Mapping[str, str]) -> None:
        project, of, _ = self._withdrawal()
        self._trail.begun("unyank", project=project, version=of)
        self._yanks.bring_back(project, of)
        self._trail.done("unyank", project=project, version=of)
        _log.info("%r: unyank %s %s", user(), project, of)

    def _report(self, form: Mapping[str, str]) -> None:
        self._permit_report()
        self._reported(form.get("name", ""), form.get("report", ""))

    def _withdrawal(self) -> tuple[str, str, str]:
        """The project, the version and the reason of a form, which are those of a file that is here."""
        project, of, reason = normalised(_text("name")), _text("version"), " ".join(_text("reason").split())
        if not project or not of:
            raise RefusedError("The form needs the fields name and version")
        if len(reason) > LONGEST_REASON:
            raise RefusedError(f"The reason may have {LONGEST_REASON} characters")
        self._permit("yank", project)
        if not any(is_same_version(version(entry.name), of) for entry in self._listing.of_project(project)):
            raise HTTPError(HTTPStatus.NOT_FOUND, f"{project} {of} is not here")
        return project, of, reason


def _refuse_others(entries: Iterable[Entry], known: frozenset[str]) -> None:
    """Refuse to remove files that whoever asks for it does not know of: somebody has published them since."""
    others = [entry.name for entry in entries if entry.name.removesuffix(SIGNATURE) not in known]
    if others:
        raise HTTPError(HTTPStatus.CONFLICT, f"{others[0]} is not among the files that were named: nothing is removed")


def _text(field: str) -> str:
    text: str = request.forms.getunicode(field, "").strip()
    return text
