"""Forms as they come, and as they should not: nothing of them fails, is copied or is held in memory without bound."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

import vitals
from programs import PATIENCE, upload
from server.http.errors import RefusedError
from server.publish import forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from programs import Server

    Serve = Callable[..., Server]

TYPE = "multipart/form-data; boundary=b"
LONGEST = dict.fromkeys((":action", "summary", "content", 'a"b', "; filename="), 100)
HEAD = b'Content-Disposition: form-data; name="content"; filename="a-1.0.zip"\r\n'


def read(body: io.BytesIO, content_type: str, block: int = 2**17) -> Any:  # noqa: ANN401 - bottle has no types
    """Read a form that comes in blocks of a size."""
    return forms.read(lambda: body.read(block), content_type, LONGEST, lambda *_: io.BytesIO())


def form(*parts: bytes, end: bytes = b"--b--\r\n") -> io.BytesIO:
    return io.BytesIO(b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end)


@pytest.mark.parametrize("size", [0, 1, 2**20 - 60, 2**20 - 30, 2**20, 3 * 2**20 + 7])
def test_a_file_is_read_to_its_last_byte(size: int) -> None:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    fields: dict[str, str | tuple[str, bytes]] = {
        "content": ("a-1.0.zip", content),
        ":action": "file_upload",
        "summary": "Gr\u00fc\u00dfe\r\n--b",
    }
    body, content_type = urllib3.encode_multipart_formdata(fields)
    found = read(io.BytesIO(body), content_type)
    assert (found[":action"], found["summary"]) == ("file_upload", "Gr\u00fc\u00dfe\r\n--b")
    assert found["content"].raw_filename == "a-1.0.zip"
    assert found["content"].file.getvalue() == content


def test_delimiters_are_found_wherever_a_chunk_ends() -> None:
    content = b"\r" * 300
    for block in range(1, 400):
        found = read(form(HEAD + b"\r\n" + content, HEAD + b"\r\n\r\n--"), TYPE, block)
        assert [each.file.getvalue() for each in found.getall("content")] == [content, b"\r\n--"]


@pytest.mark.parametrize(
    ("head", "name", "filename"),
    [
        (b"content-disposition:form-data;name=content;filename=a.zip", "content", "a.zip"),
        (b'X: y\r\nContent-Disposition: Form-Data;\r\n NAME="content"', "content", None),
        (b'Content-Disposition: form-data; name="a\\"b"; filename=""', 'a"b', ""),
        (b'Content-Disposition: form-data; name="c"; filename="..\\x.zip"', "c", "..\\x.zip"),
        (b'Content-Disposition: form-data; name="; filename="', "; filename=", None),
        (b'Content-Disposition: form-data; name="c"; filename="\xff"', "c", "\ufffd"),
    ],
)
def test_the_names_of_a_part(head: bytes, name: str, filename: str | None) -> None:
    ((found, (item,)),) = read(form(head + b"\r\n\r\nvalue"), TYPE).dict.items()
    assert (found, getattr(item, "raw_filename", None)) == (name, filename)


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (form(), "multipart/form-data", "no boundary"),
        (form(), "multipart/form-data; boundary=", "no boundary"),
        (form(), "multipart/mixed; boundary=b", "no boundary"),
        (form(), "multipart/form-data; boundary=other", "ends before"),
        (io.BytesIO(), TYPE, "ends before"),
        (form(HEAD + b"\r\nx", end=b""), TYPE, "ends before"),
        (form(HEAD + b"\r\nx", end=b"--b"), TYPE, "end of its headers"),
        (form(HEAD + b"\r\nx", end=b"--bc--\r\n"), TYPE, "end of its headers"),
        (form(HEAD), TYPE, "ends before"),
        (form(b"\r\nx"), TYPE, "without a name"),
        (form(b"Content-Disposition: form-data\r\n\r\nx"), TYPE, "without a name"),
        # The disposition type must be this one (RFC 7578, 4.2).
        (form(HEAD.replace(b"form-data", b"attachment") + b"\r\nx"), TYPE, "without a name"),
        (form(HEAD.replace(b"form-data;", b"form-data-x;") + b"\r\nx"), TYPE, "without a name"),
        (form(b'Content-Disposition: name="content"\r\n\r\nx'), TYPE, "without a name"),
        (form(b"X: " + b"y" * 9000 + b"\r\n" + HEAD + b"\r\nx"), TYPE, "end of its headers"),
        (form(*[b'Content-Disposition: form-data; name="x"\r\n\r\n'] * 10_001), TYPE, "more than 10000 parts"),
        (form(b'Content-Disposition: form-data; name="x"\r\n\r\n' + bytes(9 * 2**20)), TYPE, "beside its files"),
        (form(*[HEAD.replace(b"content", b"x" * 8000) + b"\r\n"] * 1_050), TYPE, "beside its files"),
        (
            form(b'Content-Disposition: form-data; name="summary"\r\n\r\n' + bytes(101)),
            TYPE,
            "summary has more than 100",
        ),
    ],
)
def test_what_is_no_form_is_refused(body: io.BytesIO, content_type: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        read(body, content_type)


def test_only_the_fields_that_are_read_are_kept_each_once() -> None:
    fields = (("x", "1"), (":action", "2"), (":action", "3"))
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields]
    assert read(form(*parts), TYPE).dict == {":action": ["3"]}


def test_a_form_that_waits_for_its_client_keeps_no_other_waiting() -> None:
    slow, found = threading.Event(), []
    head, rest = form(HEAD + b"\r\nx").getvalue()[:50], form(HEAD + b"\r\nx").getvalue()[50:]

    def body() -> Iterator[bytes]:
        yield head
        assert slow.wait(PATIENCE)
        yield rest

    blocks = body()
    thread = threading.Thread(
        target=lambda: found.append(forms.read(lambda: next(blocks, b""), TYPE, LONGEST, lambda *_: io.BytesIO()))
    )
    thread.start()
    assert "content" in read(form(HEAD + b"\r\nx"), TYPE)
    slow.set()
    thread.join()
    assert "content" in found[0]


@pytest.mark.parametrize("action", ["file_upload", "doc_upload"])
def test_no_upload_is_held_in_memory(serve: Serve, action: str) -> None:
    server = serve()
    size = 120_000_000
    answer = upload(server.url, "a-1.0.zip", bytes(size), None, **{":action": action})
    assert answer.status_code == (200 if action == "file_upload" else 400)
    assert peak(server) < size


def peak(server: Server) -> int:
    """The most memory that the worker has had, in bytes."""
    (worker,) = vitals.workers(server.process)
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
