"""Public packages at the gateway: kept files are sent from the disk, of all others the server is asked first."""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import requests

from gateway_programs import Gateway, Recorder, Setup, basic, read_answer
from programs import PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

SHA256 = "0" * 64
WHEEL = "demo-1.0-py3-none-any.whl"
FILE = f"demo/{SHA256}/{WHEEL}"
CONTENT = bytes(range(256)) * 16
READER = ("reader", "read")
PRIVATE = "acme"
AWAY = "away"


class _Server(Recorder):
    """Leads to the program beside it, as the server does, but for a private name."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        if not path.startswith("/-/upstream/") or path.startswith(f"/-/upstream/{PRIVATE}/"):
            super().answer(handler)
            return
        _, _, _, project, rest = path.split("/", 4)
        place = f"hidden/{project}" if rest == "hidden" else f"file/{project}/{rest}"
        handler.send_response(200)
        handler.send_header("X-Accel-Redirect", f"/-/upstream/{place}")
        # Without a charset, which nginx would give to whatever is sent instead.
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", "0")
        handler.end_headers()


class _Beside(Recorder):
    """The program that fetches: sends the same file under every name, when it may."""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.headers = dict(handler.headers)
        self.paths = [*getattr(self, "paths", []), f"{handler.command} {handler.path}"]
        self.hold.wait(PATIENCE)
        if f"/{AWAY}/" in handler.path:
            status, body, headers = 503, b"The index does not answer\n", {"Retry-After": "7"}
        elif handler.path.startswith("/hidden/"):
            status, body, headers = 200, b'{"hidden": []}\n', {"Content-Type": "application/json"}
        else:
            status, body, headers = 200, CONTENT, {"Content-Type": "application/octet-stream"}
            if part := re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", "")):
                first, last = int(part[1]), int(part[2])
                status, body = 206, CONTENT[first : last + 1]
                headers["Content-Range"] = f"bytes {first}-{last}/{len(CONTENT)}"
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "ETag": '"1"'}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)


@dataclass
class Scene:
    gateway: Gateway
    server: _Server
    beside: _Beside
    pages: Path


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    setup = getattr(request, "param", Setup(upstream=True))
    pages = tmp_path / "pages"
    with (
        _Server() as server,
        _Beside() as beside,
        Gateway(
            tmp_path,
            server.port,
            packages=tmp_path / "packages",
            pages=pages,
            upstream_port=beside.port,
            setup=setup,
        ) as gateway,
    ):
        yield Scene(gateway, server, beside, pages)


def _keep(gateway: Gateway, path: str = FILE, content: bytes = CONTENT) -> None:
    kept = gateway.cache / "files" / path
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_a_file_is_the_same_kept_or_not(scene: Scene, kept: bool) -> None:
    gateway = scene.gateway
    if kept:
        _keep(gateway)
    whole = gateway.get(f"/upstream/{FILE}", *READER)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Cache-Control"] == "private, max-age=31536000"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    head = gateway.request("HEAD", f"/upstream/{FILE}", *READER)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(CONTENT)))
    part = gateway.get(f"/upstream/{FILE}", *READER, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"
    assert getattr(scene.beside, "paths", []) == ([] if kept else [f"{m} /file/{FILE}" for m in ("GET", "HEAD", "GET")])


@pytest.mark.parametrize("name", [f"{FILE}.metadata", f"demo/{SHA256}/demo-1!2.0+local.1.tar.gz"])
def test_names_reach_the_program_and_the_cache_as_they_are(scene: Scene, name: str) -> None:
    assert scene.gateway.get(f"/upstream/{name.replace('+', '%2B')}", *READER).content == CONTENT
    assert scene.beside.paths == [f"GET /file/{name}"]
    _keep(scene.gateway, name, b"kept")
    assert scene.gateway.get(f"/upstream/{name}", *READER).content == b"kept"


def test_the_program_learns_nothing_of_the_client(scene: Scene) -> None:
    headers = {"Cookie": "a=b", "User-Agent": "pip/1", "X-Forwarded-For": "192.0.2.1", "If-Range": '"x"'}
    scene.gateway.request("GET", f"/upstream/{FILE}", *READER, headers={**headers, "Range": "bytes=0-1"})
    assert scene.beside.headers.keys() == {"Host", "Connection", "X-Request-ID", "Range", "If-Range"}


@pytest.mark.parametrize("path", [FILE, "demo/hidden"])
def test_readers_alone_are_answered(scene: Scene, path: str) -> None:
    _keep(scene.gateway)
    for who in ((), ("reader", "wrong")):
        assert scene.gateway.get(f"/upstream/{path}", *who).status_code == 401
    assert not hasattr(scene.beside, "paths")


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
def test_who_is_known_and_may_not_read_gets_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    if kept:
        _keep(scene.gateway)
    monkeypatch.setattr(scene.server, "verdict", lambda *_: 403)
    answer = scene.gateway.get(f"/upstream/{FILE}", *READER)
    assert (answer.status_code, answer.text) == (403, "This user may not read.\n")
    assert not hasattr(scene.beside, "paths")


def test_what_is_the_registrys_own_is_never_asked_for(scene: Scene) -> None:
    answer = scene.gateway.get(f"/upstream/{PRIVATE}/{SHA256}/{WHEEL}", *READER)
    assert answer.text == f"the server answers /-/upstream/{PRIVATE}/{SHA256}/{WHEEL}\n"
    assert not hasattr(scene.beside, "paths")


@pytest.mark.parametrize(
    "path",
    [
        f"/upstream/demo/{SHA256}/.hidden",
        f"/upstream/demo/{SHA256}/../../../etc/passwd",
        f"/upstream/demo/{SHA256}/a%2fb.whl",
        f"/upstream/demo/{SHA256}/",
        f"/upstream/demo/{SHA256[1:]}/{WHEEL}",
        f"/upstream/Demo_x/{SHA256}/{WHEEL}",
        f"/upstream/demo/{'A' * 64}/{WHEEL}",
        f"/upstream/demo/{SHA256}/{WHEEL}%00",
        "/upstream/demo/hidden/",
        "/upstream/demo/",
        "/upstream/projects/demo.json",
        f"/-/upstream/file/{FILE}",
        "/-/upstream/hidden/demo",
        f"/files/{FILE}",
        "/filtered/demo.html",
    ],
)
def test_other_paths_reach_nobody(scene: Scene, path: str) -> None:
    (scene.gateway.cache / "projects").mkdir()
    (scene.gateway.cache / "projects/demo.json").write_text("a record")
    line = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    assert scene.gateway.exchange(line).split(b" ", 2)[1] in {b"404", b"400"}
    assert not hasattr(scene.beside, "paths")


def test_a_link_in_the_cache_leads_nowhere(scene: Scene) -> None:
    secret = scene.gateway.directory / "secret"
    secret.write_text("of the gateway alone")
    folder = scene.gateway.cache / "files/demo" / SHA256
    folder.mkdir(parents=True)
    (folder / WHEEL).symlink_to(secret)
    answer = scene.gateway.get(f"/upstream/{FILE}", *READER)
    assert (answer.status_code, answer.text) == (404, "Not found.\n")


def test_what_the_program_says_reaches_the_client(scene: Scene) -> None:
    answer = scene.gateway.get(f"/upstream/{AWAY}/{SHA256}/{WHEEL}", *READER)
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (503, "The index does not answer\n", "7")
    assert "Cache-Control" not in answer.headers


def test_without_the_program_private_packages_go_on(scene: Scene) -> None:
    scene.beside.stop()
    _keep(scene.gateway)
    (scene.gateway.directory / "packages" / WHEEL).write_bytes(b"private")
    other = scene.gateway.get(f"/upstream/other/{SHA256}/{WHEEL}", *READER)
    assert (other.status_code, other.headers["Retry-After"]) == (503, "5")
    assert scene.gateway.get(f"/upstream/{FILE}", *READER).content == CONTENT
    assert scene.gateway.get(f"/packages/{WHEEL}", *READER).content == b"private"


def test_what_is_hidden_is_told(scene: Scene) -> None:
    answer = scene.gateway.get("/upstream/demo/hidden", *READER)
    assert (answer.status_code, answer.json()) == (200, {"hidden": []})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert scene.beside.paths == ["GET /hidden/demo"]


def test_a_page_says_that_something_is_hidden(scene: Scene) -> None:
    for folder, name in (("filtered", "demo"), ("projects", "other")):
        (scene.pages / folder).mkdir(parents=True)
        for suffix in ("html", "json"):
            (scene.pages / folder / f"{name}.{suffix}").write_text(f"the page of {name}")
    for accept, kind in (("text/html", "text/html"), ("application/vnd.pypi.simple.v1+json", "application/vnd")):
        filtered = scene.gateway.get("/simple/demo/", *READER, Accept=accept)
        assert filtered.text == "the page of demo"
        assert filtered.headers["Content-Type"].startswith(kind)
        assert filtered.headers["X-Hidden-Files"] == "../../upstream/demo/hidden"
        assert (filtered.headers["Cache-Control"], filtered.headers["Vary"]) == ("private, no-cache", "Accept")
        other = scene.gateway.get("/simple/other/", *READER, Accept=accept)
        assert other.text == "the page of other"
        assert "X-Hidden-Files" not in other.headers


@pytest.mark.parametrize("scene", [Setup(upstream=True, changes={"fetches 512": "fetches 2"})], indirect=True)
def test_only_so_many_are_fetched_at_once(scene: Scene) -> None:
    scene.beside.hold.clear()
    _keep(scene.gateway)
    got: list[bytes] = []

    def fetch() -> None:
        got.append(scene.gateway.get(f"/upstream/other/{SHA256}/{WHEEL}", *READER).content)

    waiting = [threading.Thread(target=fetch) for _ in range(2)]
    for each in waiting:
        each.start()
    wait_for(lambda: len(getattr(scene.beside, "paths", [])) == 2, "two that wait for the program")
    third = scene.gateway.get(f"/upstream/other/{SHA256}/{WHEEL}", *READER)
    assert (third.status_code, third.headers["Retry-After"]) == (503, "5")
    assert third.text == "Too many public files are being fetched at once; try again.\n"
    # What is kept is not counted.
    assert scene.gateway.get(f"/upstream/{FILE}", *READER).content == CONTENT
    scene.beside.hold.set()
    for each in waiting:
        each.join()
    assert got == [CONTENT, CONTENT]


@pytest.mark.parametrize("scene", [Setup(upstream=True, anonymous=True)], indirect=True)
def test_without_passwords(scene: Scene) -> None:
    assert scene.gateway.get(f"/upstream/{FILE}").headers["Cache-Control"] == "public, max-age=31536000"
    assert scene.gateway.get("/upstream/demo/hidden").headers["Cache-Control"] == "public, no-cache"


def test_a_connection_goes_on_after_a_file_that_was_fetched(scene: Scene) -> None:
    line = f"GET /upstream/{FILE} HTTP/1.1\r\nHost: a\r\nAuthorization: {basic(*READER)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", scene.gateway.port), PATIENCE) as connection:
        for _ in range(2):
            connection.sendall(line)
            assert read_answer(connection) == (200, CONTENT)


@pytest.mark.parametrize("scene", [Setup(upstream=True, metrics=True)], indirect=True)
def test_the_metrics_of_the_program_are_scraped(scene: Scene) -> None:
    url = f"http://127.0.0.1:{scene.gateway.metrics_port}"
    for path in ("/metrics/upstream", "/metrics"):
        assert CONTENT in requests.get(f"{url}{path}", timeout=PATIENCE).content
    assert set(scene.beside.paths) == {"GET /metrics"}
    scene.beside.stop()
    assert requests.get(f"{url}/metrics/upstream", timeout=PATIENCE).status_code == 502
    assert b"the server answers /-/metrics" in requests.get(f"{url}/metrics", timeout=PATIENCE).content


@pytest.mark.parametrize("scene", [Setup(upstream=False, metrics=True)], indirect=True)
def test_without_upstream_there_is_nothing_of_it(scene: Scene) -> None:
    url = f"http://127.0.0.1:{scene.gateway.metrics_port}"
    assert requests.get(f"{url}/metrics/upstream", timeout=PATIENCE).status_code == 404
    assert requests.get(f"{url}/metrics", timeout=PATIENCE).text == "the server answers /-/metrics\n"
    assert scene.gateway.get(f"/upstream/{FILE}", *READER).status_code == 404
    assert not hasattr(scene.beside, "paths")
