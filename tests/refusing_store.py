"""A store that speaks S3 and refuses what it is told to, in the words of S3; all else another store answers.

Of uploads in parts it can say that they are old.
"""

from __future__ import annotations

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

from programs import PATIENCE

if TYPE_CHECKING:
    from typing import Self

_OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Refusal(NamedTuple):
    """An answer of S3 that says no (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""

    status: int
    code: str
    methods: frozenset[str] = frozenset({"DELETE", "GET", "HEAD", "POST", "PUT"})
    key: str = ""
    """The access key whose requests are refused; everybody's if it is empty."""
    asked_for: str = ""
    """What has to be in the query of such requests."""


UNKNOWN_KEY = Refusal(403, "InvalidAccessKeyId")
OTHER_REGION = Refusal(400, "AuthorizationHeaderMalformed")
OTHER_TIME = Refusal(403, "RequestTimeTooSkewed")
EXPIRED_TOKEN = Refusal(400, "ExpiredToken")
READ_ONLY = Refusal(403, "AccessDenied", frozenset({"DELETE", "POST", "PUT"}))


class RefusingStore:
    """Listens at `port` for the store at another one of loopback."""

    def __init__(self, target: int) -> None:
        self.refusal: Refusal | None = None
        self.requests: list[str] = []
        """The access key of each request."""
        self.old: set[str] = set()
        """The keys of which it says that uploads in parts were begun long ago."""
        store = self

        class Handler(_Handler):
            asked = store

        self._target = target
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def pass_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the other store answers; what is signed of a request is as it was."""
        connection = http.client.HTTPConnection("127.0.0.1", self._target, timeout=PATIENCE)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in _OF_A_CONNECTION:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            text = answer.read()
            if b"<ListMultipartUploadsResult" in text:
                text = re.sub(rb"<Upload>.*?</Upload>", self._aged, text, flags=re.DOTALL)
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() != "content-length"]
            length = answer.headers.get("Content-Length") if handler.command == "HEAD" else str(len(text))
            return answer.status, [*headers, ("Content-Length", length or "0")], text
        finally:
            connection.close()

    def _aged(self, upload: re.Match[bytes]) -> bytes:
        """What is said of an upload."""
        if not any(f"<Key>{key}</Key>".encode() in upload[0] for key in self.old):
            return upload[0]
        return re.sub(rb"<Initiated>[^<]*", b"<Initiated>2020-01-01T00:00:00.000Z", upload[0])


class _Handler(BaseHTTPRequestHandler):
    asked: RefusingStore
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        key = found[1] if found else ""
        self.asked.requests.append(key)
        refusal = self.asked.refusal
        asked_for = self.path.partition("?")[2]
        if refusal and self.command in refusal.methods and refusal.key in {"", key} and refusal.asked_for in asked_for:
            # In the answer to HEAD there is no room for the reason.
            text = f"<?xml version='1.0'?><Error><Code>{refusal.code}</Code><Message>No.</Message></Error>".encode()
            status, headers = refusal.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))]
        else:
            try:
                status, headers, text = self.asked.pass_on(self, body)
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server calls it
        pass
