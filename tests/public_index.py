"""A public index as real HTTP servers on loopback: one host has the pages, another one the files.

It behaves as such indexes do: JSON or HTML by what is accepted, ETags and 304, gzip, redirects of names that are not
normalised, ranges of files; and, when a test says so, as they do on a bad day, or as one that lies.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import socket
import ssl
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import public_files
from gateway_programs import basic
from programs import PATIENCE, free_port, wait_for
from public_files import PublicFile
from public_pages import JSON, PublicProject, index_html, index_json, project_html, project_json, wanted_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from certificates import Authority

CHUNK = 64 * 1024


@dataclass
class Answer:
    """What is answered to one request."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    """Chunks if its length is not said."""


@dataclass
class Trouble:
    """What happens to answers on a bad day, from the moment that `PublicIndex.trouble` is told."""

    status: int | None = None
    """Answered in the place of what was asked for, such as 429 or 502."""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    """The connection ends after so many bytes of the body."""
    hold_at: int | None = None
    """After so many bytes of the body nothing comes any more until `go` is set."""
    go: threading.Event = field(default_factory=threading.Event)
    bandwidth: float | None = None
    """Bytes a second of each answer."""
    times: int | None = None
    """How many answers it happens to; None for all."""


class Asked(NamedTuple):
    """A request, and what went back."""

    host: str
    """"pages" or "files"."""
    method: str
    path: str
    headers: dict[str, str]
    status: int


class PublicIndex:
    """Both hosts, and what they have.

    `with PublicIndex(directory) as index:` starts them. With an `authority` they speak TLS. The ports are chosen once,
    so that the index can be away and come back.
    """

    def __init__(
        self,
        directory: Path,
        *,
        html_only: bool = False,
        authority: Authority | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.directory = directory / "public"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.html_only = html_only
        self.credentials = credentials
        self.latency = 0.0
        self.projects: dict[str, PublicProject] = {}
        self.lies: dict[str, Callable[[], Answer]] = {}
        """What is answered for the page of a project in the place of what is true."""
        self.asked: list[Asked] = []
        self.sent = 0
        """Bytes of the bodies of files, and of their METADATA."""
        self._troubles: list[tuple[re.Pattern[str], Trouble]] = []
        self._lock = threading.Lock()
        self._context = _context(authority) if authority else None
        self.pages = _Host(self, "pages", self._context)
        self.files = _Host(self, "files", self._context)

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"{self.pages.url}/simple/"

    @property
    def file_host(self) -> str:
        """The host that a registry has to be told of."""
        return f"127.0.0.1:{self.files.port}"

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()

    def go_away(self) -> None:
        """Cut every connection, and refuse new ones."""
        for _, trouble in self._troubles:
            trouble.go.set()
        for host in (self.pages, self.files):
            host.stop()

    def come_back(self) -> None:
        """Answer, at the same addresses."""
        for host in (self.pages, self.files):
            host.start()

    def project(self, name: str) -> PublicProject:
        """The project of a normalised name."""
        return self.projects.setdefault(name, PublicProject(name))

    def add(self, name: str, version: str, **described: Any) -> PublicFile:  # noqa: ANN401 - of public_files.wheel
        """Publish a wheel; `name` is normalised."""
        return self.put(name, public_files.wheel(self._folder(), name.replace("-", "_"), version, **described))

    def add_sdist(self, name: str, version: str) -> PublicFile:
        """Publish a source distribution."""
        return self.put(name, public_files.sdist(self._folder(), name.replace("-", "_"), version))

    def add_sparse(self, name: str, version: str, size: int) -> PublicFile:
        """Publish a large file."""
        return self.put(name, public_files.sparse(self._folder(), name.replace("-", "_"), version, size))

    def put(self, name: str, file: PublicFile) -> PublicFile:
        """List a file."""
        self.project(name).files.append(file)
        return file

    def trouble(self, pattern: str, trouble: Trouble) -> Trouble:
        """Let something happen to the answers for paths that contain a pattern; what was said last counts."""
        self._troubles.insert(0, (re.compile(pattern), trouble))
        return trouble

    def trouble_is_over(self) -> None:
        """Answer as on a good day."""
        for _, trouble in self._troubles:
            trouble.go.set()
        self._troubles.clear()

    def requests(self, pattern: str = "") -> list[Asked]:
        """What was asked for, of paths that contain a pattern."""
        return [each for each in list(self.asked) if re.search(pattern, each.path)]

    def page_requests(self, project: str) -> list[Asked]:
        """What was asked about a project, in any spelling of its name: nothing if it is nobody's business."""
        return [each for each in list(self.asked) if project in re.sub(r"[-_.]+", "-", each.path).lower()]

    def wait_for_metadata(self) -> None:
        """Return when METADATA was asked for, which the registry does by itself after a page that is new to it."""

        def was_asked() -> bool:
            return any(each.path.endswith(".metadata") for each in list(self.asked))

        wait_for(was_asked, "METADATA to be asked for")

    def forget(self) -> None:
        """Begin to count anew."""
        with self._lock:
            self.asked.clear()
            self.sent = 0

    def file_url(self, file: PublicFile) -> str:
        """Where the page says that a file is."""
        return file.url or f"{self.files.url}/packages/{file.sha256[:2]}/{file.sha256[2:]}/{file.name}"

    def page(self, project: PublicProject, form: str) -> bytes:
        """The true page of a project."""
        render = project_json if form == JSON else project_html
        return render(project, lambda file: (self.file_url(file), self._provenance_url(file)))

    def answer(self, host: str, handler: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        time.sleep(self.latency)
        path = handler.path.partition("?")[0]
        # The files of small indexes are beside their pages.
        wants_file = host == "files" or path.startswith("/packages/")
        made = self._file_answer(path, handler) if wants_file else self._page_answer(path, handler)
        trouble = self._trouble_of(path)
        if trouble and trouble.status:
            made = Answer(trouble.status, trouble.headers, b"this is a bad day\n")
        with self._lock:
            self.asked.append(Asked(host, handler.command, path, dict(handler.headers), made.status))
        handler.send_response(made.status)
        for name, value in made.headers.items():
            handler.send_header(name, value)
        streamed = not isinstance(made.body, bytes) and "Content-Length" not in made.headers
        if streamed:
            handler.send_header("Transfer-Encoding", "chunked")
        elif isinstance(made.body, bytes) and "Content-Length" not in made.headers and made.status != 304:
            handler.send_header("Content-Length", str(len(made.body)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        chunks = _slices(made.body) if isinstance(made.body, bytes) else made.body
        for chunk in _troubled(chunks, trouble):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if streamed else chunk)
            handler.wfile.flush()
            if wants_file:
                with self._lock:
                    self.sent += len(chunk)
        if streamed:
            handler.wfile.write(b"0\r\n\r\n")

    def _page_answer(self, path: str, handler: BaseHTTPRequestHandler) -> Answer:
        if self.credentials and handler.headers["Authorization"] != basic(*self.credentials):
            return Answer(401, {"WWW-Authenticate": 'Basic realm="public"'}, b"who are you?\n")
        if path.startswith("/integrity/"):
            file = self._find(lambda each: f"/{each.name}/" in path)
            content = file.provenance if file else None
            return Answer(200, {"Content-Type": "application/json"}, content) if content else _MISSING
        match = re.fullmatch(r"/simple/(?:([^/]+)(/?))?", path)
        name, slash = match.groups() if match else ("/", "")
        form = wanted_form(handler.headers["Accept"] or "", html_only=self.html_only)
        if name is None:
            return _page(handler, form, index_json(self.projects) if form == JSON else index_html(self.projects))
        normalised = re.sub(r"[-_.]+", "-", name).lower()
        if match and (normalised != name or not slash):
            return Answer(301, {"Location": f"/simple/{normalised}/"})
        if name in self.lies:
            return self.lies[name]()
        return _page(handler, form, self.page(self.projects[name], form)) if name in self.projects else _MISSING

    def _file_answer(self, path: str, handler: BaseHTTPRequestHandler) -> Answer:
        name = path.rpartition("/")[2]
        file = self._find(lambda each: each.name in (name, name.removesuffix(".metadata")) and each.sha256[2:] in path)
        if file and name != file.name:
            return Answer(200, {"Content-Type": "text/plain"}, file.metadata) if file.metadata else _MISSING
        if not file or not file.content:
            return _MISSING
        return _file(handler, file.content, file.sha256)

    def _find(self, condition: Callable[[PublicFile], bool]) -> PublicFile | None:
        files = (file for project in list(self.projects.values()) for file in list(project.files))
        return next((file for file in files if condition(file)), None)

    def _provenance_url(self, file: PublicFile) -> str | None:
        return f"{self.pages.url}/integrity/{file.version}/{file.name}/provenance" if file.provenance else None

    def _trouble_of(self, path: str) -> Trouble | None:
        with self._lock:
            for pattern, trouble in self._troubles:
                if pattern.search(path) and trouble.times != 0:
                    trouble.times = trouble.times and trouble.times - 1
                    return trouble
        return None

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.directory))


