"""Many clients guess passwords at once: everybody else goes on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import bcrypt
import requests

from gateway_programs import make_wheel, registry
from programs import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from gateway_programs import Gateway

GUESSERS = 80
"""More than the server has threads."""
ROUNDS = 12
"""What htpasswd's users choose who are careful: a quarter of a second for each password."""
BEFORE, DURING = ("early", "earlier"), ("late", "later", "latest")
"""Users whose passwords nobody has checked yet."""
SHARE = 12
"""A first login takes at most so many times as long as without a flood: were all guesses checked, GUESSERS / 2."""


def line(user: str) -> str:
    return f"{user}:{bcrypt.hashpw(user.encode(), bcrypt.gensalt(ROUNDS)).decode()}\n"


def first_login(gateway: Gateway, user: str) -> float:
    """Return how many seconds it takes."""
    begun = time.monotonic()
    assert gateway.get("/simple/", user, user).status_code == 200
    return time.monotonic() - begun


def test_a_flood_of_wrong_passwords_keeps_nobody_out(tmp_path: Path) -> None:
    with registry(tmp_path) as running:
        gateway = running.gateway
        for role, users in (("publishers", ("publisher",)), ("readers", ("reader", *BEFORE, *DURING))):
            (running.server.credentials / role).write_text("".join(map(line, users)))
        assert gateway.get("/simple/", "reader", "reader").status_code == 200
        assert gateway.request("POST", "/", "publisher", "publisher", data=b"x").status_code == 400
        alone = max(first_login(gateway, user) for user in BEFORE)
        over = threading.Event()
        statuses: list[int] = []
        unanswered: list[str] = []

        def guess(number: int) -> None:
            guesses, guessed = 0, ("publisher", "nobody")[number % 2]
            while not over.is_set():
                guesses += 1
                try:
                    statuses.append(gateway.get("/simple/", guessed, f"{number}-{guesses}").status_code)
                except requests.RequestException as error:
                    unanswered.append(repr(error))
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
            assert max(first_login(gateway, user) for user in DURING) < SHARE * alone
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert unanswered == []
        assert set(statuses) == {401, 503}
