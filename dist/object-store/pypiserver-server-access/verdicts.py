"""Answers the gateway's questions about credentials, on a port of its own.

A flood of wrong passwords is thousands of questions a second, most of which only wait: here each of those costs an
entry in a list, whereas among the other requests it would take one of the server's threads.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from server.access.checks import BusyError, Checks, UnansweredError
from server.access.refusals import refusal
from server.access.rights import LONGEST_PROJECT, Rights
from server.access.token_lines import USER as TOKEN_USER
from server.access.who import ANONYMOUS, HEADER, Scope, Who
from server.index.names import name_and_version, normalised
from server.pod.samples import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.access.credentials import Asked, Credentials, Role
    from server.access.members import Members
    from server.access.token_lines import Token
    from server.access.tokens import Refusal
    from server.access.trusted import TrustedTokens
    from server.access.who import Source
    from server.audit.trail import Trail

HEAD_BYTES = 16_384
"""Longest question; the gateway's have less than 3 kB."""
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
"""In a question after whose answer the connection ends."""
CHALLENGE = 'Basic realm="pypiserver"'
READING = "/-/auth/reading"
"""Where the gateway asks about what `X-Project` or `X-File` names, or neither for a list, if reads are by project."""
ROLES: dict[str, Role] = {"/-/auth/reader": "reader", READING: "reader", "/-/auth/publisher": "publisher"}
LONGEST_FILENAME = 255
"""Characters of a file's name (NAME_MAX)."""
LONGEST_PATH = 1024
"""Characters of a file's path, as of an object's key: the gateway keeps a verdict with it in 4 KiB (nginx.conf)."""
METRICS = "/metrics"
KEPT_SECONDS = 30
"""How long the gateway goes by what allows something (verdict.conf), at most."""
_log = logging.getLogger("verdicts")


class Verdict(NamedTuple):
    """What credentials allow."""

    status: HTTPStatus
    who: Who | None = None
    """Whose they are, if they allow something; of a token, and of who may read other projects, also if they do not."""
    seconds: float | None = None
    """How long that counts; None if it is open."""
    refusal: Refusal | None = None
    """Why a token that is right does not count."""


