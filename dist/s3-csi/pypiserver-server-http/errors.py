"""Errors as clients show them: a short text, with the reason in the status line too.

twine prints only the status line's reason unless it is verbose (twine/__main__.py), uv prints the body as well.
"""

from __future__ import annotations

import errno
import re
from http import HTTPStatus
from urllib.parse import urlsplit

from server.http.bottle import HTTPError, request, response

LONGEST_REASON = 200
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class RefusedError(ValueError):
    """What was sent cannot be accepted; the text says why."""


class AwayError(OSError):
    """Something other than the package volume did not do what was needed; `strerror` says what, and why not."""


def plain(error: HTTPError) -> str:
    """The body of an error, as text; also puts the first line of it into the status line.

    It is meant for bottle's `default_error_handler`, which would make a page of HTML.
    """
    code = error.status_code
    text = str(error.body or HTTPStatus(code).phrase).strip()
    # A status line is one line of printable ASCII (RFC 9112, 4): anything else of the text stays in the body.
    line = re.sub(r"[^ -~]+", "?", text.splitlines()[0] if text else "")
    response.status = f"{code} {line[:LONGEST_REASON].strip() or HTTPStatus(code).phrase}"
    response.content_type = "text/plain; charset=UTF-8"
    return f"{text}\n"


def refuse_bad_addresses() -> None:
    """Refuse an address that no redirection can carry: one with control characters, or whose host can be none.

    Raises:
        HTTPError: 400.
    """
    scheme, host, *_ = request.urlparts
    if re.search(r"[\x00-\x1f\x7f]", scheme + host + request.path):
        raise HTTPError(HTTPStatus.BAD_REQUEST, "The address has control characters")
    try:
        urlsplit(request.url)
    except ValueError as error:
        raise HTTPError(HTTPStatus.BAD_REQUEST, f"Bad address: {error}") from error


def unavailable(reason: str) -> HTTPError:
    """503: it may work a little later."""
    return HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, reason, retry_after="5")


def from_os(error: OSError) -> HTTPError:
    """The answer to an upload or a removal that the volume (or /tmp, where a bucket's stand first) did not take."""
    if isinstance(error, AwayError):
        return unavailable(error.strerror or str(error))
    if error.errno in NO_ROOM:
        return HTTPError(HTTPStatus.INSUFFICIENT_STORAGE, f"No room for the upload: {error.strerror}")
    return unavailable(f"The package volume failed: {error.strerror or error}")
