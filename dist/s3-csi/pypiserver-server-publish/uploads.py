"""What an upload must be, from the first byte of its form on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from server.access.attestation_rules import AttestationRules
from server.http.bottle import HTTPError, request
from server.http.errors import RefusedError, unavailable
from server.index import attestations
from server.index.names import name_and_version, normalised
from server.index.spelling import PACKAGE, PROJECT
from server.publish import forms
from server.publish.body import Body
from server.publish.hashed import FORM_FIELDS, HashedDraft
from server.publish.verification import Verification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from server.access.who import Right
    from server.publish.drafts import Publisher

LONGEST_NAME = 246
"""How long a file's name may be: with `.metadata` after it, it still is one (NAME_MAX is 255)."""
MOST_DIGITS = 19
"""How many digits a number of a version may have: uv, for one, counts in 64 bits, and passes over what has more."""
FILENAME = "pypiserver.filename"
"""The key of the environment that has the name of the file in a form, for whoever says that it was refused."""
_SERVED = re.compile(rf"{PACKAGE}(?:\.asc)?")
_LONG_NUMBER = re.compile(rf"[0-9]{{{MOST_DIGITS + 1}}}")
_FILES = frozenset({"content", "gpg_signature"})
"""The parts of the form that are kept."""
_FIELDS = {
    ":action": 100,
    "name": 1000,
    "version": 1000,
    "reason": 10_000,
    "files": 100_000,
    "report": 4096,
    attestations.FIELD: attestations.LONGEST,
    "gpg_signature": 64 * 2**10,
    **dict.fromkeys(FORM_FIELDS, 200),
}
"""The fields of the form that are read, and how many bytes each may have."""
_PROJECT = re.compile(PROJECT)


class Uploads:
    """Receives the forms of the one address that is written to."""

    def __init__(
        self,
        publisher: Publisher,
        twin: Callable[[str], str | None],
        problem: Callable[[], str | None],
        permit: Callable[[Right, str], None] = lambda *_: None,
        verification: Verification | None = None,
    ) -> None:
        """Write what comes to a draft of `publisher`.

        Refuse what has a `twin`, and every file while there is a `problem` with the volume; `permit` refuses projects
        that whoever sends a file may not publish, and `verification` attestations, which without it are checked for
        form alone.
        """
        self._permit = permit
        self._publisher = publisher
        self._verification = verification or Verification(AttestationRules(), 0, 1)
        self._twin = twin
        self._problem = problem

    @contextmanager
    def received(self) -> Iterator[Mapping[str, str]]:
        """Read the form of the request, whose files are there as long as the context lasts.

        Raises:
            HTTPError: The volume is away, or the name exists.
            OSError: The volume does not take a file.
            RefusedError: It is no form that can be accepted.
        """
        drafts: list[HashedDraft] = []
        try:
            body = Body(request.environ)
            try:
                self._receive(body, drafts)
            except (HTTPError, OSError, RefusedError):
                # Before the rest of the body is waited for.
                for draft in drafts:
                    draft.discard()
                body.drop()
                raise
            yield request.forms
        finally:
            for draft in drafts:
                draft.discard()

    def files(self, form: Mapping[str, str]) -> list[tuple[str, HashedDraft]]:
        """The names and contents of the files in a form: a package, and perhaps a signature.

        Raises:
            RefusedError: They do not fit each other, or what the form says.
        """
        if form.get("gpg_signature"):
            # Only a file of it is kept.
            raise RefusedError("gpg_signature is no file")
        sent = [request.files[name] for name in ("content", "gpg_signature") if name in request.files]
        if any(isinstance(each.file, _Nowhere) for each in sent):
            raise RefusedError("The form has another :action before its file")
        if "content" not in request.files:
            raise RefusedError("Missing 'content' file-field!")
        content, *signatures = sent
        for each in signatures:
            if each.raw_filename != f"{content.raw_filename}.asc":
                raise RefusedError(f"{each.raw_filename} is no signature of {content.raw_filename}")
        _check_form(content.raw_filename, form)
        content.file.check({field: form[field] for field in FORM_FIELDS if form.get(field)})
        content.file.look_inside(content.raw_filename)
        return [(each.raw_filename, each.file) for each in sent]

    def provenance(self, form: Mapping[str, str]) -> bytes | None:
        """The provenance object of the package in a form, None if it has no attestations.

        Raises:
            HTTPError: One is missing where it must not be, or does not verify, or nobody can tell.
            RefusedError: They are not of the form of PEP 740, or about another file.
        """
        content = request.files["content"]
        guess = name_and_version(content.raw_filename)
        if guess is None:
            raise RefusedError(f"Bad filename: {content.raw_filename}")
        return self._verification.provenance(
            request.forms.getunicode(attestations.FIELD, "") if form.get(attestations.FIELD) else "",
            normalised(guess[0]),
            content.raw_filename,
            content.file.digest.partition("=")[2],
        )

    def _receive(self, body: Body, drafts: list[HashedDraft]) -> None:
        """Read the body into what bottle knows as the form."""

        def receive(name: str, filename: str, form: Mapping[str, str]) -> forms.File | None:
            if name not in _FILES:
                if name in _FIELDS:
                    raise RefusedError(f"{name} is a field, and no file")
                return None
            request.environ.setdefault(FILENAME, filename)
            if name in form:
                raise RefusedError(f"The form has more than one file {name}")
            # The action may still come.
            if form.get(":action", "file_upload") != "file_upload":
                return _Nowhere()
            self._check_name(filename)
            if problem := self._problem():
                raise unavailable(problem)
            drafts.append(HashedDraft(self._publisher.draft(), [field for field in FORM_FIELDS if form.get(field)]))
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
        # Clients read what is behind the + as text.
        if _LONG_NUMBER.search(guess[1].partition("+")[0]):
            raise RefusedError(f"Bad filename: a number of its version has more than {MOST_DIGITS} digits")
        # Before the next: who may not publish here is not told what there is.
        self._permit("publish", normalised(guess[0]))
        if twin := self._twin(filename):
            raise existing(twin, filename)


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


def existing(filename: str, sent: str = "") -> HTTPError:
    """The answer to an upload of which there is this file already, perhaps under another name than was `sent`."""
    # To twine too, to which pypiserver says 400: 409 says what is wrong.
    same = "" if sent in ("", filename) else f" {sent!r} would replace it."
    text = f"Package {filename!r} already exists! What is published cannot be replaced.{same}"
    return HTTPError(HTTPStatus.CONFLICT, text)