_MISSING = Answer(404, {"Content-Type": "text/plain"}, b"404 Not Found\n")


def _page(handler: BaseHTTPRequestHandler, form: str, body: bytes) -> Answer:
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Vary": "Accept, Accept-Encoding", "Cache-Control": "max-age=600, public"}
    if tag in (handler.headers["If-None-Match"] or ""):
        return Answer(304, headers)
    headers["Content-Type"] = form
    if "gzip" in (handler.headers["Accept-Encoding"] or ""):
        return Answer(200, {**headers, "Content-Encoding": "gzip"}, gzip.compress(body, 1))
    return Answer(200, headers, body)


def _file(handler: BaseHTTPRequestHandler, path: Path, sha256: str) -> Answer:
    size, tag = path.stat().st_size, f'"{sha256[:20]}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    first, last, status = 0, size - 1, 200
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", handler.headers["Range"] or "")
    if asked and handler.headers["If-Range"] in (None, tag):
        begin, end = asked.groups()
        first = int(begin) if begin else max(0, size - int(end))
        last = min(int(end), size - 1) if begin and end else size - 1
        if first > last:
            return Answer(416, {"Content-Range": f"bytes */{size}"})
        status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    return Answer(status, headers, _part(path.open("rb"), first, last - first + 1))


def _part(file: BinaryIO, first: int, count: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while count and (chunk := file.read(min(2**20, count))):
            count -= len(chunk)
            yield chunk


def _slices(body: bytes) -> Iterator[bytes]:
    return (body[at : at + CHUNK] for at in range(0, len(body), CHUNK))


def _troubled(chunks: Iterable[bytes], trouble: Trouble | None) -> Iterator[bytes]:
    if not trouble:
        yield from chunks
        return
    passed = 0
    for whole in chunks:
        for chunk in _slices(whole):
            rest = chunk
            if trouble.hold_at is not None and not trouble.go.is_set() and passed + len(chunk) > trouble.hold_at:
                begin = max(0, trouble.hold_at - passed)
                yield chunk[:begin]
                trouble.go.wait(PATIENCE)
                rest = chunk[begin:]
            passed += len(chunk)
            if trouble.cut_at is not None and passed > trouble.cut_at:
                yield rest[: len(rest) - (passed - trouble.cut_at)]
                raise ConnectionAbortedError
            if trouble.bandwidth:
                time.sleep(len(chunk) / trouble.bandwidth)
            yield rest


def _context(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.key + pair.certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class _Host:
    """One of the servers."""

    def __init__(self, index: PublicIndex, name: str, context: ssl.SSLContext | None) -> None:
        self._index = index
        self._name = name
        self._context = context
        self.port = free_port()
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self.connections: list[socket.socket] = []
        self._listener: ThreadingHTTPServer | None = None

    def start(self) -> None:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body leave together, or a client waits for the rest of the packet.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                host._index.answer(host._name, self)

            do_HEAD = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                if host._context:
                    # The handshake is the thread's: a client that does not speak would stop all others.
                    connection = host._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                host.connections.append(connection)
                return connection, address

            def handle_error(self, *_: object) -> None:
                """Clients that go away, and answers that are cut, are part of the tests."""

        self._listener = Listener(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._listener:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()
