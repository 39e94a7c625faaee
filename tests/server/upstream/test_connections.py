from __future__ import annotations

import base64
import contextlib
import selectors
import socket
import threading
from pathlib import Path  # noqa: TC003
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from certificates import Authority
from public_index import Answer, PublicIndex, Trouble
from server.fetching import answers
from server.fetching.answers import AwayError, RefusedError
from server.upstream import connections
from server.upstream.configuration import IndexConfiguration
from server.upstream.connections import Connections
from server.upstream.counters import counters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PublicIndex]:
    with PublicIndex(tmp_path) as started:
        started.add("demo", "1.0")
        yield started


def to(index: PublicIndex, tmp_path: Path, proxy: str | None = None, **said: Any) -> Connections:  # noqa: ANN401
    described = {"file_hosts": (index.file_host,), "plain_http": True, **said}
    configuration = IndexConfiguration(name="public", url=index.url, **described)
    return Connections(
        configuration, proxy=proxy, secrets=tmp_path / "secrets", authorities=tmp_path / "ca", counters=counters()
    )


def get(through: Connections, url: str) -> tuple[int, bytes]:
    with through.answer(url, {}) as answer:
        return answer.status, b"".join(iter(lambda: answer.read(4096), b""))


def redirect(location: str) -> Answer:
    return Answer(302, {"Location": location})


def test_one_connection_does_for_one_request_after_another(index: PublicIndex, tmp_path: Path) -> None:
    made = 0

    class Counting(Connections):
        def _made(self, *arguments: Any) -> Any:  # noqa: ANN401
            nonlocal made
            made += 1
            return super()._made(*arguments)

    through = to(index, tmp_path)
    through.__class__ = Counting
    for _ in range(5):
        assert get(through, f"{index.url}demo/")[0] == 200
    assert made == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew(index: PublicIndex, tmp_path: Path) -> None:
    through = to(index, tmp_path)
    assert get(through, f"{index.url}demo/")[0] == 200
    index.go_away()
    index.come_back()
    assert get(through, f"{index.url}demo/")[0] == 200


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/simple/lie/",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:{port}/simple/lie/",
        "http://127.0.0.1.evil.example:{port}/",
        "//evil.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://127.0.0.1:{port}@evil.example/",
        "http://127.0.0.1:99999999/",
    ],
)
def test_a_redirection_to_elsewhere_is_refused(index: PublicIndex, tmp_path: Path, location: str) -> None:
    index.lies["lie"] = lambda: redirect(location.format(port=index.pages.port))
    with pytest.raises(RefusedError):
        get(to(index, tmp_path), f"{index.url}lie/")


def test_a_redirection_without_end_is_refused(index: PublicIndex, tmp_path: Path) -> None:
    index.lies["lie"] = lambda: redirect("/simple/lie/")
    with pytest.raises(RefusedError, match="without end"):
        get(to(index, tmp_path), f"{index.url}lie/")


def test_a_redirection_to_a_host_of_the_index_is_followed(index: PublicIndex, tmp_path: Path) -> None:
    (file,) = index.projects["demo"].files
    index.lies["moved"] = lambda: redirect(index.file_url(file))
    status, body = get(to(index, tmp_path), f"{index.url}moved/")
    assert (status, len(body)) == (200, file.size)


