"""Either program is killed at random while clients upload, read and remove: what was acknowledged is there, and whole.

KILL_SECONDS says for how long (`make fuzz`), FUZZ_SEED at which moments.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import requests

import vitals
from gateway_programs import Registry, registry
from hostile_requests import PUBLISHER, READER
from losses import no_loss
from server.http.negotiation import JSON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = float(os.environ.get("KILL_SECONDS", "8"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
RETRYABLE = frozenset({502, 503, 504})
PROJECTS = ("killed-a", "killed-b", "killed-c")
_log = logging.getLogger("kills")


def chances(number: int) -> random.Random:
    return random.Random(SEED + number)  # noqa: S311 - repeatable


class Ledger:
    """What clients were told, and which statuses they saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: dict[str, str] = {}
        """The digest of each file that anybody has begun to upload."""
        self.stored: dict[str, str] = {}
        """The digest of each file whose upload was acknowledged, and whose removal nobody has begun."""
        self.statuses: dict[str, dict[int, int]] = {}
        self.wrong: list[str] = []
        self.over = threading.Event()
        self.lock = threading.Lock()

    def ask(self, kind: str, method: str, path: str, **arguments: object) -> requests.Response | None:
        """The answer to a request, None if the connection broke."""
        try:
            answer = requests.request(method, self.url + path, timeout=60, **arguments)  # type: ignore[arg-type]
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            self._seen(kind, 0)
            return None
        self._seen(kind, answer.status_code)
        return None if answer.status_code in RETRYABLE else answer

    def _seen(self, kind: str, status: int) -> None:
        with self.lock:
            of_kind = self.statuses.setdefault(kind, {})
            of_kind[status] = of_kind.get(status, 0) + 1
        if status in {0, *RETRYABLE}:
            self.over.wait(0.05)

    def publish(self, chance: random.Random, name: str) -> None:
        """Upload a file as often as it takes, as a patient client does."""
        content = chance.randbytes(chance.choice((100, 100_000, 3_000_000)))
        digest = hashlib.sha256(content).hexdigest()
        self.sent[name] = digest
        lost = False
        while not self.over.is_set():
            form = {":action": "file_upload", "sha256_digest": digest}
            answer = self.ask("upload", "POST", "/", data=form, files={"content": (name, content)}, auth=PUBLISHER)
            if answer is None:
                lost = True
                continue
            # A second attempt may find the first one stored, though its answer was lost.
            if answer.status_code == 200 or (answer.status_code == 409 and lost):
                self.stored[name] = digest
            else:
                self.wrong.append(f"upload of {name}: {answer.status_code} {answer.text}")
            return

    def publish_many(self, chance: random.Random) -> None:
        while not self.over.is_set():
            project = chance.choice(PROJECTS).replace("-", "_")
            self.publish(chance, f"{project}-{chance.getrandbits(60)}.tar.gz")

    def remove_some(self, chance: random.Random) -> None:
        while not self.over.is_set():
            with self.lock:
                name = chance.choice(sorted(self.stored) or [""])
                self.stored.pop(name, None)
            project, _, version = name.removesuffix(".tar.gz").partition("-")
            form = {":action": "remove_pkg", "name": project, "version": version}
            while name and not self.over.is_set():
                answer = self.ask("removal", "POST", "/", data=form, auth=PUBLISHER)
                if answer is not None:
                    if answer.status_code not in {200, 404}:
                        self.wrong.append(f"removal of {name}: {answer.status_code}")
                    break
            self.over.wait(0.2)

    def read(self, chance: random.Random) -> None:
        """Read an index page and a file of it, which has to be what the page says."""
        while not self.over.is_set():
            address = f"/simple/{chance.choice(PROJECTS)}/"
            page = self.ask("page", "GET", address, auth=READER, headers={"Accept": JSON})
            if page is None or page.status_code == 404:
                continue
            # None if the last one went meanwhile.
            for file in chance.sample(files := page.json()["files"], min(1, len(files))):
                answer = self.ask("file", "GET", urljoin(address, file["url"]), auth=READER)
                self._compare(file["filename"], file["hashes"]["sha256"], answer)

    def _compare(self, name: str, digest: str, answer: requests.Response | None) -> None:
        if self.sent.get(name) != digest:
            self.wrong.append(f"{name} is listed with {digest}")
        # It may have been removed since.
        if answer is None or (answer.status_code == 404 and name not in self.stored):
            return
        if answer.status_code != 200 or hashlib.sha256(answer.content).hexdigest() != digest:
            self.wrong.append(f"{name}: {answer.status_code}, {len(answer.content)} bytes")


def kill_at_random(running: Registry, chance: random.Random) -> int:
    """Kill and end both programs in turn, for as long as the test takes; returns how often."""
    gateway, server = running.gateway, running.server
    ways: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (server.kill, server.start),
        (gateway.kill, gateway.start),
        (server.stop, server.start),
        (gateway.stop, gateway.start),
    ]
    deadline = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < deadline:
        time.sleep(chance.uniform(0.0, 1.5))
        end, start = chance.choices(ways, (4, 4, 1, 1))[0]
        end()
        start()
        kills += 1
    return kills


def test_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    with registry(tmp_path) as running:
        running.server.environment["ALLOW_REMOVAL"] = "yes"
        running.server.stop()
        running.server.start()
        ledger = Ledger(running.gateway.url)
        work = [ledger.publish_many] * 3 + [ledger.read] * 3 + [ledger.remove_some]
        clients = [threading.Thread(target=each, args=(chances(number),)) for number, each in enumerate(work)]
        for client in clients:
            client.start()
        try:
            kills = kill_at_random(running, chances(100))
        finally:
            ledger.over.set()
            for client in clients:
                client.join()
        running.server.kill()
        running.server.start()
        _log.info("%d kills, %d files stored of %d, %s", kills, len(ledger.stored), len(ledger.sent), ledger.statuses)
        assert kills > 2
        no_loss(not ledger.wrong, ledger.wrong)
        assert set().union(*ledger.statuses.values()) <= {0, 200, 404, 409, *RETRYABLE}
        assert ledger.statuses["upload"][200] > kills
        listed = {
            file["filename"]: file["hashes"]["sha256"]
            for project in PROJECTS
            for file in running.gateway.get(f"/simple/{project}/", *READER, Accept=JSON).json()["files"]
        }
        no_loss(ledger.stored.items() <= listed.items(), ledger.stored.items() - listed.items())
        no_loss(listed.items() <= ledger.sent.items(), listed.items() - ledger.sent.items())
        for name, digest in listed.items():
            content = running.gateway.get(f"/packages/{name}", *READER).content
            no_loss(hashlib.sha256(content).hexdigest() == digest, name)
        assert not vitals.files(running.server.packages / ".pypiserver/unfinished")
        # nginx takes a body's name away as soon as the file is there: a kill just then leaves an empty one.
        left = [running.gateway.temporary / path for path in vitals.files(running.gateway.temporary)]
        assert not [path for path in left if path.stat().st_size]
