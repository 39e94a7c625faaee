"""Who asks: a user and a password that only the server they are for ever sees."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from requests.auth import AuthBase, _basic_auth_str
from requests.utils import get_netrc_auth

from .problems import InputError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest

_PORTS = {"http": 80, "https": 443}


class Login:
    """The login of one server: that of its URL, else of the environment."""

    def __init__(self, argument: str, url: str, prefix: str = "", environment: Mapping[str, str] | None = None) -> None:
        """Find it for `url`; the variables of `environment` are `prefix` and USERNAME or PASSWORD.

        Raises:
            InputError: It is no URL of a server, or the variables are not both there.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InputError(argument, _without_user(url), f"is no URL: {error}") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise InputError(argument, shown(url), "is no URL of a server")
        if parts.query or parts.fragment:
            raise InputError(argument, shown(url), "has a query or a fragment, which no index has")
        self.url = shown(url)
        self._origin = (parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
        names = f"{prefix}USERNAME", f"{prefix}PASSWORD"
        given = tuple((environment or {}).get(name, "") for name in names)
        if parts.username is not None:
            given = (unquote(parts.username), unquote(parts.password or ""))
        elif bool(given[0]) != bool(given[1]):
            missing = names[0] if given[1] else names[1]
            raise InputError(argument, self.url, f"has no login: there is no variable {missing}")
        self.given = given if given[0] else None

    def is_for(self, url: str) -> bool:
        """Whether a URL is at this server."""
        parts = urlsplit(url)
        return (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)) == self._origin


class Logins(AuthBase):
    """The logins of a few servers; of any other that of a netrc file.

    Files of an index may be at another server, which must not get its login.
    """

    def __init__(self, *logins: Login) -> None:
        """Use these."""
        self._logins = logins

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header to a request; requests takes it away again when it is sent on to another server."""
        url = request.url or ""
        given = next((each.given for each in self._logins if each.given and each.is_for(url)), None)
        if login := given or get_netrc_auth(url):
            request.headers["Authorization"] = _basic_auth_str(*(each.encode() for each in login))
        return request


def _without_user(url: str) -> str:
    """What can be shown of what is no URL."""
    return url.rpartition("@")[2]