def test_credentials_are_for_the_index_alone_and_read_each_time(index: PublicIndex, tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "public"
    through = to(index, tmp_path, credentials=True)
    with pytest.raises(AwayError, match="cannot be read"):
        get(through, f"{index.url}demo/")
    secret.mkdir(parents=True)
    (secret / "username").write_text("robot\n")
    (file,) = index.projects["demo"].files
    index.lies["moved"] = lambda: redirect(index.file_url(file))
    for password in ("first", "second"):
        (secret / "password").write_text(password)
        index.credentials = "robot", password
        assert get(through, f"{index.url}demo/")[0] == 200
        assert get(through, f"{index.url}moved/")[0] == 200

    def sent(host: str) -> list[str | None]:
        return [each.headers.get("Authorization") for each in index.asked if each.host == host]

    assert base64.b64decode((sent("pages")[-1] or "").removeprefix("Basic ")) == b"robot:second"
    assert sent("files") == [None, None]


def test_who_is_not_known_by_the_authority_is_away(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with PublicIndex(tmp_path, authority=authority) as index:
        index.add("demo", "1.0")
        with pytest.raises(AwayError, match="CERTIFICATE_VERIFY_FAILED"):
            get(to(index, tmp_path), f"{index.url}demo/")
        (tmp_path / "ca" / "public").mkdir(parents=True)
        (tmp_path / "ca" / "public" / "ca.crt").write_bytes(authority.path.read_bytes())
        assert get(to(index, tmp_path, ca=True, plain_http=False), f"{index.url}demo/")[0] == 200


class _Tunnel(StreamRequestHandler):
    """Answers CONNECT as a forward proxy does, and requests with an absolute address by passing them on."""

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split()
        lines = list(iter(self.rfile.readline, b"\r\n"))
        assert isinstance(self.server, _Proxy)
        self.server.asked.append((method, target))
        parts = urlsplit(target if method != "CONNECT" else f"//{target}")
        with socket.create_connection((parts.hostname or "", parts.port or 80)) as there:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                there.sendall(f"{method} {parts.path} HTTP/1.1\r\n".encode() + b"".join(lines) + b"\r\n")
            self._pass(there)

    def _pass(self, there: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(there, selectors.EVENT_READ, self.connection)
            selector.register(self.connection, selectors.EVENT_READ, there)
            while True:
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    received = key.fileobj.recv(65536)
                    if not received:
                        return
                    key.data.sendall(received)


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    asked: list[tuple[str, str]]


@pytest.fixture
def proxy() -> Iterator[_Proxy]:
    with _Proxy(("127.0.0.1", 0), _Tunnel) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_forward_proxy_leads_to_an_index_with_tls(proxy: _Proxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "ca" / "public").mkdir(parents=True)
    (tmp_path / "ca" / "public" / "ca.crt").write_bytes(authority.path.read_bytes())
    with PublicIndex(tmp_path, authority=authority) as index:
        index.add("demo", "1.0")
        through = to(index, tmp_path, f"http://127.0.0.1:{proxy.server_address[1]}", ca=True)
        for _ in range(2):
            assert get(through, f"{index.url}demo/")[0] == 200
        assert proxy.asked == [("CONNECT", urlsplit(index.url).netloc)]


def test_a_forward_proxy_leads_to_an_index_without_tls(proxy: _Proxy, index: PublicIndex, tmp_path: Path) -> None:
    through = to(index, tmp_path, f"http://127.0.0.1:{proxy.server_address[1]}")
    assert get(through, f"{index.url}demo/")[0] == 200
    assert proxy.asked == [("GET", f"{index.url}demo/")]


def test_a_proxy_that_refuses_is_no_answer(index: PublicIndex, tmp_path: Path) -> None:
    index.trouble("", Trouble(status=407))
    through = to(index, tmp_path, index.pages.url, plain_http=False, file_hosts=("files.example.org",))
    with pytest.raises(AwayError, match="Tunnel connection failed"):
        get(through, "https://files.example.org/a")


def test_an_index_that_wants_to_rest_is_left_alone(index: PublicIndex, tmp_path: Path) -> None:
    through = to(index, tmp_path)
    index.trouble("demo", Trouble(status=429, headers={"Retry-After": "60"}, times=1))
    for _ in range(3):
        with pytest.raises(AwayError, match="asked later") as refused:
            get(through, f"{index.url}demo/")
        assert 50 < refused.value.retry_after <= 60
    assert len(index.requests("demo")) == 1
    assert through.rests


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 3.0), ("120", 120.0), ("0", 1.0), ("1e9", 300.0), ("-5", 1.0), ("Wed, 21", 3.0), ("nan", 1.0)],
)
def test_how_long_an_index_may_want_to_rest(header: str | None, seconds: float) -> None:
    assert connections._seconds(header) == seconds


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("index.example.org", "127.0.0.1"),
        ("index.example.org", "::1"),
        ("index.example.org", "169.254.169.254"),
        ("index.example.org", "::ffff:127.0.0.1"),
        ("index.example.org", "fe80::1%eth0"),
        ("index.example.org", "0.0.0.0"),  # noqa: S104
        ("2130706433", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
    ],
)
def test_a_name_that_leads_to_this_machine_is_refused(host: str, found: str) -> None:
    with pytest.raises(OSError, match="has the address"):
        connections._check_address(host, found)


