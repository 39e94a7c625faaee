"""Server and rclone are killed at random: what was acknowledged is there, and nothing is shown that was not sent."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import requests

from losses import no_loss
from programs import upload, wait_for
from store_samples import files, sha256, wheel

if TYPE_CHECKING:
    from store_programs import Place

SECONDS = float(os.environ.get("KILL_SECONDS", "15"))
CLIENTS = 3


class Clients:
    """Publish, each file as often as it takes; one that was refused comes with another content the next time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._number = 0
        self.acknowledged: dict[str, str] = {}
        self.sent: dict[str, set[str]] = {}
        self.wrong: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            with self._lock:
                self._number += 1
                number = self._number
            self._publish(number)

    def _publish(self, number: int) -> None:
        name, content = wheel("demo", f"{number}.0", os.urandom(random.choice((100, 300_000))))  # noqa: S311
        while not self.ended.is_set():
            self.sent.setdefault(name, set()).add(sha256(content))
            answer = None
            with suppress(requests.RequestException):
                answer = upload(self._url, name, content)
            if answer is not None and answer.ok:
                self.acknowledged[name] = sha256(content)
                return
            if answer is not None and answer.status_code == 409:
                # Only an earlier attempt with another content may be what is there.
                if len(self.sent[name]) == 1:
                    self.wrong.append(f"{name}: {answer.text}")
                return
            if random.random() < 0.3:  # noqa: S311
                content = wheel("demo", f"{number}.0", os.urandom(100))[1]
            time.sleep(0.05)


def test_what_is_acknowledged_outlives_kills(place: Place) -> None:
    rclone = place.rclone()
    server = place.server(rclone=rclone).start()
    clients = Clients(server.url)
    threads = [threading.Thread(target=clients.run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < end or kills < 4:
        time.sleep(random.uniform(0.1, 1.5))  # noqa: S311
        if kills % 3 == 2:
            rclone.stop()
            rclone.start()
        else:
            server.kill()
            server.start()
        kills += 1
    clients.ended.set()
    for thread in threads:
        thread.join()
    server.kill()
    no_loss(not clients.wrong, clients.wrong)
    assert clients.acknowledged
    # A new pod, which knows only what is in the bucket.
    new = place.start("new")
    with suppress(AssertionError):
        wait_for(lambda: clients.acknowledged.keys() <= files(new.url, "demo").keys(), "what was acknowledged")
    shown = {name: file["hashes"]["sha256"] for name, file in files(new.url, "demo").items()}
    no_loss(clients.acknowledged.items() <= shown.items(), clients.acknowledged.items() - shown.items())
    for name, digest in shown.items():
        no_loss(digest in clients.sent[name], name)
        no_loss(sha256((place.folder / name).read_bytes()) == digest, name)
