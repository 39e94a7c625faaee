"""Requests for public packages are counted by whether anybody else had to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from gateway_programs import Gateway, Recorder, Setup
from monitored import Counter, connect, counts, parse
from programs import PATIENCE, needs, wait_for

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

pytestmark = needs("mtail")

FILE = f"{'0' * 64}/demo-1.0-py3-none-any.whl"


class _Server(Recorder):
    """Has asked another index for every page, and has the gateway ask for every file."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if handler.path.startswith("/-/upstream/"):
            handler.send_header("X-Accel-Redirect", handler.path.replace("/-/upstream/", "/-/upstream/file/"))
        handler.send_header("X-Public", "yes")
        handler.send_header("Content-Length", "0")
        handler.end_headers()


def test_what_was_asked_for_elsewhere_is_counted_apart(tmp_path: Path) -> None:
    setup = Setup(upstream=True, metrics=True, anonymous=True)
    pages = tmp_path / "pages"
    (pages / "projects").mkdir(parents=True)
    (pages / "projects/kept.html").write_text("a page")
    with Recorder() as beside, _Server() as server, Counter(tmp_path / "counter") as counter:
        gateway = Gateway(
            tmp_path,
            server.port,
            packages=tmp_path / "packages",
            pages=pages,
            upstream_port=beside.port,
            setup=setup,
        )
        port = connect(gateway, log_port=counter.log_port, port=counter.port)
        kept = gateway.cache / "files/kept" / FILE
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"a wheel")
        with gateway:
            paths = ["/simple/kept/", "/simple/other/", f"/upstream/kept/{FILE}", f"/upstream/other/{FILE}"]
            paths += ["/upstream/kept/hidden", "/upstream/other/none"]
            assert [gateway.get(path).status_code for path in paths] == [200, 200, 200, 200, 200, 404]

            def counted() -> dict[tuple[str, ...], float]:
                text = requests.get(f"http://127.0.0.1:{port}/metrics/gateway", timeout=PATIENCE).text
                return counts(parse(text), "pypiserver_requests_total", "route", "status")

            wait_for(lambda: sum(counted().values()) >= len(paths), "the requests")
            assert counted() == {
                ("project", "2xx"): 1,
                ("asked", "2xx"): 1,
                ("public", "2xx"): 1,
                ("fetched", "2xx"): 2,
                ("public", "4xx"): 1,
            }
