"""Registries that have a page for each project, and none of all projects: CodeArtifact, Gitea."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from copying import PUBLISHER, File, Index, copy, counted, wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from gateway_programs import Registry


class Listless(Index):
    """One of these, which takes uploads at its root."""

    refusal = 0
    """The status of all answers but those to uploads."""
    takes_uploads = True

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "POST" and handler.path == "/" and self.takes_uploads:
            body = handler.rfile.read(int(handler.headers["Content-Length"]))
            boundary = handler.headers["Content-Type"].partition("boundary=")[2].encode()
            head, _, content = body.partition(b"application/octet-stream\r\n\r\n")
            (name,) = re.findall(rb'filename="([^"]+)"', head)
            there = name.decode() in self.files
            if not there:
                self.files[name.decode()] = File(content.removesuffix(b"\r\n--" + boundary + b"--\r\n"))
            self.send(handler, 409 if there else 200, b"")
        elif handler.command == "POST":
            handler.rfile.read(int(handler.headers["Content-Length"]))
            self.send(handler, 404, b"")
        elif self.refusal:
            self.send(handler, self.refusal, b"")
        elif handler.path == "/simple/":
            self.requests.append((handler.path, "", ""))
            self.send(handler, 404, b"")
        else:
            super().answer(handler)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, File]:
    """Return a wheel of each of two projects."""
    made = (wheel(tmp_path / "made", name, "1.0") for name in ("acme_one", "acme_two"))
    return {name: File(content) for name, content in made}


@pytest.fixture
def source(files: dict[str, File]) -> Iterator[Index]:
    with Index(files) as running:
        yield running


def test_as_a_target(tmp_path: Path, source: Index) -> None:
    with Listless({}) as target:
        dry = copy(tmp_path, f"{source.url}/simple/", f"{target.url}/", "--dry-run")
        first = copy(tmp_path, f"{source.url}/simple/", f"{target.url}/")
        again = copy(tmp_path, f"{source.url}/simple/", f"{target.url}/")
        name, file = next(iter(source.files.items()))
        target.files[name].content += b"changed"
        changed = copy(tmp_path, f"{source.url}/simple/", f"{target.url}/")
        assert target.files.keys() == source.files.keys()
    assert dry.status == 0, dry.said
    # The address may be wrong as well: a person can tell.
    said = f"copy: {target.url}/simple/ has no page of all projects and none of acme-one (404): a registry may have nei"
    assert said in dry.said
    assert (first.status, first.table) == (0, counted(copied=2)), first.said
    assert said in first.said
    assert (again.status, again.table) == (0, counted(there=2)), again.said
    assert "has no page" not in again.said
    assert (changed.status, changed.table) == (1, counted(there=1, different=1)), changed.said
    assert hashlib.sha256(file.content).digest() != hashlib.sha256(target.files[name].content).digest()


def test_a_target_that_takes_no_uploads_is_tried_once(tmp_path: Path, source: Index) -> None:
    with Listless({}) as target:
        target.takes_uploads = False
        done = copy(tmp_path, f"{source.url}/simple/", f"{target.url}/", "--jobs", "1")
    assert (done.status, done.table) == (1, counted(failed=2)), done.said
    assert f"404 Not Found: nothing takes uploads at {target.url}/, or not from this user" in done.said
    assert "not tried, after another was answered: 404 Not Found" in done.said


@pytest.mark.parametrize(
    ("status", "why"), [(401, "401 Unauthorized: the user or the password is wrong"), (403, "403")]
)
def test_a_target_that_refuses_its_pages_is_left_alone(tmp_path: Path, source: Index, status: int, why: str) -> None:
    class OfProjects(Listless):
        def answer(self, handler: BaseHTTPRequestHandler) -> None:
            self.refusal = 0 if handler.path == "/simple/" else status
            super().answer(handler)

    with OfProjects({}) as target:
        done = copy(tmp_path, f"{source.url}/simple/", f"{target.url}/")
    assert done.status == 2
    assert f"argument TARGET: '{target.url}/' has an index that cannot be read: {why}" in done.said
    assert target.files == {}


def test_as_a_source(tmp_path: Path, files: dict[str, File], target: Registry) -> None:
    with Listless(files) as source:
        address = f"{source.url}/simple/"
        for patterns in ((), ("--only", "acme-*"), ("--only", "acme-*", "--only", "acme-two")):
            refused = copy(tmp_path, address, target.gateway.url, *patterns, environment=PUBLISHER)
            assert refused.status == 2, refused.said
            said = f"argument SOURCE: '{address}' has no page of all projects (404): name each by --only NAME, or give"
            assert said in refused.said
        source.requests.clear()
        names = ("--only", "acme-one", "--only", "Acme.Two", "--only", "missing")
        named = copy(tmp_path, address, target.gateway.url, *names, environment=PUBLISHER)
        assert "/simple/" not in {path for path, *_ in source.requests}
        wanted = [f"{each.replace('_', '-')}==1.0" for each in ("acme_one", "acme_two")]
        hashes = [hashlib.sha256(each.content).hexdigest() for each in files.values()]
        lines = (f"{name} --hash=sha256:{digest}\n" for name, digest in zip(wanted, hashes, strict=True))
        (tmp_path / "requirements.txt").write_text("".join(lines))
        locked = copy(tmp_path, "requirements.txt", target.gateway.url, "--index", address, environment=PUBLISHER)
    assert (named.status, named.table) == (1, counted(copied=2, failed=1)), named.said
    assert "failed: missing: the source has no such project" in named.said
    assert (locked.status, locked.table) == (0, counted(there=2)), locked.said
