"""Listens on loopback for the server, which asks whose attestations are."""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from server.attesting.worker import AwayError

if TYPE_CHECKING:
    from server.attesting.worker import Worker

LONGEST = 2**20
"""Bytes of a question: the server takes 128 KiB of attestations, which as JSON are six times as many at most."""


def port() -> int:
    """Where it listens on loopback."""
    return int(os.environ.get("ATTESTATIONS_PORT", "8085"))


def listen(worker: Worker) -> None:
    """Answer until the process ends.

    Raises:
        OSError: The port is taken.
    """

    class Listener(_Listener):
        asked = worker

    with _Server(("127.0.0.1", port()), Listener) as server:
        server.serve_forever()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


class _Listener(BaseHTTPRequestHandler):
    asked: Worker
    timeout = 10

    def do_GET(self) -> None:
        """Answer a probe, which is about this process: the other one is replaced without it."""
        found = self.path == "/health"
        self._reply(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, "ok" if found else "not found")

    def do_POST(self) -> None:
        """Answer a question."""
        if self.path != "/verify":
            self._reply(HTTPStatus.NOT_FOUND, "not found")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > LONGEST:
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question has {LONGEST} bytes at most")
            return
        body = self.rfile.read(int(length))
        try:
            # On one line, as the process reads it, and nothing that is none.
            question = json.dumps(json.loads(body)).encode()
            answer = json.loads(self.asked.ask(question))
        except AwayError as error:
            self._reply(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except (ValueError, RecursionError):
            self._reply(HTTPStatus.BAD_REQUEST, "the question is no JSON")
        else:
            if "refused" in answer:
                self._reply(HTTPStatus.FORBIDDEN, answer["refused"])
            else:
                self._reply(HTTPStatus.OK, json.dumps(answer))

    def log_message(self, *_: object) -> None:
        """Nothing: the server says what came of it."""

    def _reply(self, status: HTTPStatus, text: str) -> None:
        body = f"{text}\n".encode("utf-8", "replace")
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
