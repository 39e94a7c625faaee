from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from permissions import rule
from programs import PATIENCE, free_port, htpasswd_line
from server.access import credentials
from server.access.checks import FEW
from server.access.credentials import Credentials
from server.access.rights import LONGEST_PROJECT, Rights
from server.access.verdicts import LONGEST_PATH, READING, Verdicts
from server.audit.trail import Trail

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("password", "status"), [("right", 204), ("wrong", 401)])
def test_who_asks_for_many_projects_at_once_has_the_password_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, status: int
) -> None:
    (tmp_path / "readers").write_text(htpasswd_line("uma", "right"))
    checks = []
    real = Credentials.check

    def check(self: Credentials, given: bytes, digest: str) -> bool:
        checks.append(given)
        return real(self, given, digest)

    monkeypatch.setattr(Credentials, "check", check)
    verdicts = Verdicts(Credentials(tmp_path), Trail(None))
    header = f"Basic {base64.b64encode(f'uma:{password}'.encode()).decode()}"

    async def ask() -> set[int]:
        questions = (verdicts.verdict("reader", header, "192.0.2.1", by_project=True) for _ in range(50))
        return {verdict.status.value for verdict in await asyncio.gather(*questions)}

    assert asyncio.run(ask()) == {status}
    assert checks == [password.encode()]


@pytest.mark.parametrize("guesses", [0, FEW + 1])
def test_names_that_nobody_has_wait_as_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guesses: int) -> None:
    """Neither the time nor the status tells which users there are, however much a client has guessed before."""
    (tmp_path / "readers").write_text("".join(htpasswd_line(f"user-{number}", "right") for number in range(40)))

    async def answered_at_once(name: str) -> Counter[int]:
        go = threading.Event()
        monkeypatch.setattr(credentials, "verify", lambda *_: not go.wait(PATIENCE))
        verdicts = Verdicts(Credentials(tmp_path), Trail(None))
        for _ in range(guesses):
            verdicts._checks.count_wrong("192.0.2.1")
        headers = [base64.b64encode(f"{name}-{number}:guess".encode()).decode() for number in range(40)]
        tasks = [
            asyncio.create_task(verdicts.verdict("reader", f"Basic {each}", "192.0.2.1", by_project=False))
            for each in headers
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        found = Counter(task.result().status.value for task in tasks if task.done())
        go.set()
        await asyncio.gather(*tasks)
        return found

    assert asyncio.run(answered_at_once("nobody")) == asyncio.run(answered_at_once("user"))


@pytest.mark.parametrize(
    ("name", "longest", "grows_by"),
    [
        ("X-Project", "a" * LONGEST_PROJECT, "a"),
        ("X-Project", "demo".rjust(LONGEST_PROJECT, "-"), "-"),
        ("X-File", "demo-1.0.zip".rjust(LONGEST_PATH, "/"), "/"),
    ],
)
@pytest.mark.parametrize("rights", [Rights(), Rights({"groups": {}, "rules": [rule("*", read=["*"])]})])
def test_nothing_is_kept_of_what_is_too_long_to_be_there(
    tmp_path: Path, rights: Rights, name: str, longest: str, grows_by: str
) -> None:
    """The gateway keeps what allows something, by what was asked for, where there is room for so many short ones."""
    (tmp_path / "readers").write_text(htpasswd_line("uma", "right"))
    verdicts = Verdicts(Credentials(tmp_path), Trail(None), rights=rights)
    credentials = base64.b64encode(b"uma:right").decode()

    async def answer(value: str) -> bytes:
        head = f"GET {READING} HTTP/1.1\r\nAuthorization: Basic {credentials}\r\n{name}: {value}"
        return (await verdicts.answer(head.encode())).partition(b"\r\n")[0]

    assert asyncio.run(answer(longest)) == b"HTTP/1.1 204 No Content"
    assert asyncio.run(answer(grows_by + longest)) == b"HTTP/1.1 403 Forbidden"


def test_a_connection_is_good_for_many_questions(tmp_path: Path) -> None:
    (tmp_path / "readers").write_text(htpasswd_line("uma", "right"))
    port = free_port()
    Verdicts(Credentials(tmp_path), Trail(None)).start(port)

    def question(password: str, *more: str) -> bytes:
        credentials = base64.b64encode(f"uma:{password}".encode()).decode()
        return "\r\n".join(
            ["GET /-/auth/reader HTTP/1.1", f"Authorization: Basic {credentials}", *more, "", ""]
        ).encode()

    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
        answers = connection.makefile("rb")

        def status() -> str:
            first = answers.readline().split()[1].decode()
            while answers.readline().strip():
                pass
            return first

        first, second = question("right"), question("wrong")
        connection.sendall(first[:40])
        connection.sendall(first[40:] + second[:20])
        assert status() == "204"
        connection.sendall(second[20:])
        assert status() == "401"
        connection.sendall(first + second + first)
        assert [status() for _ in range(3)] == ["204", "401", "204"]
        connection.sendall(question("right", "Connection: close"))
        assert answers.readline().split()[1] == b"204"
        assert b"Connection: close\r\n" in answers.read()
