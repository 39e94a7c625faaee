"""The form of an upload (RFC 7578), read with bounds while it comes: the bytes of a file go where they are to be kept.

bottle reads forms with `cgi`, which fails on what is malformed, copies each file, and holds as many fields of any size
as are sent.
"""

from __future__ import annotations

import itertools
import re
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from server.http.bottle import FileUpload, FormsDict
from server.http.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MOST_PARTS = 10_000
"""The largest releases on PyPI have some thousand lines of metadata, a part each."""
LONGEST_HEAD = 8192
"""How many bytes of headers a part may have."""
LONGEST_FIELDS = 8 * 2**20
"""How many bytes the headers of all parts and all parts that are no files may have together; a description has some
hundred thousand at most."""
MOST_PARAMETERS = 16
"""How many parameters of a header are looked at for the name of a part and of a file."""
_BOUNDARY = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([ -~]{1,200})"|([!-~]{1,200}))', re.IGNORECASE)
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s;"]*))', re.DOTALL)
_reading = threading.Lock()
"""Held while a form is read, but not while more of it is awaited: many that are slow to read would otherwise each get
as much of the interpreter as a request of somebody else."""
_P = ParamSpec("_P")
_T = TypeVar("_T")


class File(Protocol):
    """Where the bytes of a file go."""

    def write(self, block: bytes, /) -> object:
        """Take the next bytes."""


def read(
    body: Callable[[], bytes],
    content_type: str,
    longest: Mapping[str, int],
    receive: Callable[[str, str, Any], File | None],
) -> Any:  # noqa: ANN401 - bottle has no types
    """Read a form; its fields are text, its files what `receive` has returned.

    Args:
        body: Returns the next bytes of the form, none at its end.
        content_type: Names the boundary.
        longest: The fields that are kept, of several of one name the last, and how many bytes each may have. The others
            are passed over: nobody reads them.
        receive: Is told the name of a part, the name of its file and the form up to there; None passes over the file.

    Raises:
        RefusedError: It is no form, not all of one, or beyond the bounds.
    """
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise RefusedError("The form has no boundary")
    boundary = (match[1] or match[2]).encode("latin-1")  # as WSGI hands over headers
    with _reading:
        return _read(_parts(_aside(body), boundary), longest, _aside(receive))


def _read(
    parts: Iterator[tuple[bytes, Iterator[bytes]]],
    longest: Mapping[str, int],
    receive: Callable[[str, str, Any], File | None],
) -> Any:  # noqa: ANN401 - as above
    form = FormsDict()
    form.recode_unicode = False
    left = LONGEST_FIELDS
    for number, (head, blocks) in enumerate(parts):
        if number == MOST_PARTS:
            raise RefusedError(f"The form has more than {MOST_PARTS} parts")
        left = _less(left, head)
        name, filename = _disposition(head)
        if filename is not None:
            file = receive(name, filename, form)
            write = _aside(file.write) if file else len
            for block in blocks:
                write(block)
            if file:
                form[name] = FileUpload(file, name, filename)
            continue
        most = longest.get(name, 0)
        value = bytearray()
        for block in blocks:
            left = _less(left, block)
            value += block[: most + 1 - len(value)]
        if len(value) > most and name in longest:
            raise RefusedError(f"The field {name} has more than {most} bytes")
        if name in longest:
            form.replace(name, value.decode("utf-8", "replace"))
    return form


def _aside(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """A call for which no other form has to wait: it waits for a client or for the volume."""

    def called(*arguments: _P.args, **named: _P.kwargs) -> _T:
        _reading.release()
        try:
            return call(*arguments, **named)
        finally:
            _reading.acquire()

    return called


def _less(left: int, block: bytes) -> int:
    if len(block) > left:
        raise RefusedError(f"The form has more than {LONGEST_FIELDS} bytes beside its files")
    return left - len(block)


def _parts(body: Callable[[], bytes], boundary: bytes) -> Iterator[tuple[bytes, Iterator[bytes]]]:
    """The headers of each part and its content, which has to be read before the next part."""
    stream = _Stream(body)
    delimiter = b"\r\n--" + boundary
    opening = stream.peek(len(delimiter) - 2)
    if opening == delimiter[2:]:
        stream.skip(len(opening))
    else:
        for _ in stream.until(delimiter):
            pass
    while True:
        if stream.peek(2) == b"--":
            return
        line = stream.peek(LONGEST_HEAD + 4, b"\r\n\r\n")
        # Spaces may follow a boundary; the empty line that ends the headers may follow it at once.
        begun = len(line) - len(line.lstrip(b" \t"))
        ended = line.find(b"\r\n\r\n", begun)
        if not line.startswith(b"\r\n", begun) or ended < 0:
            raise RefusedError("The form has a part without an end of its headers")
        stream.skip(ended + 4)
        yield line[begun:ended], stream.until(delimiter)


def _disposition(head: bytes) -> tuple[str, str | None]:
    """The name of a part and, if it is a file, that file's name."""
    text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace"))
    for line in text.split("\r\n"):
        key, _, value = line.partition(":")
        kind = value.partition(";")[0].strip().lower()
        if (key.strip().lower(), kind) == ("content-disposition", "form-data"):
            found = itertools.islice(_PARAMETER.finditer(value), MOST_PARAMETERS)
            parameters = {each[1].lower(): _unquoted(each) for each in found}
            if "name" in parameters:
                return parameters["name"], parameters.get("filename")
    raise RefusedError("The form has a part without a name")


def _unquoted(parameter: re.Match[str]) -> str:
    return parameter[3] if parameter[2] is None else parameter[2].replace("\\\\", "\\").replace('\\"', '"')


class _Stream:
    """Bytes that come one block after the other, of which no more than a block and what was peeked at is held."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._block = b""
        self._at = 0

    def peek(self, size: int, end: bytes | None = None) -> bytes:
        """The next bytes without going on: fewer at the end of the stream, or after `end`."""
        while len(self._block) - self._at < size and not (end and end in self._block[self._at :]) and self._more():
            pass
        return self._block[self._at : self._at + size]

    def skip(self, size: int) -> None:
        """Go on by bytes that were peeked at."""
        self._at += size

    def until(self, wanted: bytes) -> Iterator[bytes]:
        """The bytes up to the next `wanted`, after which the stream goes on.

        Raises:
            RefusedError: There is none.
        """
        while (found := self._block.find(wanted, self._at)) < 0:
            # It may begin at the end of this block.
            following = len(self._block) - len(wanted) + 1
            if following > self._at:
                yield self._block[self._at : following]
                self._at = following
            if not self._more():
                raise RefusedError("The form ends before its last boundary")
        yield self._block[self._at : found]
        self._at = found + len(wanted)

    def _more(self) -> bool:
        block = self._read()
        self._block, self._at = self._block[self._at :] + block, 0
        return bool(block)
