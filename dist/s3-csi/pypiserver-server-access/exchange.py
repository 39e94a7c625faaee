"""Trusted publishing: a job's identity is exchanged for a token, in the words that uv and gh-action-pypi-publish speak.

Whether an identity (a JWT, RFC 7519) is its issuer's, is for this registry and has not ended is said by a program that
is made for it, such as oauth2-proxy. Here it is only read, before that to say what is wrong with it, and after that to
compare its claims.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import threading
import time
from datetime import datetime, timezone
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from server.access.trusted import CLOCKS_APART_SECONDS, PublishersError
from server.http.bottle import HTTPError, request, response
from server.http.errors import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.access.trusted import Publisher, Publishers, TrustedTokens
    from server.audit.trail import Trail

LONGEST = 16_384
"""Bytes of a request."""
SECONDS = 10.0
"""How long the verifier may take."""
AT_ONCE = 16
"""How many requests may wait for it: the other threads of the server are there for whoever has credentials."""
_YES = range(200, 300)
_log = logging.getLogger("trusted")


class Exchange:
    """Answers the two requests of trusted publishing."""

    def __init__(
        self, publishers: Publishers, tokens: TrustedTokens, trail: Trail, clock: Callable[[], float] = time.time
    ) -> None:
        """Make `tokens` for `publishers`, and tell `trail`; `clock` says the time, in seconds."""
        self._publishers = publishers
        self._tokens = tokens
        self._trail = trail
        self._clock = clock
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def audience(self) -> dict[str, str]:
        """Answer whom an identity has to be for."""
        return {"audience": self._publishers.audience}

    def mint(self) -> dict[str, Any]:
        """Answer with a token for the identity of the request.

        Raises:
            HTTPError: There is none for it, or nobody can tell.
        """
        identity = _identity(request.body.read(LONGEST + 1))
        claims = _claims(identity)
        self._check(claims)
        self._verify(identity)
        publisher = self._publisher(claims)
        try:
            token, end = self._tokens.make(publisher)
        except PublishersError as error:
            _log.error("no token can be made: %s", error)
            raise unavailable("This registry has no key to sign tokens with") from error
        self._trail.done("exchange", right=f"trusted:{publisher.name}", **_shown(claims))
        response.set_header("Cache-Control", "no-store")
        return {"success": True, "token": token, "expires": int(end)}

    def _check(self, claims: dict[str, Any]) -> None:
        """Refuse what the verifier would, in words that help."""
        now = self._clock()
        if not self._publishers.issued_by(claims.get("iss")):
            self._refuse(claims, f"iss {claims.get('iss')!r} is no issuer of a trusted publisher")
        audience = claims.get("aud")
        if self._publishers.audience not in (audience if isinstance(audience, list) else [audience]):
            self._refuse(
                claims, f"aud {audience!r} is not {self._publishers.audience!r}, the audience of this registry"
            )
        end, made = claims.get("exp"), claims.get("iat", now)
        if not isinstance(end, int | float) or end <= now:
            self._refuse(claims, f"exp {_moment(end)} has passed; the clock here says {_moment(now)}")
        if not isinstance(made, int | float) or made > now + CLOCKS_APART_SECONDS:
            self._refuse(claims, f"iat {_moment(made)} has not come; the clock here says {_moment(now)}")

    def _verify(self, identity: str) -> None:
        if not self._places.acquire(blocking=False):
            raise unavailable("Too many identities are being verified")
        try:
            status = self._asked({"Authorization": f"Bearer {identity}"})
            if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                self._refuse({}, "The identity is not its issuer's: signature, issuer, audience or time")
            if status not in _YES:
                _log.error("the verifier of identities says %d", status)
                raise unavailable("Nobody can verify identities now")
            # Each time: it may have been told something else meanwhile.
            if (status := self._asked({})) in _YES:
                _log.error("the verifier says %d to whoever has no identity, so it cannot be believed", status)
                raise unavailable("Nobody can verify identities now")
        finally:
            self._places.release()

    def _asked(self, headers: dict[str, str]) -> int:
        """The status of the verifier's answer."""
        parts = urlsplit(self._publishers.verifier)
        connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
        try:
            connection.request("GET", parts.path or "/", headers={**headers, "Connection": "close"})
            return connection.getresponse().status
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.error("the verifier of identities does not answer: %s", error)
            raise unavailable("Nobody can verify identities now") from error
        finally:
            connection.close()

    def _publisher(self, claims: dict[str, Any]) -> Publisher:
        found = next((each for each in self._publishers.issued_by(claims.get("iss")) if each.is_meant(claims)), None)
        if found:
            return found
        names = sorted({claim for each in self._publishers.issued_by(claims.get("iss")) for claim in each.claims})
        said = ", ".join(f"{name} {claims.get(name)!r}" for name in names)
        return self._refuse(claims, f"No trusted publisher of {claims.get('iss')!r} has {said}")

    def _refuse(self, claims: dict[str, Any], reason: str) -> NoReturn:
        self._trail.stranger_refused("exchange", HTTPStatus.FORBIDDEN, reason, **_shown(claims))
        raise HTTPError(HTTPStatus.FORBIDDEN, reason)


def _identity(body: bytes) -> str:
    if len(body) > LONGEST:
        raise HTTPError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "An identity is shorter")
    try:
        identity = json.loads(body)["token"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HTTPError(HTTPStatus.BAD_REQUEST, 'The request must be JSON: {"token": "…"}') from error
    if not isinstance(identity, str) or not identity.isascii() or identity.count(".") != 2:  # noqa: PLR2004 - RFC 7515
        raise HTTPError(HTTPStatus.BAD_REQUEST, "token is no JWT")
    return identity


def _claims(identity: str) -> dict[str, Any]:
    """What an identity says of itself, which nobody has verified."""
    encoded = identity.split(".")[1]
    try:
        claims = json.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), b"-_", validate=True))
    except (ValueError, RecursionError) as error:
        raise HTTPError(HTTPStatus.BAD_REQUEST, "token is no JWT") from error
    if not isinstance(claims, dict):
        raise HTTPError(HTTPStatus.BAD_REQUEST, "token is no JWT")
    return claims


def _shown(claims: dict[str, Any]) -> dict[str, str]:
    """What the audit trail has of an identity."""
    return {field: str(claims[name]) for field, name in (("issuer", "iss"), ("subject", "sub")) if name in claims}


def _moment(value: object) -> str:
    try:
        return datetime.fromtimestamp(float(str(value)), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return repr(value)
