"""Forms of uploads as no honest client sends them: strategies over fields, parts, file names and boundaries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from hostile_archives import contents

if TYPE_CHECKING:
    from collections.abc import Iterable

ACTIONS = (
    "file_upload",
    "remove_pkg",
    "yank",
    "unyank",
    "doc_upload",
    "submit",
    "verify",
    "",
    "\u2603",
    "a\r\nb",
    "x" * 300,
)
PROJECTS = ("fuzzed", "Fuzzed", "fuz_zed", "fuz.zed", "f", "0", "-", "", "a+b", "!", "_x", "con", "x" * 200, "x" * 260)
VERSIONS = (
    "1.0",
    "1",
    "1.0.0",
    "1!1.0",
    "1.0+local",
    "1.0rc1",
    "v1",
    "",
    "0",
    "1.0-1",
    "9" * 100,
    "1.0.dev0",
    "banana",
    "1..0",
)
SUFFIXES = (
    "-py3-none-any.whl",
    "-1build-py3-none-any.whl",
    ".tar.gz",
    ".zip",
    ".TGZ",
    ".tar.bz2",
    ".tar.xz",
    ".egg",
    "-py3.8-x.rpm",
    ".win32-py3.8.exe",
    ".whl",
    ".whl.metadata",
    ".asc",
    ".zip.asc",
    ".html",
    "",
)
ODD_NAMES = (
    "../fuzzed-1.0.zip",
    "/tmp/fuzzed-1.0.zip",  # noqa: S108 - a name that must not be written to
    "..\\fuzzed-1.0.zip",
    ".fuzzed-1.0.zip",
    ".pypiserver/initial-password",
    ".pypiserver/unfinished/fuzzed-1.0.zip",
    "fuzzed-1.0.zip\0.whl",
    "fuzzed-1.0.zip\n",
    "fuzzed-1.0.zip\r\nX: y",
    "fuzzed-1.0.zip ",
    "fuzzed\u202e-1.0.zip",
    "fuzz\u00e9d-1.0.zip",
    "\uff0e\uff0e/fuzzed-1.0.zip",
    "fuzzed-1.0.zip;x=y",
    'fuzzed"-1.0.zip',
    "%2e%2e%2ffuzzed-1.0.zip",
    "{{fuzzed}}-1.0.zip",
    "<b>-1.0.zip",
    "~-1.0.zip",
    "con-1.0.zip",
    "-rf-1.0.zip",
    "$(id)-1.0.zip",
    "fuzzed-1.0-py3-none-any.whl/",
)
FIELDS = (
    "name",
    "version",
    "reason",
    "sha256_digest",
    "md5_digest",
    "blake2_256_digest",
    "metadata_version",
    "filetype",
    "pyversion",
    "description",
    "requires_python",
    "protocol_version",
    ":action",
    "",
    "content",
    "\u2603",
)
BOUNDARIES = ("b", "-" * 40, "0" * 70, "a b", "'()+_,-./:=?", "x" * 200, "", '"', "\u2603", "b\r\nb")
CONTENT_TYPES = (
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b"application/x-www-form-urlencoded",
    b"text/plain",
    b"\xff",
    b"",
)
DISPOSITIONS = ("form-data", "form-data", "form-data", "form-data", "attachment", "file", "", "form-data; x=\x00")

NUMBER = "0000000000"
"""The version in the names of files that can be published."""


@dataclass(frozen=True)
class Form:
    """One form, and the files that an honest reader finds in it."""

    body: bytes
    content_type: bytes
    files: tuple[tuple[str, bytes], ...]

    def numbered(self, number: int) -> Form:
        """This form with a number of its own in the names that can be published."""
        files = tuple((name.replace(NUMBER, str(number)), content) for name, content in self.files)
        return Form(self.body.replace(NUMBER.encode(), str(number).encode()), self.content_type, files)


def sound_filenames() -> st.SearchStrategy[str]:
    """The name of a file that can be published."""
    return st.sampled_from(SUFFIXES[:4]).map(lambda suffix: f"fuzzed-{NUMBER}{suffix}")


@st.composite
def filenames(draw: st.DrawFn) -> str:
    """The name of a file."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(st.sampled_from(ODD_NAMES))
    if kind == 1:
        return draw(st.text(max_size=30))
    if kind <= 4:
        stem = "-".join((draw(st.sampled_from(PROJECTS)), draw(st.sampled_from(VERSIONS))))
        return stem + draw(st.sampled_from(SUFFIXES))
    return draw(sound_filenames())


def part(
    name: str, content: bytes, filename: str | None = None, disposition: str = "form-data", more: str = ""
) -> bytes:
    """One part of a form."""
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'Content-Disposition: {disposition}; name="{name}"{named}\r\n{more}\r\n'
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


