"""Requests as no honest client sends them: strategies over the bytes of a request line, headers and a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from gateway_programs import basic

if TYPE_CHECKING:
    from collections.abc import Sequence

READER = ("reader", "reader-password")
PUBLISHER = ("publisher", "publisher-password")
PATHS = (
    b"/",
    b"/simple/",
    b"/simple",
    b"/simple/demo/",
    b"/simple/demo",
    b"/simple/Demo_/",
    b"/simple/absent/",
    b"/packages/",
    b"/packages/demo-1.0-py3-none-any.whl",
    b"/packages/demo-1.0-py3-none-any.whl.metadata",
    b"/packages/absent-1.0.zip",
    b"/demo/json",
    b"/demo/",
    b"/health",
    b"/ready",
    b"/favicon.ico",
    b"/RPC2",
    b"/-/publish",
    b"/-/welcome",
    b"/-/ready",
    b"/-/metrics",
    b"/-/auth/reader",
    b"/-/auth/publisher-verdict",
    b"*",
)
SEPARATORS = (b"/", b"//", b"\\", b"%2f", b"%2F", b"%5c", b"/./", b"/../", b"/%2e%2e/", b"/%252e%252e/", b"/..;/", b"")
SEGMENTS = (
    b"simple",
    b"packages",
    b"demo",
    b"demo-1.0-py3-none-any.whl",
    b"demo-1.0-py3-none-any.whl.metadata",
    b".pypiserver",
    b"facts-1",
    b"initial-password",
    b"etc",
    b"passwd",
    b"..",
    b".",
    b"%00",
    b"\x00",
    b"%0d%0aX-Injected:1",
    b"%c0%ae%c0%ae",
    b"%e2%80%ae",
    "démo".encode(),
    "｡｡".encode(),
    b"\xff\xfe",
    b"~root",
    b"%",
    b"%zz",
    b"{{7*7}}",
    b"<script>",
    b"'\"",
    b"json",
    b"-",
    b"a" * 300,
)
MEDIA = (
    b"",
    b"*/*",
    b"text/html",
    b"application/vnd.pypi.simple.v1+json",
    b"application/vnd.pypi.simple.v1+json;q=0.1, text/html;q=nan",
    b"application/vnd.pypi.simple.v1+json;q=1e999",
    b"application/vnd.pypi.simple.latest+json; q=0.000000000001",
    b"text/html;q=-1,,,;;;q=q,*/*;q=\xff",
    b"," * 3000,
    b"application/vnd.pypi.simple.v1+json, " * 150,
)
CREDENTIALS = (
    *(basic(*user).encode() for user in (READER, PUBLISHER)),
    basic("reader", "guess").encode(),
    basic("reader", "a" * 700).encode(),
    basic("reader", "nul\0").encode(),
    basic("r\u00e9ader", "\u2603").encode(),
    basic("", "").encode(),
    b"Basic /w==",
    b"Basic =",
    b"Basic",
    b"Basic !!!!",
    b"Basic " + b"A" * 5000,
    b"Bearer x",
    b"\xff\xfe",
)
RANGES = (
    b"bytes=0-",
    b"bytes=-1",
    b"bytes=0-0,2-3,5-",
    b"bytes=9-1",
    b"bytes=99999999999999999999-",
    b"bytes=-99999999999999999999",
    b"bytes=" + b"0-1," * 1500,
    b"lines=1-2",
    b"bytes=a-b",
)
DATES = (b"Thu, 01 Jan 1970 00:00:00 GMT", b"Tue, 31 Feb 2099 25:61:61 GMT", b"0", b"-1", b"\xff", b"A" * 1000)
TAGS = (b"*", b'"x"', b'W/"x"', b'"' * 1000, b'"a","b",' * 300, b"\xff")
LENGTHS = (
    b"0",
    b"1",
    b"-1",
    b"+1",
    b"0x10",
    b"1, 1",
    b"1e3",
    b"999999999999999999999999",
    b"1073741825",
    b"",
    b"\xd9\xa1",
)
CODINGS = (b"chunked", b"gzip, chunked", b"chunked, identity", b"identity", b"x", b"\x0bchunked", b"chunKed", b"")
HOSTS = (b"x", b"", b"a:b:c", b"a/b", b"[::1]", b"127.0.0.1:8080", b"evil.example", b"\xff", b"a" * 2000)
NAMES: dict[bytes, Sequence[bytes]] = {
    b"Accept": MEDIA,
    b"Authorization": CREDENTIALS,
    b"Range": RANGES,
    b"If-Range": (*TAGS, *DATES),
    b"If-None-Match": TAGS,
    b"If-Match": TAGS,
    b"If-Modified-Since": DATES,
    b"If-Unmodified-Since": DATES,
    b"Accept-Encoding": (b"gzip", b"gzip;q=0", b"*;q=0", b"br, " * 500),
    b"Content-Length": LENGTHS,
    b"Transfer-Encoding": CODINGS,
    b"Content-Type": (b"multipart/form-data", b"multipart/form-data; boundary=", b"application/json", b"\xff"),
    b"Expect": (b"100-continue", b"200-ok"),
    b"Connection": (b"keep-alive", b"close", b"Upgrade, Content-Length", b"\xff"),
    b"Upgrade": (b"h2c", b"websocket"),
    b"Host": HOSTS,
    b"Cookie": (b"a=b", b"=" * 1000, b"a=reader-password"),
    b"X-Forwarded-For": (b"192.0.2.7", b"unknown", b'"}', b"1.1.1.1," * 500),
    b"X-Forwarded-Host": (b"a.example", b"evil/../x", b"\xff"),
    b"X-Forwarded-Proto": (b"https", b"javascript"),
    b"X-Request-ID": (b"x", b"\xff"),
    b"X-Accel-Redirect": (b"/packages/.pypiserver/",),
    b"User-Agent": (b"pip/26", b'"\\', b"\xff\xfe", b"twine/7"),
    b"Content_Length": (b"5",),
}
QUERY_SECRET = b"secret-of-a-query"
QUERIES = (b"", b"", b"", b"?", b"?password=" + QUERY_SECRET, b"#x", b"?" + b"q" * 2000, b"?%00=\xff")
METHODS = (
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PROPFIND",
    b"get",
    b"",
    b"G\0T",
)
VERSIONS = (
    b" HTTP/1.1",
    b" HTTP/1.0",
    b" HTTP/0.9",
    b" HTTP/1.9",
    b" HTTP/2.0",
    b" HTTP/11.1",
    b" HTTP/1.1 x",
    b" ICY/1.1",
    b"",
)


TOKEN = b"user-agent-of-this-request"
"""In each request once; whoever sends it puts something of its own there, to find it in the log."""
FRAMING = (b"Content-Length", b"Transfer-Encoding", b"Content_Length", b"Expect", b"Connection", b"Upgrade")


@dataclass(frozen=True)
class Request:
    """One request."""

    content: bytes
    framed: bool
    """Whether it says where it ends, so that another may follow on the same connection."""
    head_only: bool
    """Whether the answer has no body, whatever it says."""


def weighted(common: st.SearchStrategy[bytes], odd: st.SearchStrategy[bytes], of: int = 4) -> st.SearchStrategy[bytes]:
    """`odd` once in `of` times."""
    return st.integers(1, of).flatmap(lambda number: odd if number == 1 else common)


RAW = st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\r\n"))
LINE = weighted(st.sampled_from(SEGMENTS), RAW, of=12)


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    """What is asked for: an address that exists, pieces of such with odd ones between, or any bytes."""
    kind = draw(st.integers(0, 19))
    if kind <= 12:
        path = draw(st.sampled_from(PATHS))
    elif kind <= 17:
        pieces = draw(st.lists(st.tuples(st.sampled_from(SEPARATORS), LINE), min_size=1, max_size=6))
        path = b"/" + b"".join(separator + segment for separator, segment in pieces)
    elif kind == 18:
        path = b"http://" + draw(st.sampled_from(HOSTS)) + draw(st.sampled_from(PATHS))
    else:
        path = draw(RAW)
    return path + draw(st.sampled_from(QUERIES))


@st.composite
def header(draw: st.DrawFn) -> bytes:
    """One header line, mostly of a name that somebody acts on."""
    name = draw(st.sampled_from(tuple(NAMES)))
    value = draw(weighted(st.sampled_from(NAMES[name]), RAW, of=12))
    odd = draw(st.integers(0, 39))
    if odd == 0:
        return draw(RAW) + b": " + value
    if odd == 1:
        return name + b" : " + value
    if odd == 2:
        return name + b": a\r\n " + value
    if odd == 3:
        return b"\r\n".join(b"X-%d: %s" % (number, value[:90]) for number in range(200))
    return name + b": " + value


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Any request; most have a request line, a host and credentials that get past the first check."""
    method = draw(weighted(st.just(b"GET"), st.sampled_from(METHODS), of=4))
    version = draw(weighted(st.just(b" HTTP/1.1"), st.sampled_from(VERSIONS), of=10))
    lines = [method + b" " + draw(targets()) + version, b"User-Agent: " + TOKEN]
    if draw(st.integers(0, 9)):
        lines.append(b"Host: x")
    if draw(st.integers(0, 2)):
        lines.append(b"Authorization: " + draw(st.sampled_from(CREDENTIALS[:2])))
    lines += draw(st.lists(header(), max_size=4))
    body = draw(weighted(st.just(b""), st.binary(max_size=200), of=8))
    framed = version == b" HTTP/1.1" and not body and not any(line.startswith(FRAMING) for line in lines)
    return Request(b"\r\n".join(lines) + b"\r\n\r\n" + body, framed, head_only=method == b"HEAD")
