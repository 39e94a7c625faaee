"""The form of an upload (RFC 7578), read with bounds: a file of it stays in the body, uncopied, whatever its size.

bottle reads forms with `cgi`, which fails on what is malformed, copies each file, and holds as many fields of any size
as are sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

from digests import CHUNK
from errors import RefusedError
from upstream import FileUpload, FormsDict

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_PARTS = 10_000
"""The largest releases on PyPI have some thousand lines of metadata, a part each."""
LONGEST_HEAD = 8192
"""How many bytes of headers a part may have."""
LONGEST_FIELDS = 8 * 2**20
"""How many bytes all parts that are no files may have together; a description has some hundred thousand at most."""
_BOUNDARY = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([ -~]{1,200})"|([!-~]{1,200}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))', re.DOTALL)


class Window:
    """The part of a body that is one file, to be read from its start to its end."""

    def __init__(self, body: BinaryIO, start: int, end: int) -> None:
        """Show `body` from `start` up to `end`."""
        self._body = body
        self._at = start
        self._end = end

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        left = self._end - self._at
        # Other windows move the body's own place.
        self._body.seek(self._at)
        chunk = self._body.read(left if size < 0 else min(size, left))
        self._at += len(chunk)
        return chunk


def read(body: BinaryIO, content_type: str) -> Any:  # noqa: ANN401 - bottle has no types
    """Read a form; its fields are text, its files have a Window of `body`.

    Raises:
        OSError: The body, which may be a file, cannot be read.
        RefusedError: It is no form, not all of one, or beyond the bounds.
    """
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise RefusedError("The form has no boundary")
    # WSGI hands over headers as latin-1.
    form = FormsDict()
    form.recode_unicode = False
    left = LONGEST_FIELDS
    for number, (head, start, end) in enumerate(_parts(body, (match[1] or match[2]).encode("latin-1"))):
        if number == MOST_PARTS:
            raise RefusedError(f"The form has more than {MOST_PARTS} parts")
        name, filename = _disposition(head)
        if filename is not None:
            form[name] = FileUpload(Window(body, start, end), name, filename)
            continue
        left -= end - start
        if left < 0:
            raise RefusedError(f"The form has more than {LONGEST_FIELDS} bytes beside its files")
        form[name] = Window(body, start, end).read().decode("utf-8", "replace")
    return form


def _parts(body: BinaryIO, boundary: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The headers of each part, and where its content starts and ends."""
    search = _Search(body)
    delimiter = b"\r\n--" + boundary
    opening = search.bytes_at(0, len(delimiter) - 2)
    at = len(opening) if opening == delimiter[2:] else search.after(delimiter, 0)
    while True:
        line = search.bytes_at(at, LONGEST_HEAD + 4)
        if line.startswith(b"--"):
            return
        # Spaces may follow a boundary; the empty line that ends the headers may follow it at once.
        begun = len(line) - len(line.lstrip(b" \t"))
        ended = line.find(b"\r\n\r\n", begun)
        if not line.startswith(b"\r\n", begun) or ended < 0:
            raise RefusedError("The form has a part without an end of its headers")
        start = at + ended + 4
        at = search.after(delimiter, start)
        yield line[begun:ended], start, at - len(delimiter)


def _disposition(head: bytes) -> tuple[str, str | None]:
    """The name of a part and, if it is a file, that file's name."""
    text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace"))
    for line in text.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == "content-disposition" and value.strip().lower().startswith("form-data"):
            parameters = {each[1].lower(): _unquoted(each) for each in _PARAMETER.finditer(value)}
            if "name" in parameters:
                return parameters["name"], parameters.get("filename")
    raise RefusedError("The form has a part without a name")


def _unquoted(parameter: re.Match[str]) -> str:
    return parameter[3] if parameter[2] is None else parameter[2].replace("\\\\", "\\").replace('\\"', '"')


class _Search:
    """Finds bytes in a body without holding more than a chunk of it, nor reading that again for each small part."""

    def __init__(self, body: BinaryIO) -> None:
        self._body = body
        self._at = 0
        self._chunk = b""

    def bytes_at(self, place: int, size: int) -> bytes:
        """The bytes at a place; fewer at the end."""
        self._move(place, size)
        return self._chunk[place - self._at : place - self._at + size]

    def after(self, wanted: bytes, place: int) -> int:
        """Where the next `wanted` from `place` on ends.

        Raises:
            RefusedError: There is none.
        """
        while True:
            self._move(place, len(wanted))
            found = self._chunk.find(wanted, place - self._at)
            if found >= 0:
                return self._at + found + len(wanted)
            # It may begin at the end of this chunk.
            following = self._at + len(self._chunk) - len(wanted) + 1
            if following <= place:
                raise RefusedError("The form ends before its last boundary")
            place = following

    def _move(self, place: int, size: int) -> None:
        if not self._at <= place <= place + size <= self._at + len(self._chunk):
            self._body.seek(place)
            self._at, self._chunk = place, self._body.read(CHUNK)
