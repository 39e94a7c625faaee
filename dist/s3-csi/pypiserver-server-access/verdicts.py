"""Answers the gateway's questions about credentials, on a port of its own.

A flood of wrong passwords is thousands of questions a second, most of which only wait: here each of those costs an
entry in a list, whereas among the other requests it would take one of the server's threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from server.access.checks import BusyError, Checks, UnansweredError
from server.access.refusals import refusal
from server.pod.samples import text_of

if TYPE_CHECKING:
    from server.access.credentials import Asked, Credentials, Role
    from server.access.members import Members
    from server.audit.trail import Trail

HEAD_BYTES = 16_384
"""Longest question; the gateway's have less than 3 kB."""
CHALLENGE = 'Basic realm="pypiserver"'
RIGHT = "publishers"
"""By which right somebody may publish, for the audit trail: the file of the Secret that the user is in."""
RIGHT_OF_A_MEMBER = "directory"
"""The same of a member of a directory's groups."""
ROLES: dict[str, Role] = {"/-/auth/reader": "reader", "/-/auth/publisher": "publisher"}
METRICS = "/metrics"
KEPT_SECONDS = 30
"""How long the gateway goes by what allows something (verdict.conf), at most."""
_log = logging.getLogger("verdicts")


class Verdicts:
    """Says 204, 401 or 403 to `GET /-/auth/reader` and `/-/auth/publisher`, 503 to whom a flood leaves no check.

    And 424 to whom only a directory knows that does not answer. `X-Forwarded-For` has the address of the client, as the
    gateway believes it. At the same port the gateway asks what to say to those it refuses.
    """

    def __init__(self, credentials: Credentials, trail: Trail, members: Members | None = None) -> None:
        """Judge by `credentials`, and whom they do not name by `members`; tell `trail` who was refused."""
        self._credentials = credentials
        self._members = members
        self._trail = trail
        self._checks = Checks()
        self._tasks = set[asyncio.Task[None]]()

    async def verdict(self, role: Role, header: str, address: str) -> tuple[HTTPStatus, float | None]:
        """What an Authorization header allows a client at an address, and for how many seconds, None if it is open."""
        asked = self._credentials.asked(header, role)
        if self._members and asked.user and not asked.exists:
            try:
                return await self._members.verdict(role, asked.user, asked.password, address)
            except BusyError:
                return HTTPStatus.SERVICE_UNAVAILABLE, None
            except UnansweredError:
                return HTTPStatus.FAILED_DEPENDENCY, None
        return await self._by_file(asked, address), None

    async def _by_file(self, asked: Asked, address: str) -> HTTPStatus:
        known = asked.known()
        if known is not None:
            return known
        if not asked.exists and not self._checks.at_leisure(address):
            # A guess at a name that nobody has costs no check; only while there is no hurry it takes as long as one.
            self._checks.count_wrong(address)
            return HTTPStatus.UNAUTHORIZED
        try:
            right = await self._checks.right(address, asked.user, asked.check)
        except BusyError:
            # Meanwhile another request may have had the same answer.
            busy = HTTPStatus.SERVICE_UNAVAILABLE if asked.exists else HTTPStatus.UNAUTHORIZED
            return asked.known() or busy
        return asked.known() or (HTTPStatus.NO_CONTENT if right else HTTPStatus.UNAUTHORIZED)

    def start(self, port: int) -> None:
        """Listen on loopback, in a thread of its own; returns when it does.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.new_event_loop()
        # A worker that takes the place of another listens before that one has ended.
        listening = loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=4096, reuse_port=True)
        loop.run_until_complete(listening)
        threading.Thread(target=loop.run_forever, name="verdicts", daemon=True).start()

    def answer(self, head: bytes, transport: asyncio.Transport) -> None:
        """Answer a question, once there is an answer."""
        task = asyncio.get_running_loop().create_task(self._answer(head, transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, head: bytes, transport: asyncio.Transport) -> None:
        role, seconds = None, None
        try:
            first, *lines = head.decode("latin-1").split("\r\n")
            path = first.split(" ")[1] if first.count(" ") == 2 else ""  # noqa: PLR2004 - method, path, version
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if words := refusal(path):
                transport.write(words)
                transport.close()
                return
            if path == METRICS:
                transport.write(self._metrics())
                transport.close()
                return
            role = ROLES.get(path)
            if role is None:
                status = HTTPStatus.NOT_FOUND
            else:
                address = headers.get("x-forwarded-for", "")
                header = headers.get("authorization", "")
                status, seconds = await self.verdict(role, header, address)
                if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                    # Of a wrong password not even the user: whoever swaps the two prompts types a password there.
                    user = self._credentials.asked(header, role).user if status == HTTPStatus.FORBIDDEN else None
                    self._trail.login_refused(status, user=user, address=address, asked_for=role)
        except Exception:  # noqa: BLE001 - logged, and the next question can be answered
            _log.exception("a question about credentials")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
        right = ""
        if role == "publisher" and status == HTTPStatus.NO_CONTENT:
            right = f"X-Right: {RIGHT if seconds is None else RIGHT_OF_A_MEMBER}\r\n"
        challenge = f"WWW-Authenticate: {CHALLENGE}\r\n" if status == HTTPStatus.UNAUTHORIZED else ""
        kept = ""
        if seconds is not None and status == HTTPStatus.NO_CONTENT:
            # No answer counts for longer because it is kept in two places.
            kept = f"X-Accel-Expires: {min(KEPT_SECONDS, int(seconds))}\r\n"
        length = "" if status == HTTPStatus.NO_CONTENT else "Content-Length: 0\r\n"
        fields = f"{right}{challenge}{kept}{length}Connection: close\r\n"
        with suppress(OSError):
            transport.write(f"HTTP/1.1 {status} {status.phrase}\r\n{fields}\r\n".encode())
        transport.close()

    def _metrics(self) -> bytes:
        body = text_of(self._members.samples() if self._members else ()).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        return head.encode() + body


class _Connection(asyncio.Protocol):
    """One question."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server makes
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, _ = self._received.partition(b"\r\n\r\n")
        if end:
            self._transport.pause_reading()
            self._verdicts.answer(head, self._transport)
        elif len(self._received) > HEAD_BYTES:
            self._transport.abort()
