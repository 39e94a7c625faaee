"""What an upload or a removal must be for pypiserver to see it, and the status that answers one that fails."""

from __future__ import annotations

import functools
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from server.http.errors import RefusedError, from_os, unavailable
from server.http.upstream import HTTPError, name_and_version, normalised, request
from server.index import metadata
from server.index.digests import FORM_FIELDS, Upload
from server.publish import forms
from server.publish.body import Body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from server.publish.methods import Publisher

LONGEST_NAME = 246
"""How long a file's name may be: with `.metadata` after it, it still is one (NAME_MAX is 255)."""
_SERVED = re.compile(
    r"[A-Za-z0-9_!+-][A-Za-z0-9_.!+-]*\.(?i:whl|tar\.gz|zip|tgz|tar\.bz2|tar\.xz|egg|exe|msi)(?:\.asc)?"
)
_FILES = frozenset({"content", "gpg_signature"})
"""The parts of the form that are kept."""
_FIELDS = {
    ":action": 100,
    "name": 1000,
    "version": 1000,
    "reason": 10_000,
    "attestations": 128 * 2**10,
    "gpg_signature": 64 * 2**10,
    **dict.fromkeys(FORM_FIELDS, 200),
}
"""The fields of the form that are read, and how many bytes each may have."""
_PROJECT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class Uploads:
    """The bottle plugin around pypiserver's route for uploads and removals."""

    api = 2  # of bottle's plugins: `apply` gets the route

    def __init__(
        self,
        publisher: Publisher,
        exists: Callable[[str], bool],
        problem: Callable[[], str | None],
        *,
        removal: bool,
    ) -> None:
        """Write what comes to a draft of `publisher`.

        Refuse what `exists`, everything while there is a `problem` with the volume, and removals unless allowed.
        """
        self._publisher = publisher
        self._exists = exists
        self._problem = problem
        self._removal = removal

    def apply(self, callback: Callable[..., Any], route: Any) -> Callable[..., Any]:  # noqa: ANN401 - bottle's interface
        """Guard the one route that writes (bottle's interface for plugins)."""
        if (route.method, route.rule) != ("POST", "/"):
            return callback

        @functools.wraps(callback)
        def guarded() -> object:
            drafts: list[Upload] = []
            try:
                try:
                    self._check(drafts)
                    return callback()
                finally:
                    for draft in drafts:
                        draft.discard()
            except FileExistsError as error:
                raise _existing(Path(error.filename2 or error.filename).name) from error
            except RefusedError as error:
                raise HTTPError(HTTPStatus.BAD_REQUEST, str(error)) from error
            except OSError as error:
                raise from_os(error) from error

        return guarded

    def _check(self, drafts: list[Upload]) -> None:
        body = Body(request.environ)
        try:
            self._receive(body, drafts)
        except (HTTPError, OSError, RefusedError):
            for draft in drafts:
                draft.discard()
            body.drop()
            raise
        form: Mapping[str, str] = request.forms
        action = form.get(":action")
        if action == "doc_upload":
            # pypiserver reads all of it into memory, and drops it.
            raise RefusedError("Documentation is not kept here")
        if action == "remove_pkg" and not self._removal:
            raise HTTPError(
                HTTPStatus.FORBIDDEN, "Removal is off: what is published stays (ALLOW_REMOVAL=yes allows it)"
            )
        if action in {"remove_pkg", "file_upload", "yank", "unyank"} and (problem := self._problem()):
            raise unavailable(problem)
        if form.get("gpg_signature"):
            # Only a file of it is kept.
            raise RefusedError("gpg_signature is no file")
        sent = [request.files[name].file for name in _FILES if name in request.files]
        if action == "file_upload" and any(isinstance(file, _Nowhere) for file in sent):
            raise RefusedError("The form has another :action before its file")
        if action == "file_upload" and (content := request.files.get("content")):
            _check_form(content.raw_filename, form)
            content.file.check({field: form[field] for field in FORM_FIELDS if form.get(field)})
            metadata.check(content.raw_filename, content.file.content())

    def _receive(self, body: Body, drafts: list[Upload]) -> None:
        """Read the body into what bottle knows as the form."""

        def receive(name: str, filename: str, form: Mapping[str, str]) -> forms.File | None:
            if name not in _FILES:
                if name in _FIELDS:
                    raise RefusedError(f"{name} is a field, and no file")
                return None
            if name in form:
                raise RefusedError(f"The form has more than one file {name}")
            # The action may still come.
            if form.get(":action", "file_upload") != "file_upload":
                return _Nowhere()
            self._check_name(filename)
            if problem := self._problem():
                raise unavailable(problem)
            drafts.append(Upload(self._publisher.draft(), [field for field in FORM_FIELDS if form.get(field)]))
            return drafts[-1]

        if request.content_type.startswith("multipart/"):
            # Where bottle would keep what it reads.
            content_type = request.environ["CONTENT_TYPE"]
            request.environ["bottle.request.post"] = forms.read(body.read, content_type, _FIELDS, receive)
            body.drop()
        else:
            # One more than bottle takes of such a form, so that it refuses what is longer.
            body.replace(request.environ, request.MEMFILE_MAX + 1)

    def _check_name(self, filename: str) -> None:
        # pypiserver would take a name that begins with a dot, and never list the file; the gateway's addresses have no
        # room for some others, and no index page for projects that are not named as in PEP 508.
        if len(filename) > LONGEST_NAME:
            raise RefusedError(f"Bad filename: more than {LONGEST_NAME} characters")
        if not _SERVED.fullmatch(filename):
            raise RefusedError(f"Bad filename: {filename}")
        # Only then: what pypiserver finds a wheel's name with takes minutes for some names that have a line break.
        guess = name_and_version(filename)
        if not guess or not _PROJECT.fullmatch(normalised(guess[0])):
            raise RefusedError(f"Bad filename: {filename}")
        if self._exists(filename):
            raise _existing(filename)


class _Nowhere:
    """Where a file goes that nobody wants."""

    def write(self, block: bytes) -> None:
        pass


def _check_form(filename: str, form: Mapping[str, str]) -> None:
    """Compare what the form says, if it does, with what pypiserver will list the file as."""
    guess = name_and_version(filename)
    if guess is None:
        return
    name, version = form.get("name"), form.get("version")
    if name and normalised(name) != normalised(guess[0]):
        raise RefusedError(f"The name of {filename} is not that of the project {name}")
    if version and _comparable(version) != _comparable(_version(filename, guess[1])):
        raise RefusedError(f"The name of {filename} is not that of the version {version}")


def _version(filename: str, guess: str) -> str:
    try:
        return str(parse_wheel_filename(filename)[1])
    except InvalidWheelFilename:
        return guess


def _comparable(version: str) -> Version | str:
    try:
        return Version(version)
    except InvalidVersion:
        return version


def _existing(filename: str) -> HTTPError:
    # To twine too, to which pypiserver says 400: 409 says what is wrong.
    return HTTPError(HTTPStatus.CONFLICT, f"Package {filename!r} already exists! What is published cannot be replaced.")
