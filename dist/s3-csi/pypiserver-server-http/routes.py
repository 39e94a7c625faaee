"""The table of routes, and the application that is made of it."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from server.http import errors
from server.http.bottle import Bottle, HTTPError, request
from server.http.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from server.http.limits import Limits, Needs


class Route(NamedTuple):
    """Who answers a method on a path."""

    method: str
    path: str
    """In bottle's notation; what is between angle brackets becomes the handler's argument of this name."""
    handler: Callable[..., object]
    needs: Needs


def application(routes: Iterable[Route], limits: Limits) -> Any:  # noqa: ANN401 - bottle has no types
    """Make the WSGI application.

    Whatever handlers raise is answered as text: RefusedError with 400, OSError with 503 or 507. HEAD is answered by
    the route of GET.
    """
    app = Bottle()
    app.default_error_handler = errors.plain
    app.add_hook("before_request", _begin_with_the_prefix)
    app.add_hook("before_request", errors.refuse_bad_addresses)
    for route in routes:
        handler = limits.limited(_answering(route.handler), route.needs)
        app.route(route.path, route.method, handler)
    return app


def _begin_with_the_prefix() -> None:
    # Of this environment bottle makes the request's own address; the gateway has taken the prefix off the path.
    if prefix := request.get_header("X-Forwarded-Prefix"):
        request.environ["SCRIPT_NAME"] = prefix


def _answering(handler: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(handler)
    def answering(*args: str, **fields: str) -> object:
        try:
            return handler(*args, **fields)
        except RefusedError as error:
            raise HTTPError(HTTPStatus.BAD_REQUEST, str(error)) from error
        except OSError as error:
            raise errors.from_os(error) from error

    return answering
