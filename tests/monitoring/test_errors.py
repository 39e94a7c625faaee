"""Why answers are errors, as the gateway tells them apart."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdk8s_pypiserver import GatewaySpec
from gateway_programs import Gateway, Recorder, Setup
from monitored import Lines, connect
from programs import PATIENCE, free_port, wait_for

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

PUBLISHER = ("publisher", "publish")


@dataclass
class FailingServer(Recorder):
    """Answers each upload with one status, while `hold` is set."""

    status: int = 507
    uploads: int = 0

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        if handler.command != "POST":
            super().answer(handler)
            return
        handler.rfile.read(int(handler.headers["Content-Length"]))
        self.uploads += 1
        self.hold.wait(PATIENCE)
        handler.send_response(self.status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


def test_errors_have_a_reason(tmp_path: Path) -> None:
    setup = Setup(metrics=True, spec=GatewaySpec(concurrent_uploads=1))
    with Lines() as lines, FailingServer() as server:
        gateway = Gateway(tmp_path, server.port, packages=tmp_path / "packages", pages=tmp_path / "pages", setup=setup)
        connect(gateway, log_port=lines.port, port=free_port())

        def publish() -> int:
            return gateway.request("POST", "/", *PUBLISHER, data=b"x").status_code

        def reasons(number: int) -> list[tuple[str, str]]:
            return [(line.upload, line.error) for line in lines.take(number)]

        with gateway:
            assert publish() == 507
            assert reasons(1) == [("failed", "full")]
            server.status = 500
            assert publish() == 500
            assert reasons(1) == [("failed", "other")]
            server.hold.clear()
            first = threading.Thread(target=publish)
            first.start()
            wait_for(lambda: server.uploads == 3, "the first upload")
            assert publish() == 503
            server.hold.set()
            first.join()
            assert sorted(reasons(2)) == [("failed", "busy"), ("failed", "other")]
            server.stop()
            assert gateway.get("/simple/absent/").status_code == 401
            assert gateway.get("/simple/absent/", *PUBLISHER).status_code == 503
            assert reasons(2) == [("none", "none"), ("none", "away")]
