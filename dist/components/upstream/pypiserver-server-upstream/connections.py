"""HTTP to an index and to its file hosts, and to nowhere else."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import logging
import re
import ssl
import threading
import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from server.fetching.answers import REST_SECONDS, SILENCE_SECONDS, Answer, AwayError, RefusedError, Response
from server.upstream.configuration import PORTS, origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from server.fetching.counters import Counters
    from server.upstream.configuration import IndexConfiguration

CONNECT_SECONDS = 5.0
"""How long a connection, its TLS included, may take to be made."""
MOST_REDIRECTIONS = 5
MOST_IDLE = 16
"""Connections to one host that are kept for later."""
IDLE_SECONDS = 30.0
"""How long: most hosts close theirs after a minute or more."""
LONGEST_REST_SECONDS = 300.0
USER_AGENT = "cdk8s-pypiserver"
RESULTS = ("ok", "not_modified", "missing", "refused", "error", "rate_limited")
"""What can come of a request."""
_RESULTS = {304: "not_modified", 404: "missing", 410: "missing"}
REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
_log = logging.getLogger("upstream")


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int


class _Rest(NamedTuple):
    until: float
    why: str


class Connections:
    """Connections to the hosts of one index, kept open from one request to the next."""

    def __init__(
        self,
        index: IndexConfiguration,
        *,
        proxy: str | None,
        secrets: Path,
        authorities: Path,
        counters: Counters,
    ) -> None:
        """Ask the hosts of `index` alone.

        Args:
            index: The index.
            proxy: The address of a forward proxy, None for none.
            secrets: The folder whose folder of the index's name has the files `username` and `password`.
            authorities: The folder whose folder of the index's name has the file `ca.crt`.
            counters: Told what comes of every request.

        Raises:
            OSError: The certificates cannot be read.
        """
        self.index = index
        self._proxy = urlsplit(proxy) if proxy else None
        self._secrets = secrets / index.name
        self._tls = ssl.create_default_context(cafile=str(authorities / index.name / "ca.crt") if index.ca else None)
        # Python 3.13 and later refuse authorities without the extensions of RFC 5280, which those of companies often
        # lack, and which other clients do not ask for.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._counters = counters
        self._lock = threading.Lock()
        self._idle: dict[_Place, list[tuple[http.client.HTTPConnection, float]]] = {}
        self._rests: dict[_Place, _Rest] = {}
        counters.add("seconds_total", 0, index=index.name)
        counters.add("received_bytes_total", 0, index=index.name)
        for result in RESULTS:
            counters.add("requests_total", 0, index=index.name, result=result)

    @property
    def rests(self) -> bool:
        """Whether the index or one of its file hosts is left alone, since it did not answer."""
        return any(self._left(place) > 0 for place in list(self._rests))

    @contextmanager
    def answer(self, url: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """The answer to a GET, whatever its status; redirections are followed.

        Raises:
            AwayError: There is none, or one that says to come again later.
            RefusedError: It leads to a host that is not the index's.
        """
        begun = time.monotonic()
        url, place, connection, response = self._asked(url, headers)
        self._counters.add("seconds_total", time.monotonic() - begun, index=self.index.name)
        try:
            yield Answer(self.index.name, url, response, self._received)
        finally:
            if response.isclosed() and not response.will_close:
                self._keep(place, connection)
            else:
                connection.close()

    def _asked(self, url: str, headers: Mapping[str, str]) -> tuple[str, _Place, http.client.HTTPConnection, Response]:
        for _ in range(MOST_REDIRECTIONS + 1):
            place = _Place(*origin(url))
            if place not in self.index.origins:
                self._count("refused")
                raise RefusedError(
                    f"{self.index.name} leads to {place.scheme}://{place.host}:{place.port}, not its host"
                )
            if (rest := self._rests.get(place)) and (left := self._left(place)) > 0:
                raise AwayError(rest.why, left)
            try:
                connection, response = self._sent(place, url, headers)
            except (OSError, http.client.HTTPException) as error:
                self._count("error")
                raise self._away(place, f"does not answer: {error or type(error).__name__}") from error
            if response.status not in REDIRECTIONS:
                self._judge(place, connection, response)
                return url, place, connection, response
            connection.close()
            location = response.headers.get("Location", "")
            try:
                url = urljoin(url, location)
                origin(url)
            except ValueError as error:
                self._count("refused")
                raise RefusedError(f"{self.index.name} leads to {location[:100]!r}") from error
        self._count("refused")
        raise RefusedError(f"{self.index.name} redirects without end")

    def _judge(self, place: _Place, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        status = response.status
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            connection.close()
            self._count("rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "error")
            seconds = _seconds(response.headers.get("Retry-After"))
            raise self._away(place, f"wants to be asked later ({status})", seconds)
        self._rests.pop(place, None)
        self._count(_RESULTS.get(status, "ok" if status < HTTPStatus.BAD_REQUEST else "error"))

    def _sent(self, place: _Place, url: str, headers: Mapping[str, str]) -> tuple[http.client.HTTPConnection, Response]:
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        if place == self.index.origin and self.index.credentials:
            sent["Authorization"] = self._credentials()
        parts = urlsplit(url)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        if self._proxy and place.scheme == "http":
            target = url
        while kept := self._kept(place):
            # It may have been closed while nobody asked.
            try:
                kept.request("GET", target, headers=sent)
                return kept, cast("Response", kept.getresponse())
            except (OSError, http.client.HTTPException) as error:  # noqa: PERF203 - each may be
                kept.close()
                if isinstance(error, TimeoutError):
                    raise
        made = self._made(place)
        try:
            made.request("GET", target, headers=sent)
            return made, cast("Response", made.getresponse())
        except BaseException:
            made.close()
            raise

    def _made(self, place: _Place) -> http.client.HTTPConnection:
        host, port = place.host, place.port
        if self._proxy:
            host, port = self._proxy.hostname or "", self._proxy.port or PORTS["http"]
        connection: http.client.HTTPConnection
        if place.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=self._tls)
            if self._proxy:
                connection.set_tunnel(place.host, place.port)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        connection.response_class = Response
        connection.connect()
        if not self._proxy:
            _check_address(place.host, connection.sock.getpeername()[0])
        connection.sock.settimeout(SILENCE_SECONDS)
        return connection

    def _kept(self, place: _Place) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(place, [])
            while idle:
                connection, since = idle.pop()
                if time.monotonic() - since < IDLE_SECONDS:
                    return connection
                connection.close()
        return None

    def _keep(self, place: _Place, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            idle = self._idle.setdefault(place, [])
            if len(idle) < MOST_IDLE:
                idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _credentials(self) -> str:
        try:
            user, password = ((self._secrets / name).read_text("utf-8").strip() for name in ("username", "password"))
        except OSError as error:
            raise AwayError(f"the credentials for {self.index.name} cannot be read: {error.strerror}") from error
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def _away(self, place: _Place, what: str, seconds: float = REST_SECONDS) -> AwayError:
        """Leave a host alone for a while; the index and its file hosts each, as one may be away without the others."""
        of = "" if place == self.index.origin else f"{place.host} of "
        # It can have what the host has sent in the place of an answer.
        reason = re.sub("[^ -~]", "?", f"{of}{self.index.name} {what}")
        if self._left(place) <= 0:
            _log.warning("%s", reason)
        self._rests[place] = _Rest(time.monotonic() + seconds, reason)
        return AwayError(reason, seconds)

    def _left(self, place: _Place) -> float:
        """For how many seconds a host is left alone."""
        return self._rests.get(place, _Rest(0.0, "")).until - time.monotonic()

    def _received(self, count: int) -> None:
        self._counters.add("received_bytes_total", count, index=self.index.name)

    def _count(self, result: str) -> None:
        self._counters.add("requests_total", index=self.index.name, result=result)


def _seconds(retry_after: str | None) -> float:
    try:
        # In this order, since it can be "nan".
        return min(LONGEST_REST_SECONDS, max(1.0, float(retry_after or REST_SECONDS)))
    except ValueError:
        return REST_SECONDS


def _check_address(host: str, found: str) -> None:
    """Refuse a public name that leads to this machine, or to what only its neighbours reach (metadata of a cloud).

    Raises:
        OSError: It does.
    """
    address = ipaddress.ip_address(found.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if host in {"localhost", str(address)}:
        return
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise OSError(f"{host} has the address {address}")