MORE = (
    "",
    "",
    "",
    "Content-Type: application/octet-stream\r\n",
    "Content-Type: multipart/mixed; boundary=inner\r\n",
    "Content-Type: multipart/mixed\r\n",
    "Content-Type: multipart/form-data; boundary=\r\n",
    "Content-Type: application/x-www-form-urlencoded\r\n",
    "Content-Type: text/plain; charset=nonsense\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 99999999999\r\n",
    "Content-Length: x\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Disposition: form-data; name=twice\r\n",
    "X: " + "y" * 70_000 + "\r\n",
    "no colon\r\n",
    "\u2603: \u2603\r\n",
)


@st.composite
def fields(draw: st.DrawFn, filename: str, content: bytes) -> bytes:
    """A part that is not the file: a field that the server reads, right or wrong."""
    name = draw(st.sampled_from(FIELDS))
    right = {
        "sha256_digest": hashlib.sha256(content).hexdigest(),
        "md5_digest": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "name": filename.partition("-")[0],
        "version": "1.0",
    }
    value = draw(
        st.sampled_from(
            (right.get(name, "x"), right.get(name, "").upper(), "0" * 64, "", "\u2603", "\0", "x" * 2000, *ACTIONS)
        )
    )
    named = () if name == "content" else (filename, "")
    return part(name, value.encode(), draw(st.sampled_from((None, None, None, None, *named))))


@st.composite
def sound_forms(draw: st.DrawFn) -> Form:
    """A form as twine sends it; what is strange is in the file."""
    filename, content = draw(sound_filenames()), draw(contents())
    digest = hashlib.sha256(content).hexdigest().encode()
    parts = (part(":action", b"file_upload"), part("content", content, filename), part("sha256_digest", digest))
    return Form(_body(parts, b"b"), b"multipart/form-data; boundary=b", ((filename, content),))


@st.composite
def damaged(draw: st.DrawFn, body: bytes, content_type: bytes) -> tuple[bytes, bytes]:
    """A body and its type, seldom as they were."""
    damage = draw(st.integers(0, 24))
    if damage == 0:
        return body[: draw(st.integers(0, len(body)))], content_type
    if damage == 1:
        return body.replace(b"\r\n", b"\n"), content_type
    if damage == 2:
        return draw(st.binary(max_size=200)) + body, content_type
    if damage == 3:
        return body, draw(st.sampled_from((*CONTENT_TYPES, content_type.replace(b"form-data", b"mixed"))))
    if damage == 4:
        return body.replace(b"form-data", b"form\xff-data\0"), content_type
    return body, content_type


@st.composite
def odd_forms(draw: st.DrawFn) -> Form:
    """Any form; most hold the two parts that make an upload."""
    filename, content = draw(filenames()), draw(contents())
    files = [(filename, content)]
    parts: list[bytes] = []
    if draw(st.integers(0, 9)):
        action = "file_upload" if draw(st.integers(0, 4)) else draw(st.sampled_from(ACTIONS))
        parts.append(part(":action", action.encode()))
    if draw(st.integers(0, 14)):
        disposition = draw(st.sampled_from(DISPOSITIONS))
        parts.append(part("content", content, filename, disposition, draw(st.sampled_from(MORE))))
    parts += draw(st.lists(fields(filename, content), max_size=3))
    extra = draw(st.integers(0, 19))
    if extra == 0:
        files.append((f"{filename}.asc", b"signature"))
        parts.append(part("gpg_signature", b"signature", f"{filename}.asc"))
    elif extra == 1:
        files.append((draw(filenames()), draw(contents())))
        parts.append(part("content", files[1][1], files[1][0]))
    elif extra == 2:
        parts += [part(f"f{number}", b"x") for number in range(draw(st.sampled_from((100, 11_000))))]
    elif extra == 3:
        parts.append(part("description", b"x" * draw(st.sampled_from((1001, 300_000, 9_000_000)))))
    if not draw(st.integers(0, 4)):
        parts = draw(st.permutations(parts))
    boundary = b"b" if draw(st.integers(0, 4)) else draw(st.sampled_from(BOUNDARIES)).encode()
    body, content_type = _body(parts, boundary), b"multipart/form-data; boundary=" + boundary.replace(b"\r\n", b"")
    body, content_type = draw(damaged(body, content_type))
    return Form(body, content_type, tuple(files))


def forms() -> st.SearchStrategy[Form]:
    """Any form, about as many sound ones as odd ones."""
    return st.one_of(sound_forms(), odd_forms())


def _body(parts: Iterable[bytes], boundary: bytes) -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + each for each in parts) + b"--" + boundary + b"--\r\n"
