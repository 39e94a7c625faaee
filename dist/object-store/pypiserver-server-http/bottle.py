"""The web framework: the bottle 0.12 that pypiserver contains, which has no types of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pypiserver import bottle_wrapper

if TYPE_CHECKING:
    from collections.abc import Callable

    class HTTPError(Exception):
        """An answer that is an error; raising it ends the request."""

        status_code: int
        body: object

        def __init__(self, status: int, body: str, **headers: str) -> None: ...  # noqa: D107
else:
    HTTPError = bottle_wrapper.HTTPError

Bottle: Any = bottle_wrapper.Bottle
FileUpload: Any = bottle_wrapper.FileUpload
FormsDict: Any = bottle_wrapper.FormsDict
SimpleTemplate: Any = bottle_wrapper.SimpleTemplate
request: Any = bottle_wrapper.request
response: Any = bottle_wrapper.response
redirect: Any = bottle_wrapper.redirect
static_file: Any = bottle_wrapper.static_file
html_escape: Callable[[str], str] = bottle_wrapper.html_escape