class Verdicts:
    """Says 204, 401 or 403 to `GET /-/auth/reader` and `/-/auth/publisher`, 503 to whom a flood leaves no check.

    And 424 to whom only a directory knows that does not answer. `X-Forwarded-For` has the address of the client, as the
    gateway believes it. At the same port the gateway asks what to say to those it refuses.
    """

    def __init__(
        self,
        credentials: Credentials,
        trail: Trail,
        members: Members | None = None,
        rights: Rights | None = None,
        trusted: TrustedTokens | None = None,
    ) -> None:
        """Judge by `credentials`, and whom they do not name by `members`; tell `trail` who was refused.

        Who may read what is said by `rights`; `trusted` knows the tokens of trusted publishers.
        """
        self._rights = rights or Rights()
        self._trusted = trusted
        self._credentials = credentials
        self._members = members
        self._trail = trail
        self._checks = Checks()
        # Of names that nobody has: they wait as others do, and keep nobody waiting.
        self._checks_in_vain = self._checks.beside()
        self._asking: WeakValueDictionary[tuple[str, bytes], asyncio.Lock] = WeakValueDictionary()

    async def verdict(self, role: Role, header: str, address: str, *, by_project: bool = False) -> Verdict:
        """What an Authorization header allows a client at an address; `by_project` if somebody looks at that too."""
        if by_project and not header and self._rights.reads_anonymously:
            return Verdict(HTTPStatus.NO_CONTENT, ANONYMOUS)
        asked = self._credentials.asked(header, role)
        if asked.user == TOKEN_USER:
            return self._by_token(asked.password, role, by_project=by_project and self._rights.reads_by_project)
        if self._members and asked.user and not asked.exists:
            try:
                status, seconds, groups = await self._members.verdict(role, asked.user, asked.password, address)
            except BusyError:
                return Verdict(HTTPStatus.SERVICE_UNAVAILABLE)
            except UnansweredError:
                return Verdict(HTTPStatus.FAILED_DEPENDENCY)
            who = Who(asked.user, "directory", groups=groups) if status == HTTPStatus.NO_CONTENT else None
            return Verdict(status, who, seconds)
        if by_project and asked.user:
            # Clients ask for many projects at once, and the gateway for each: their password is checked once.
            async with self._asking.setdefault((asked.user, asked.password), asyncio.Lock()):
                status = await self._by_file(asked, address)
        else:
            status = await self._by_file(asked, address)
        return Verdict(status, Who(asked.user, asked.source) if status == HTTPStatus.NO_CONTENT else None)

    def _by_token(self, password: bytes, role: Role, *, by_project: bool) -> Verdict:
        source: Source = "tokens"
        found = self._credentials.tokens.find(password)
        if not found and self._trusted:
            source, found = "trusted", self._trusted.find(password)
        if not found or found.refusal:
            return Verdict(HTTPStatus.UNAUTHORIZED, refusal=found and found.refusal)
        token = found.token
        who = Who(token.name, source, "token", scope=Scope(token.projects, frozenset(token.rights)))
        if not _allows(token, role, by_project=by_project):
            return Verdict(HTTPStatus.FORBIDDEN, who)
        self._credentials.tokens.use(token)
        return Verdict(HTTPStatus.NO_CONTENT, who, found.seconds)

    async def _by_file(self, asked: Asked, address: str) -> HTTPStatus:
        known = asked.known()
        if known is not None:
            return known
        checks = self._checks if asked.exists else self._checks_in_vain
        try:
            right = await checks.right(address, asked.user, lambda: asked.check(hurry=not self._checks.is_idle))
        except BusyError:
            # Meanwhile another request may have had the same answer.
            return asked.known() or HTTPStatus.SERVICE_UNAVAILABLE
        return asked.known() or (HTTPStatus.NO_CONTENT if right else HTTPStatus.UNAUTHORIZED)

    def start(self, port: int) -> None:
        """Listen on loopback, in a thread of its own; returns when it does.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.new_event_loop()
        if sys.version_info >= (3, 12):
            # Most questions are answered without waiting for anything: those take no turn of the loop.
            loop.set_task_factory(asyncio.eager_task_factory)
        # A worker that takes the place of another listens before that one has ended.
        listening = loop.create_server(lambda: _Connection(self), "127.0.0.1", port, backlog=4096, reuse_port=True)
        loop.run_until_complete(listening)
        threading.Thread(target=loop.run_forever, name="verdicts", daemon=True).start()

    async def answer(self, head: bytes) -> bytes:
        """The answer to a question."""
        verdict = Verdict(HTTPStatus.NOT_FOUND)
        try:
            first, *lines = head.decode("latin-1").split("\r\n")
            path = first.split(" ")[1] if first.count(" ") == 2 else ""  # noqa: PLR2004 - method, path, version
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if words := refusal(path):
                return words
            if path == METRICS:
                return self._metrics()
            role = ROLES.get(path)
            if role:
                address = headers.get("x-forwarded-for", "")
                header = headers.get("authorization", "")
                by_project = path == READING
                verdict = await self.verdict(role, header, address, by_project=by_project)
                if verdict.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                    # Of a wrong password not even the user: whoever swaps the two prompts types a password there.
                    known = verdict.status == HTTPStatus.FORBIDDEN
                    user = self._credentials.asked(header, role).user if known else None
                    user = _right(verdict.who) if verdict.who else user
                    self._trail.login_refused(verdict.status, user=user, address=address, asked_for=role)
                if by_project and verdict.who and verdict.status == HTTPStatus.NO_CONTENT:
                    verdict = self._about(verdict.who, headers, verdict)
            return _written(verdict)
        except Exception:  # noqa: BLE001 - logged, and the next question can be answered
            _log.exception("a question about credentials")
            return _written(Verdict(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _about(self, who: Who, headers: Mapping[str, str], verdict: Verdict) -> Verdict:
        """The verdict about what is read, of a client whose credentials allow reading."""
        if "x-project" in headers:
            # As it is written: that is what the gateway would keep.
            written = headers["x-project"]
            project = normalised(written) if len(written) <= LONGEST_PROJECT else ""
        elif "x-file" in headers:
            project = _project_of(headers["x-file"])
        else:
            return verdict
        if project and self._rights.readable(who)(project):
            return verdict
        # Of whoever may have credentials they are asked, whether or not there is such a project.
        return Verdict(HTTPStatus.UNAUTHORIZED) if who is ANONYMOUS else Verdict(HTTPStatus.NOT_FOUND, who)

    def _metrics(self) -> bytes:
        samples = (*self._credentials.tokens.samples(), *(self._members.samples() if self._members else ()))
        body = text_of(samples).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def _project_of(path: str) -> str:
    """The normalised name of the project that a file is listed in; empty if there can be none."""
    filename = path.rpartition("/")[2]
    is_too_long = len(filename) > LONGEST_FILENAME or len(path) > LONGEST_PATH
    guess = None if is_too_long else name_and_version(filename)
    return normalised(guess[0]) if guess else ""


def _written(verdict: Verdict) -> bytes:
    status, who, seconds, why = verdict
    fields: dict[str, str] = {}
    if who and status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND}:
        fields |= {"X-Right": _right(who), HEADER: who.written}
    if status == HTTPStatus.NO_CONTENT and seconds is not None:
        # No answer counts for longer because it is kept in two places.
        fields["X-Accel-Expires"] = str(int(min(KEPT_SECONDS, seconds)))
    if who and status == HTTPStatus.NOT_FOUND:
        # auth_request knows no 404: by the name of who asks the gateway tells it from any other 403.
        status = HTTPStatus.FORBIDDEN
    if why:
        fields["X-Refusal"] = why
    if status == HTTPStatus.UNAUTHORIZED:
        fields["WWW-Authenticate"] = CHALLENGE
    if status != HTTPStatus.NO_CONTENT:
        fields["Content-Length"] = "0"
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _allows(token: Token, role: Role, *, by_project: bool) -> bool:
    """Whether a token is good for anything of a role: what it may write the server decides for each project."""
    if role == "publisher":
        return token.rights != ("read",)
    # Where nobody looks at the project of a page, a token for some of them reads none.
    return "read" in token.rights and (by_project or any(not pattern.strip("*") for pattern in token.projects))


def _right(who: Who) -> str:
    """By which right somebody may do something, for the audit trail."""
    if who.kind == "token":
        return f"{'trusted' if who.source == 'trusted' else 'token'}:{who.name}"
    return who.source


class _Connection(asyncio.Protocol):
    """Questions of the gateway's, one after the other: it keeps the connection for the next."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._received = b""
        self._transport: asyncio.Transport
        self._answering = False
        # The loop itself keeps no task.
        self._task: asyncio.Task[None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server makes
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > HEAD_BYTES:
            self._transport.abort()
        elif not self._answering and b"\r\n\r\n" in self._received:
            self._answering = True
            self._task = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            # Who has gone meanwhile is told nothing: asyncio lets that pass.
            answer = await self._verdicts.answer(head)
            if CLOSES.search(head):
                # Said in the answer, or whoever asked would keep the connection.
                self._transport.write(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                self._transport.close()
                return
            self._transport.write(answer)
        self._answering = False
