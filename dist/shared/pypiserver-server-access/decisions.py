"""Whether whoever sent the current request may do what it asks, of which a refusal says why."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from server.access.who import HEADER, Who
from server.http.bottle import HTTPError, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.access.rights import Rights
    from server.access.who import Right


class Decisions:
    """Goes by the header that the gateway has from the verdict about the request's credentials."""

    def __init__(self, rights: Rights) -> None:
        """Decide by `rights`."""
        self._rights = rights

    def check(self, right: Right, project: str) -> None:
        """Make sure that something may be done with a project of this normalised name.

        Raises:
            HTTPError: 403.
        """
        who = asking()
        if not self._rights.allows(who, right, project):
            raise HTTPError(HTTPStatus.FORBIDDEN, f"{who or 'nobody'} has no right to {right} {project}")

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
        return self._rights.allowed(asking(), "read") if self._rights.reads_by_project else None


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