@pytest.mark.parametrize(
    ("host", "found"), [("index.example.org", "10.0.0.7"), ("127.0.0.1", "127.0.0.1"), ("localhost", "::1")]
)
def test_what_a_user_has_named_is_reached(host: str, found: str) -> None:
    connections._check_address(host, found)


def test_an_answer_that_breaks_off_is_no_answer(index: PublicIndex, tmp_path: Path) -> None:
    (file,) = index.projects["demo"].files
    index.trouble(file.name, Trouble(cut_at=100))
    with pytest.raises(AwayError, match="broke off"):
        get(to(index, tmp_path), index.file_url(file))


class _Trickle(StreamRequestHandler):
    """Answers in parts, of which the last comes again and again."""

    def handle(self) -> None:
        assert isinstance(self.server, _Trickling)
        list(iter(self.rfile.readline, b"\r\n"))
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.begins)
            while not self.server.over.wait(0.05):
                self.wfile.write(self.server.goes_on)


class _Trickling(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, begins: bytes, goes_on: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Trickle)
        self.begins, self.goes_on, self.over = begins, goes_on, threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"x"),
        (CHUNKED, b"0"),
        (CHUNKED + b"0\r\n", b"a: b\r\n"),
    ],
)
def test_a_byte_now_and_then_is_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: bytes, goes_on: bytes
) -> None:
    monkeypatch.setattr(answers, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(answers, "PIECE_SECONDS", 1.0)
    with _Trickling(begins, goes_on) as trickling:
        url = f"http://127.0.0.1:{trickling.server_address[1]}/"
        configuration = IndexConfiguration(name="public", url=url, plain_http=True)
        through = Connections(configuration, proxy=None, secrets=tmp_path, authorities=tmp_path, counters=counters())
        with pytest.raises(AwayError), through.answer(url, {}) as answer:
            answer.read(2**18)


def test_pages_are_asked_for_while_a_file_host_is_away(index: PublicIndex, tmp_path: Path) -> None:
    file = index.add("demo", "1.0")
    through = to(index, tmp_path)
    index.trouble(r"\.whl$", Trouble(status=503, headers={"Retry-After": "60"}, times=1))
    for _ in range(3):
        with pytest.raises(AwayError, match=f"{index.file_host.partition(':')[0]} of public wants to be asked later"):
            get(through, index.file_url(file))
        assert get(through, f"{index.url}demo/")[0] == 200
    assert len(index.requests(r"\.whl$")) == 1
    assert through.rests


def test_what_an_index_sends_in_the_place_of_an_answer_is_no_line_of_the_log(tmp_path: Path) -> None:
    with _Trickling(b"HTTP/2\x1b[31mred\x07 200 OK\r\n\r\n", b"") as trickling:
        url = f"http://127.0.0.1:{trickling.server_address[1]}/"
        configuration = IndexConfiguration(name="public", url=url, plain_http=True)
        through = Connections(configuration, proxy=None, secrets=tmp_path, authorities=tmp_path, counters=counters())
        with pytest.raises(AwayError) as raised, through.answer(url, {}):
            pass
        assert str(raised.value).isprintable()


@pytest.mark.parametrize("location", ["/simple/caf\u00e9/", "http://[x", "/simple/a b/", "/simple/\x7f/"])
def test_a_redirection_that_is_no_address_is_refused(index: PublicIndex, tmp_path: Path, location: str) -> None:
    index.lies["demo"] = lambda: redirect(location)
    through = to(index, tmp_path)
    with pytest.raises(RefusedError):
        get(through, f"{index.url}demo/")
    assert not through.rests


def test_an_answer_knows_where_it_is_from(index: PublicIndex, tmp_path: Path) -> None:
    with to(index, tmp_path).answer(f"{index.url}Demo/", {}) as answer:
        assert answer.url == f"{index.url}demo/"
