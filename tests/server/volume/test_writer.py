"""Two writers of a bucket: the one that came first publishes nothing any more, whatever became of its node."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import requests
import webtest

from gateway_programs import make_wheel, multipart, read_answer
from programs import PATIENCE, Server, upload, wait_for
from server.pod import application, start
from server.publish.direct import Direct
from server.volume import lock
from server.volume.writer import FILE, TakenOverError, Writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.pod.settings import Settings

    Serve = Callable[..., Server]

PUBLISHER = ("publisher", "publisher-password")
BUCKET = {"PUBLISH_METHOD": "direct", "RESCAN_SECONDS": "0.1", "POLL_SECONDS": "0.1", "READERS": "yes"}
TAKEN_OVER = "Another pod has taken the place of this writer; delete this one if it stays"


@pytest.fixture
def first(serve: Serve) -> Server:
    return serve("first", **BUCKET)


def successor_of(first: Server, serve: Serve) -> Server:
    """The pod that takes the place of one on a node that is lost."""
    # The lock of a node that is away keeps nobody out, as on a mount that knows none.
    (first.packages / lock.FILE).unlink()
    return serve("second", PACKAGES_DIRECTORY=str(first.packages), **BUCKET)


def is_ready(server: Server) -> bool:
    return requests.get(f"{server.url}/-/ready", timeout=PATIENCE).ok


def writes(server: Server) -> bool:
    return "pypiserver_writes 1\n" in requests.get(f"{server.url}/-/metrics", timeout=PATIENCE).text


def test_the_earlier_of_two_acknowledges_nothing(first: Server, serve: Serve) -> None:
    assert upload(first.url, "a-1.0.tar.gz", user=PUBLISHER).ok
    assert writes(first)
    second = successor_of(first, serve)
    assert "waiting 1.1 s for what an earlier writer has left" in second.log
    yank = {":action": "yank", "name": "a", "version": "1.0"}
    answers = [
        upload(first.url, "b-1.0.tar.gz", user=PUBLISHER),
        requests.post(f"{first.url}/", data=yank, auth=PUBLISHER, timeout=PATIENCE),
    ]
    assert [(answer.status_code, answer.reason) for answer in answers] == [(503, TAKEN_OVER)] * 2
    assert not list(first.packages.glob("b*"))
    assert not list(first.packages.rglob("*yanked/*"))
    wait_for(lambda: not is_ready(first), "the earlier one to be not ready")
    assert not writes(first)
    # What it has is read as before.
    assert requests.get(f"{first.url}/simple/a/", timeout=PATIENCE).ok
    assert upload(second.url, "b-1.0.tar.gz", b"second", user=PUBLISHER).ok
    assert upload(second.url, "a-1.0.tar.gz", user=PUBLISHER).status_code == 409
    assert is_ready(second)
    assert writes(second)


def test_an_upload_that_was_on_its_way_is_not_acknowledged(first: Server, serve: Serve, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "half", "1.0", b"x" * 1_000_000)
    body, content_type = multipart(wheel)
    with socket.create_connection(("127.0.0.1", first.port), PATIENCE) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:500_000])
        second = successor_of(first, serve)
        connection.sendall(body[500_000:])
        assert read_answer(connection)[0] == 503
    assert not (first.packages / wheel.name).exists()
    assert upload(second.url, wheel.name, wheel.read_bytes(), user=PUBLISHER).ok


@pytest.mark.usefixtures("quiet")
def test_who_is_replaced_while_a_file_is_written_does_not_acknowledge_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = settings.__class__(**{**vars(settings), "publish_method": "direct"})
    record = settings.packages_directory / FILE
    writer = start.writer(bucket)
    assert writer
    writer.take()
    app = webtest.TestApp(application.create(bucket))
    publish = Direct.publish

    def replaced(*arguments: object) -> object:
        stamp = publish(*arguments)  # type: ignore[arg-type]
        record.write_text("another\n")
        return stamp

    monkeypatch.setattr(Direct, "publish", replaced)
    files = [("content", "demo-1.0.tar.gz", b"content")]
    answer = app.post("/", {":action": "file_upload"}, upload_files=files, status=503)
    assert TAKEN_OVER in answer.text


def test_a_container_that_starts_anew_is_still_the_writer(first: Server) -> None:
    record = (first.packages / FILE).read_bytes()
    first.kill()
    first.start()
    assert (first.packages / FILE).read_bytes() == record
    assert "waiting" not in first.log
    assert upload(first.url, "a-1.0.tar.gz", user=PUBLISHER).ok


def test_the_earlier_one_does_not_come_back(first: Server, serve: Serve) -> None:
    second = successor_of(first, serve)
    first.kill()
    (first.packages / lock.FILE).unlink()
    assert first.launch().wait(PATIENCE) == 1
    assert f"pypiserver cannot start: {TAKEN_OVER}" in first.log
    assert upload(second.url, "a-1.0.tar.gz", user=PUBLISHER).ok


def test_of_two_that_come_at_once_one_remains(tmp_path: Path) -> None:
    first, second = (Writer(tmp_path, tmp_path / name, settle_seconds=0) for name in ("one", "two"))
    (tmp_path / ".pypiserver").mkdir()
    (tmp_path / FILE).write_text("earlier\n")
    second.take()
    second.verify()
    first.take()
    with pytest.raises(TakenOverError):
        second.verify()
    first.verify()


@pytest.mark.parametrize("broken", ["gone", "a directory"])
def test_a_record_that_says_nothing_keeps_changes_out_and_nothing_else(first: Server, broken: str) -> None:
    assert upload(first.url, "a-1.0.tar.gz", user=PUBLISHER).ok
    (first.packages / FILE).unlink()
    if broken != "gone":
        (first.packages / FILE).mkdir()
    assert upload(first.url, "b-1.0.tar.gz", user=PUBLISHER).status_code == 503
    wait_for(lambda: not writes(first), "the metric")
    assert is_ready(first)
    first.stop()
    first.start()
    assert requests.get(f"{first.url}/simple/a/", timeout=PATIENCE).ok
    assert upload(first.url, "b-1.0.tar.gz", user=PUBLISHER).ok is (broken == "gone")


@pytest.mark.parametrize("environment", [{"PUBLISH_METHOD": "link"}, {"PUBLISH_METHOD": "link", "WRITERS": "many"}])
def test_where_files_are_linked_there_is_no_record(serve: Serve, environment: dict[str, str]) -> None:
    server = serve(**environment)
    assert upload(server.url, "a-1.0.tar.gz", user=PUBLISHER).ok
    assert not (server.packages / FILE).exists()
    assert writes(server)
