"""Publishing at a pod that only reads: the gateway sends it on to the writer, so that nothing of it comes here."""

from __future__ import annotations

from server.http.bottle import request
from server.http.errors import unavailable
from server.publish.body import Body


def refuse() -> str:
    """Answer a form.

    Raises:
        HTTPError: 503.
    """
    Body(request.environ).drop()
    raise unavailable("This pod only reads; what is published goes to the writer")
