"""What of the upstream the server and the gateway of the pod may ask for."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from server.fetching.listener import Handler, Reply, Sending, serve
from server.index.spelling import PLAIN, PROJECT
from server.upstream.policy import NotServedError
from server.upstream.projects import MissingError
from server.upstream.service import PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.upstream.service import Upstream


def listen(upstream: Upstream, port: int) -> None:
    """Answer on loopback until the process ends.

    Args:
        upstream: Who knows the answers.
        port: The port.

    Raises:
        OSError: The port is taken.
    """

    class Listener(_Listener):
        asked = upstream

    serve(Listener, port)


class _Listener(Handler):
    asked: Upstream
    routes = (
        (re.compile(rf"/page/({PROJECT})\.(json|html)"), "page"),
        (re.compile(rf"/file/({PROJECT})/([0-9a-f]{{64}})/({PLAIN})"), "file"),
        (re.compile(rf"/exists/({PROJECT})"), "exists"),
        (re.compile(rf"/hidden/({PROJECT})"), "hidden"),
        (re.compile("/metrics"), "metrics"),
        (re.compile("/health"), "health"),
    )
    statuses: ClassVar[Mapping[type[Exception], HTTPStatus]] = {
        **Handler.statuses,
        MissingError: HTTPStatus.NOT_FOUND,
        NotServedError: HTTPStatus.FORBIDDEN,
    }

    def answer(self, name: str, *arguments: str) -> Reply | Sending:
        if name == "health":
            return Reply(HTTPStatus.OK, b"ok\n")
        if name == "file":
            project, sha256, filename = arguments
            if filename.endswith(PROVENANCE):
                return self.asked.provenance(project, sha256, filename.removesuffix(PROVENANCE))
            return Sending(*self.asked.file(project, sha256, filename))
        reply: Reply = getattr(self.asked, name)(*arguments)
        return reply
