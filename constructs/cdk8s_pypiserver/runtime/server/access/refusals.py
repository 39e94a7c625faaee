"""What a publisher is told whom the gateway refuses.

Many clients show of an answer the status line alone. nginx has fixed words there, so it asks for the whole answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

PATH = "/-/refusal/"


class _Refusal(NamedTuple):
    status: HTTPStatus
    reason: str
    headers: tuple[str, ...] = ()
    """Not the challenge, which the gateway has copied from the verdict if there was one."""

    def with_detail(self, detail: str) -> _Refusal:
        """The same with what the gateway alone knows, such as a size."""
        return self._replace(reason=self.reason.format(detail))


_REFUSALS = {
    "unauthorized": _Refusal(
        HTTPStatus.UNAUTHORIZED,
        "The user name or the password is missing or wrong; twine takes them from TWINE_USERNAME and TWINE_PASSWORD",
    ),
    "token_expired": _Refusal(
        HTTPStatus.UNAUTHORIZED, "The token has expired; whoever runs the registry makes another"
    ),
    "token_early": _Refusal(HTTPStatus.UNAUTHORIZED, "The token does not count yet"),
    "forbidden": _Refusal(HTTPStatus.FORBIDDEN, "This user may not publish or remove"),
    "from_a_page": _Refusal(
        HTTPStatus.FORBIDDEN,
        "A page in a browser has sent this, and anybody can make one; publish with twine, uv or curl",
    ),
    "missing": _Refusal(
        HTTPStatus.NOT_FOUND, "There is nothing at this address; publish to the address of the registry itself"
    ),
    "https_only": _Refusal(HTTPStatus.MISDIRECTED_REQUEST, "This registry answers over HTTPS only"),
    "refused_method": _Refusal(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "This address takes no POST; publish to the address of the registry itself, which does not end with /simple/",
        ("Allow: GET, HEAD",),
    ),
    "too_large": _Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The file is larger than this registry takes: {} at most"
    ),
    "busy": _Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE, "Too many files are being published at once; try again", ("Retry-After: 5",)
    ),
    "directory_away": _Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE, "The directory of users does not answer; try again", ("Retry-After: 5",)
    ),
    "writer_away": _Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Nothing can be published while the writer is away; packages can be read. Try again",
        ("Retry-After: 10",),
    ),
}


def refusal(path: str) -> bytes | None:
    """The answer with which the gateway refuses a POST, by the path at which it asks; None if there is none."""
    name, _, detail = path.removeprefix(PATH).partition("/")
    found = _REFUSALS.get(name) if path.startswith(PATH) else None
    if not found:
        return None
    found = found.with_detail(detail)
    body = f"{found.reason}.\n"
    head = [
        f"HTTP/1.1 {found.status:d} {found.reason}",
        *found.headers,
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", body]).encode()
