"""What a public index answers that was broken into, or is not one."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from typing import TYPE_CHECKING

from public_index import Answer
from public_pages import API_VERSION, JSON, PLAIN_HTML

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY_LINKS = 10_000_000
DIGEST = "0" * 64
ZEROS = bytes(2**20)


def page(body: bytes | Iterator[bytes], form: str = JSON, **headers: str) -> Answer:
    """A page with this body; chunks are sent as they are made."""
    return Answer(
        200, {"Content-Type": form, **{name.replace("_", "-"): value for name, value in headers.items()}}, body
    )


def document(name: str, *files: dict[str, object], **changed: object) -> bytes:
    """A page in JSON, and what is wrong with it."""
    content = {"meta": {"api-version": API_VERSION}, "name": name, "versions": ["1.0"], "files": files, **changed}
    return json.dumps(content).encode()


def file(name: str, url: str, **changed: object) -> dict[str, object]:
    """A file of such a page."""
    filename = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    return {"filename": filename, "url": url, "hashes": {"sha256": DIGEST}, "size": 10, **changed}


def many_links(name: str, url: str, form: str = JSON) -> Iterator[bytes]:
    """A page of ten million links, which nobody holds as a whole."""
    stem = name.replace("-", "_")
    if form == JSON:
        yield document(name)[: -len(b"]}")]
    else:
        yield b"<!DOCTYPE html><html><body>\n"
    for first in range(0, MANY_LINKS, 1_000):
        names = (f"{stem}-1.{number}-py3-none-any.whl" for number in range(first, first + 1_000))
        if form == JSON:
            lines = [f'{{"filename":"{each}","url":"{url}{each}","hashes":{{"sha256":"{DIGEST}"}}}}' for each in names]
            yield ("," * (first > 0) + ",".join(lines)).encode()
        else:
            yield "\n".join(f'<a href="{url}{each}#sha256={DIGEST}">{each}</a>' for each in names).encode()
    yield b"]}" if form == JSON else b"</body></html>"


def bomb(name: str) -> Iterator[bytes]:
    """A page in gzip whose packed megabyte is a gigabyte, and without end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield packer.compress(document(name)[:-1] + b', "padding": "') + packer.flush(zlib.Z_FULL_FLUSH)
    # What follows a full flush does not depend on what was before it.
    spaces = packer.compress(b" " * 2**24) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from itertools.repeat(spaces)


def packed_with_more(name: str) -> Iterator[bytes]:
    """A page in gzip, and what does not belong to it without end."""
    yield gzip.compress(document(name))
    yield from itertools.repeat(ZEROS)


def packed_twice(name: str) -> bytes:
    """A page that is packed once more than it says."""
    return gzip.compress(gzip.compress(document(name)))


def endless(name: str) -> Iterator[bytes]:
    """A page without end."""
    yield document(name)[:-1] + b', "padding": "'
    yield from itertools.repeat(b" " * 2**16)


def deep(_: str) -> bytes:
    """A page of more brackets than a parser may hold."""
    return b"[" * 5_000_000


def huge_number(name: str) -> bytes:
    """A page with a number whose digits take long to read."""
    return document(name)[:-1] + b', "size": ' + b"9" * 5_000_000 + b"}"


BROKEN: dict[str, Callable[[str], Answer]] = {
    "no JSON": lambda _: page(b'{"meta": {"api-version": "1.1"}, "files": ['),
    "no object": lambda _: page(b'["files"]'),
    "nothing": lambda _: page(b""),
    "not in UTF-8": lambda name: page(document(name).replace(b"1.0", b"\xff\xfe")),
    "files that are none": lambda name: page(document(name, files="all of them")),
    "a status that is none": lambda name: page(document(name, **{"project-status": ["active"]})),
    "another version of the interface": lambda name: page(document(name, meta={"api-version": "2.0"})),
    "another type": lambda name: page(document(name), "application/octet-stream"),
    "deep": lambda name: page(deep(name)),
    "a huge number": lambda name: page(huge_number(name)),
    "ten million links": lambda name: page(many_links(name, "/packages/")),
    "ten million links in HTML": lambda name: page(many_links(name, "/packages/", PLAIN_HTML), PLAIN_HTML),
    "a gzip bomb": lambda name: page(bomb(name), Content_Encoding="gzip"),
    "gzip that is none": lambda name: page(document(name), Content_Encoding="gzip"),
    "gzip that ends early": lambda name: page(gzip.compress(document(name))[:-12], Content_Encoding="gzip"),
    "gzip that goes on": lambda name: page(packed_with_more(name), Content_Encoding="gzip"),
    "an unknown packing": lambda name: page(document(name), Content_Encoding="br"),
    "packed twice": lambda name: page(packed_twice(name), Content_Encoding="gzip"),
    "endless": lambda name: page(endless(name)),
    "endless HTML": lambda _: page(itertools.repeat(b"<a>" * 20_000), PLAIN_HTML),
    "another name": lambda _: page(document("somebody-else", file("somebody-else", "/packages/x.whl"))),
}
"""Pages of which nothing may be served or kept, by what is wrong with them."""
