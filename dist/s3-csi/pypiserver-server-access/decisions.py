"""Whether whoever sent the current request may do what it asks, of which a refusal says why."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from server.access.rights import grantee
from server.access.who import HEADER, Who
from server.audit.trail import AS
from server.http.bottle import HTTPError, request
from server.index.owners import NOBODY
from server.index.spelling import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.access.rights import Rights
    from server.access.who import Right
    from server.index.owners import Owners


class Decisions:
    """Goes by the header that the gateway has from the verdict about the request's credentials."""

    def __init__(self, rights: Rights, owners: Owners, is_new: Callable[[str], bool]) -> None:
        """Decide by `rights`, and for names that they leave to whoever publishes them first by `owners`.

        `is_new` tells whether a project of a normalised name has no file; it raises 503 if nobody can tell.
        """
        self._rights = rights
        self._owners = owners
        self._is_new = is_new

    def check(self, right: Right, project: str) -> None:
        """Make sure that something may be done with a project of this normalised name.

        Raises:
            HTTPError: 403; or 503, since nobody can tell which names have files.
            OSError: Nobody can tell whose name it is.
        """
        who = asking()
        if not self._may(who, right, project) and not (right == "publish" and self._may_begin(who, project)):
            raise _refused(who, right, project)

    def begin(self, project: str) -> None:
        """Make sure that a file that has come may be published, which makes a name that nobody has its publisher's.

        Since the first byte came somebody else may have published the name.

        Raises:
            HTTPError: As of `check`.
            OSError: As of `check`; or the volume does not take the record of the owner.
        """
        if not self._rights.leaves(project):
            return
        who = asking()
        if who and self._is_new(project) and (self._may(who, "publish", project) or self._may_begin(who, project)):
            # Also of an owner: an earlier attempt may have failed before the record was known to last.
            is_first = self._owners.take(project, grantee(who))
            if is_first:
                request.environ[AS] = "first"
                return
        if not self._may(who, "publish", project):
            raise _refused(who, "publish", project)

    def end(self, project: str) -> None:
        """Keep a name, perhaps the last file of which is about to be removed, from being anybody's who publishes then.

        Raises:
            OSError: The volume does not take that.
        """
        # What somebody has put there may be called as nothing that is published can be.
        if self._rights.leaves_names and re.fullmatch(PROJECT, project):
            self._owners.take(project, NOBODY)

    @staticmethod
    def check_scope(*rights: Right) -> None:
        """Make sure that a token is good for one of some rights at all; of users that is not asked.

        Raises:
            HTTPError: 403.
        """
        who = asking()
        if who and who.scope and who.scope.rights.isdisjoint(rights):
            raise HTTPError(HTTPStatus.FORBIDDEN, f"{who} has no right to {' or '.join(rights)}")

    def readable(self) -> Callable[[str], bool] | None:
        """What tells which projects may be read, by their normalised names; None if whoever reads reads all."""
        return self._rights.readable(asking()) if self._rights.reads_by_project else None

    def is_anonymous(self) -> bool:
        """Whether the client may see what everybody may, and no more."""
        who = asking()
        return who is not None and who.kind == "anonymous"

    def _may(self, who: Who | None, right: Right, project: str) -> bool:
        """Whether a rule grants it, or the project is theirs."""
        if self._rights.allows(who, right, project):
            return True
        is_owner = self._rights.allows(who, right, project, self._owners.of)
        if is_owner:
            request.environ[AS] = "owner"
        return is_owner

    def _may_begin(self, who: Who | None, project: str) -> bool:
        """Whether a project that nobody has may become theirs."""
        return (
            self._rights.leaves(project)
            and self._rights.allows(who, "create", project)
            and self._owners.of(project) is None
            and self._is_new(project)
        )


def _refused(who: Who | None, right: Right, project: str) -> HTTPError:
    return HTTPError(HTTPStatus.FORBIDDEN, f"{who or 'nobody'} has no right to {right} {project}")


def asking() -> Who | None:
    """Who sent the current request; None if no verdict says so.

    Raises:
        HTTPError: 403, since what says so cannot be read.
    """
    text = request.get_header(HEADER)
    if not text:
        return None
    try:
        return Who.read(text)
    except ValueError as error:
        raise HTTPError(HTTPStatus.FORBIDDEN, "Nobody can tell who asks") from error
