"""The audit trail: who did what, from where and by which right, on standard output and on the volume."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from gateway_programs import make_wheel, multipart, registry
from losses import no_loss
from programs import Server, wait_for
from server.audit.chain import DIRECTORY
from server.audit.verify import problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response

    from gateway_programs import Registry

PUBLISHER = ("publisher", "publisher-password")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
READER = ("reader", "reader-password")


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path, environment={"AUDIT": "volume", "ALLOW_REMOVAL": "yes"}) as started:
        yield started


def logged(server: Server, **wanted: object) -> list[dict[str, Any]]:
    """The lines of the trail on standard output that have these values."""
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith('{"audit"')]
    return [line for line in lines if wanted.items() <= line.items()]


def kept(server: Server) -> list[dict[str, Any]]:
    """The lines of the trail on the volume, without those that begin its files."""
    files = sorted((server.packages / DIRECTORY).glob("*.jsonl"))
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return [line for line in lines if line["audit"] != "start"]


def publish(started: Registry, wheel: Path, who: tuple[str, str] = PUBLISHER) -> Response:
    body, kind = multipart(wheel)
    return started.gateway.request("POST", "/", *who, data=body, headers={"Content-Type": kind})


def act(started: Registry, action: str, who: tuple[str, str] = PUBLISHER, **fields: str) -> Response:
    form = {":action": action, "name": "demo", "version": "1.0", **fields}
    return started.gateway.request("POST", "/", *who, data=urlencode(form).encode(), headers=FORM)


def test_what_was_done(audited: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "demo", "1.0")
    sha256, size = hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.stat().st_size
    assert publish(audited, wheel).ok
    assert act(audited, "yank", reason="too early").ok
    assert act(audited, "unyank").ok
    assert act(audited, "remove_pkg").ok
    done = logged(audited.server, outcome="done")
    assert [line["audit"] for line in done] == ["publish", "yank", "unyank", "remove"]
    assert [line["audit"] for line in logged(audited.server, outcome="begun")] == [line["audit"] for line in done]
    for line in done:
        assert line["user"] == "publisher"
        assert line["right"] == "publishers"
        assert line["address"] == "127.0.0.1"
        assert audited.gateway.logged(request_id=line["request"])["status"] == 200
    published, yanked, back, removed = done
    for line in (published, removed):
        assert (line["file"], line["sha256"], line["size"]) == (wheel.name, sha256, size)
    assert (yanked["project"], yanked["version"], yanked["reason"]) == ("demo", "1.0", "too early")
    assert (back["project"], back["version"]) == ("demo", "1.0")
    assert problems(audited.server.packages / DIRECTORY) == []
    assert [line.pop("previous") for line in kept(audited.server)]
    assert [line["request"] for line in kept(audited.server) if line["outcome"] == "done"] == [
        line["request"] for line in done
    ]


def test_what_was_refused(audited: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "demo", "1.0")
    assert publish(audited, wheel).ok
    assert publish(audited, make_wheel(tmp_path, "demo", "1.0", b"another")).status_code == 409
    (line,) = logged(audited.server, audit="publish", outcome="refused")
    assert (line["status"], line["user"], line["file"]) == (409, "publisher", wheel.name)
    assert "already exists" in line["reason"]
    assert act(audited, "remove_pkg", version="9").status_code == 404
    (line,) = logged(audited.server, audit="remove", outcome="refused")
    assert (line["status"], line["project"], line["version"]) == (404, "demo", "9")
    assert act(audited, "no-such").status_code == 400
    assert logged(audited.server, audit="form", outcome="refused")


def test_who_was_refused_and_no_password(audited: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "demo", "1.0")
    assert publish(audited, wheel, READER).status_code == 403
    assert publish(audited, wheel, ("publisher", "a-wrong-password")).status_code == 401
    # Somebody has swapped the two prompts.
    assert publish(audited, wheel, ("publisher-password", "publisher")).status_code == 401
    wait_for(lambda: len(logged(audited.server, audit="login")) == 3, "the lines")
    reader, *wrong = logged(audited.server, audit="login", outcome="refused", asked_for="publisher")
    assert (reader["status"], reader["user"], reader["address"]) == (403, "reader", "127.0.0.1")
    for line in wrong:
        assert (line["status"], line["address"]) == (401, "127.0.0.1")
        assert "user" not in line
    assert kept(audited.server) == []
    for password in (PUBLISHER[1], READER[1], "a-wrong-password"):
        assert password not in audited.server.log


def test_a_trail_that_cannot_be_kept_lets_nothing_happen(audited: Registry, tmp_path: Path) -> None:
    """A directory in its place stands for a volume that takes no more."""
    (audited.server.packages / ".pypiserver").mkdir(exist_ok=True)
    (audited.server.packages / DIRECTORY).write_text("in the way")
    wheel = make_wheel(tmp_path, "demo", "1.0")
    assert publish(audited, wheel).status_code == 503
    assert not (audited.server.packages / wheel.name).exists()
    assert not logged(audited.server, outcome="done")
    (audited.server.packages / DIRECTORY).unlink()
    assert publish(audited, wheel).ok


def test_without_it_nothing_is_written(tmp_path: Path) -> None:
    with registry(tmp_path) as started:
        assert publish(started, make_wheel(tmp_path, "demo", "1.0")).ok
        assert publish(started, make_wheel(tmp_path, "demo", "1.0", b"other")).status_code == 409
        assert not logged(started.server)
        assert not (started.server.packages / DIRECTORY).exists()


def test_a_server_that_is_killed_leaves_a_line_for_each_file(audited: Registry, tmp_path: Path) -> None:
    """Whatever the moment: what is there was begun, and what was acknowledged was done."""
    acknowledged = set()
    for number in range(20):
        wheel = make_wheel(tmp_path, f"demo{number}", "1.0", bytes(200_000))
        if number % 4 == 3:
            audited.server.kill()
            audited.server.start()
        if publish(audited, wheel).ok:
            acknowledged.add(wheel.name)
    lines = kept(audited.server)
    there = {path.name for path in audited.server.packages.glob("*.whl")}
    no_loss(acknowledged <= there, acknowledged - there)
    begun = {line["file"] for line in lines if line["outcome"] == "begun"}
    no_loss(there <= begun, there - begun)
    done = [line["file"] for line in lines if line["outcome"] == "done"]
    no_loss(acknowledged <= set(done), acknowledged - set(done))
    assert len(done) == len(set(done))
    assert problems(audited.server.packages / DIRECTORY) == []


def test_the_digest_of_a_file_that_somebody_else_has_put_there(audited: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "demo", "1.0")
    (audited.server.packages / wheel.name).write_bytes(wheel.read_bytes())
    wait_for(lambda: act(audited, "remove_pkg").ok, "the file to be listed")
    (line,) = logged(audited.server, audit="remove", outcome="done")
    assert line["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
