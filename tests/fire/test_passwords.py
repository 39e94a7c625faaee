"""Many clients guess passwords at once: everybody else goes on."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import bcrypt
import requests

from gateway_programs import make_wheel, registry
from programs import wait_for

if TYPE_CHECKING:
    from pathlib import Path

GUESSERS = 80
"""More than the server has threads."""
ROUNDS = 14
"""A second for each password: were all of the guesses checked, the others would wait for longer than a test does."""


def line(user: str) -> str:
    return f"{user}:{bcrypt.hashpw(user.encode(), bcrypt.gensalt(ROUNDS)).decode()}\n"


def test_a_flood_of_wrong_passwords_keeps_nobody_out(tmp_path: Path) -> None:
    with registry(tmp_path) as running:
        gateway = running.gateway
        for role, users in (("publishers", ("publisher",)), ("readers", ("reader", "newcomer"))):
            (running.server.credentials / role).write_text("".join(map(line, users)))
        assert gateway.get("/simple/", "reader", "reader").status_code == 200
        assert gateway.request("POST", "/", "publisher", "publisher", data=b"x").status_code == 400
        over = threading.Event()
        statuses: list[int] = []

        def guess(number: int) -> None:
            guesses, guessed = 0, ("publisher", "nobody")[number % 2]
            while not over.is_set():
                guesses += 1
                with contextlib.suppress(requests.RequestException):
                    statuses.append(gateway.get("/simple/", guessed, f"{number}-{guesses}").status_code)
                over.wait(0.2)

        threads = [threading.Thread(target=guess, args=(number,)) for number in range(GUESSERS)]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: 401 in statuses and len(statuses) > GUESSERS, "the flood")
            for number in range(2):
                assert gateway.get("/health").status_code == 200
                assert gateway.get("/simple/", "reader", "reader").status_code == 200
                wheel = make_wheel(tmp_path, "flooded", f"{number}")
                body = wheel.read_bytes()
                form = {":action": "file_upload"}
                answer = requests.post(
                    f"{gateway.url}/", form, files={"content": (wheel.name, body)}, auth=("publisher",) * 2, timeout=20
                )
                assert answer.status_code == 200
            assert gateway.get("/simple/", "newcomer", "newcomer").status_code == 200
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert set(statuses) == {401, 503}
