"""Uploads, yanks, removals and reads from within the cluster until a file appears, all compared with the truth.

It runs in a pod of the server's image, so it needs nothing but Python. LOAD is a JSON object:

url: Address of the registry, without a path.
user, password: Who asks.
others: Who may not publish: for each the user, the password and the status that tells so.
kept: The name of a file that is there and that nobody removes.
writers, readers: How many clients publish, yank and remove, and how many read.
removals: Whether the registry lets publishers remove files.
lag: Seconds after which everybody must see what was acknowledged, on a machine that has time.
pause: Seconds that each client rests between two requests, at most.
timeout: Seconds after which a request has failed.
record: The file with the counts, as of load.py. The outcome of a failed request begins with WRONG if it must never
    happen; any other is one after which a client tries again.
ledger: The file that says at the end which names were given out, with which digests, and what has become of them; how
    often each change was asked for, and done by an answer; and the same of what was refused.
stop: The file whose appearance ends the run, once every request has an answer.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - dataclasses look for it
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from e2e.load import Counts, authorization, busy, connect, form

WRONG = "wrong: "
PROJECTS = [f"churn-{n}" for n in range(4)]
KINDS = {"publish": "uploads", "remove": "removals", "yank": "yanks", "unyank": "yanks"}
"""What the counts call each change."""
SMALL, LARGE = 200_000, 8_000_000
RETRYABLE = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
LINK = re.compile(r'href="[^"]*/packages/([^"/#]+)#sha256=([0-9a-f]{64})"')
YANKED = re.compile(r'href="[^"]*/packages/([^"/#]+)#[^>]*data-yanked="')
REASON = "withdrawn by its writer"


@dataclass
class File:
    """A name that was given out.

    Attributes:
        state: `sent` until its upload was acknowledged, then `stored`; `leaving` from when its removal was sent, then
            `removed`.
        since: When it came into this state.
        changed: When the last change to it was acknowledged, a yank too.
        yanked: Whether it is withdrawn.
        sent: How often each change of it was asked for, by the name that the audit trail gives it.
        done: How often the answer said that it was done by this very request.
    """

    project: str
    version: str
    digest: str
    state: str = "sent"
    since: float = field(default_factory=time.monotonic)
    changed: float = field(default_factory=time.monotonic)
    yanked: bool = False
    sent: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.project}-{self.version}.tar.gz"


class Ledger:
    """What the registry has been told and has acknowledged; may be used by several threads."""

    def __init__(self, lag: float) -> None:
        """Begin with nothing; after `lag` seconds everybody must see a change."""
        self._lag = lag
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}
        self._read = time.monotonic()
        self.longest_without_a_read = 0.0
        self.sent: Counter[int] = Counter()
        """How often was asked for what is refused, by the status that says so."""
        self.refused: Counter[int] = Counter()
        """How often that was the answer."""

    def note(self, file: File, state: str) -> None:
        """Write down what has become of a file."""
        with self._lock:
            file.state, file.since = state, time.monotonic()
            file.changed = file.since
            self._files[file.name] = file

    def was_read(self) -> None:
        """Write down that a read has succeeded."""
        with self._lock:
            now = time.monotonic()
            self.longest_without_a_read = max(self.longest_without_a_read, now - self._read)
            self._read = now

    def digests(self, project: str) -> Mapping[str, str]:
        """The digests of all names of a project that were given out, by name."""
        with self._lock:
            return {name: file.digest for name, file in self._files.items() if file.project == project}

    def certain(self, project: str, state: str, *, lag: float | None = None) -> set[str]:
        """The names of a project that have been in this state for as long as a change may take to show."""
        latest = time.monotonic() - (self._lag * busy() if lag is None else lag)
        with self._lock:
            return {
                name
                for name, file in self._files.items()
                if (file.project, file.state) == (project, state) and file.since <= latest
            }

    def changeable(self, prefix: str) -> File | None:
        """A file, of those whose version begins with `prefix`, that every pod knows."""
        # Removing asks the server, which lists what others did; only pages may be those of a server that is away.
        latest = time.monotonic() - self._lag
        with self._lock:
            found = [f for f in self._files.values() if f.state == "stored" and f.changed <= latest]
        own = [file for file in found if file.version.startswith(prefix)]
        return random.choice(own) if own else None  # noqa: S311 - no secret

    def write(self, path: Path) -> None:
        """Write everything down."""
        files = {
            name: {
                "project": file.project,
                "digest": file.digest,
                "state": file.state,
                "yanked": file.yanked,
                "sent": file.sent,
                "done": file.done,
            }
            for name, file in self._files.items()
        }
        written = {
            "files": files,
            "longest_without_a_read": self.longest_without_a_read,
            "sent": self.sent,
            "refused": self.refused,
        }
        path.write_text(json.dumps(written))


class Client(threading.Thread):
    """One client, which opens a connection for each request."""

    def __init__(self, number: int, options: dict[str, Any], counts: Counts, ledger: Ledger) -> None:
        """Run until `stop`."""
        super().__init__(daemon=True)
        self.number = number
        self.options = options
        self.counts = counts
        self.ledger = ledger
        self.random = random.Random()  # noqa: S311 - no secret
        self._ended = threading.Event()

    def end(self) -> None:
        """Finish what is begun, and end."""
        self._ended.set()

    def run(self) -> None:
        """Act until the end."""
        while not self._ended.wait(self.random.uniform(0, self.options["pause"])):
            begun = time.time()
            try:
                self.act()
            except Exception as error:  # noqa: BLE001 - the test must hear of it
                self.wrong("act", begun, repr(error))

    def act(self) -> None:
        """Do one thing."""
        raise NotImplementedError

    def wrong(self, kind: str, begun: float, what: str) -> None:
        """Write down what must never happen."""
        self.counts.add(kind, begun, WRONG + what)

    def ask(
        self,
        kind: str,
        path: str,
        right: set[int],
        sent: tuple[bytes, str] | None = None,
        who: Mapping[str, Any] | None = None,
    ) -> tuple[int, bytes] | None:
        """Ask once for a path, or send a form there; None if it failed."""
        begun = time.time()
        method, body, headers = "GET", None, {"Authorization": authorization(who or self.options)}
        if sent:
            method, body, headers["Content-Type"] = "POST", *sent
        connection = connect(self.options)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.IncompleteRead) as error:
            self.counts.add(kind, begun, type(error).__name__)
            return None
        finally:
            connection.close()
        if answer.status in right:
            self.counts.add(kind, begun, "")
            return answer.status, content
        if answer.status in RETRYABLE:
            self.counts.add(kind, begun, str(answer.status))
        else:
            self.wrong(kind, begun, f"{method} {path}: {answer.status} {content[:200]!r}")
        return None


class Writer(Client):
    """Publishes, and yanks and removes some of it; a request without an answer is repeated until it has one."""

    versions = itertools.count()

    def act(self) -> None:
        """Publish, yank or remove a file, or take a yank back."""
        old = self.ledger.changeable(f"{self.number}.")
        chance = self.random.random()
        if old and chance < 0.2:
            self._yank(old)
        elif old and chance < 0.5 and self.options["removals"]:
            self._remove(old)
        else:
            self._publish()

    def _publish(self) -> None:
        content = os.urandom(int(self.random.choice([SMALL, SMALL, SMALL, LARGE]) * self.random.random()))
        digest = hashlib.sha256(content).hexdigest()
        file = File(self.random.choice(PROJECTS), f"{self.number}.{next(self.versions)}", digest)
        self.ledger.note(file, "sent")
        fields = {":action": "file_upload", "name": file.project, "version": file.version, "sha256_digest": digest}
        self._insist("publish", file, fields, HTTPStatus.CONFLICT, (file.name, content))
        self.ledger.note(file, "stored")

    def _remove(self, file: File) -> None:
        self.ledger.note(file, "leaving")
        fields = {":action": "remove_pkg", "name": file.project, "version": file.version}
        self._insist("remove", file, fields, HTTPStatus.NOT_FOUND)
        self.ledger.note(file, "removed")

    def _yank(self, file: File) -> None:
        action = "unyank" if file.yanked else "yank"
        fields = {":action": action, "name": file.project, "version": file.version}
        self._insist(action, file, fields if file.yanked else {**fields, "reason": REASON}, HTTPStatus.OK)
        file.yanked = not file.yanked
        file.changed = time.monotonic()

    def _insist(
        self, event: str, file: File, fields: dict[str, str], known: int, content: tuple[str, bytes] | None = None
    ) -> None:
        """Send a form until it is taken; a later attempt may be told with `known` that an earlier one has done it."""
        encoded = form(fields, content)
        right = {int(HTTPStatus.OK)}
        file.sent[event] += 1
        while not (answer := self.ask(KINDS[event], "/", right, encoded)):
            right.add(known)
            time.sleep(0.2)
            file.sent[event] += 1
        file.done[event] += answer[0] == HTTPStatus.OK


class Intruder(Client):
    """Asks for what is refused: to publish a name that is taken, or with credentials that are not enough."""

    def act(self) -> None:
        """Try one of them; not often, as each wrong password costs what a right one does."""
        taken = {**self.options, "status": int(HTTPStatus.CONFLICT)}
        who = self.random.choice([taken, *self.options["others"]])
        status = who["status"]
        name, version = self.options["kept"].split("-")[:2]
        fields = {":action": "file_upload", "name": name, "version": version}
        self.ledger.sent[status] += 1
        if self.ask("refusals", "/", {status}, form(fields, (self.options["kept"], b"another content")), who):
            self.ledger.refused[status] += 1
        time.sleep(0.5)


class Reader(Client):
    """Reads a page, and a file that it links."""

    def act(self) -> None:
        """Read a page and a file."""
        project = self.random.choice(PROJECTS)
        there, gone = self.ledger.certain(project, "stored"), self.ledger.certain(project, "removed")
        begun = time.time()
        path = f"/simple/{project}/"
        answer = self.ask("pages", path, {HTTPStatus.OK, HTTPStatus.NOT_FOUND})
        if not answer:
            return
        self.ledger.was_read()
        links = dict(LINK.findall(answer[1].decode())) if answer[0] == HTTPStatus.OK else {}
        given_out = self.ledger.digests(project)
        for name, digest in links.items():
            if given_out.get(name) != digest:
                self.wrong(
                    "pages", begun, f"{path} lists {name} with {digest}, which was sent with {given_out.get(name)}"
                )
        # What was removed in the meantime may be listed or not.
        missing = (there & self.ledger.certain(project, "stored", lag=0)) - links.keys()
        if missing or gone & links.keys():
            self.wrong("pages", begun, f"{path} lacks {sorted(missing)} and lists {sorted(gone & links.keys())}")
        if links:
            self._read(project, self.random.choice(sorted(links)), there)

    def _read(self, project: str, name: str, there: set[str]) -> None:
        begun = time.time()
        answer = self.ask("packages", f"/packages/{name}", {HTTPStatus.OK, HTTPStatus.NOT_FOUND})
        if not answer:
            return
        status, content = answer
        if status == HTTPStatus.NOT_FOUND:
            if name in there & self.ledger.certain(project, "stored", lag=0):
                self.wrong("packages", begun, f"{name} is not there")
        elif hashlib.sha256(content).hexdigest() != self.ledger.digests(project)[name]:
            self.wrong("packages", begun, f"{name} has {len(content)} bytes that are not those that were sent")


def main() -> None:
    """Run until the file appears."""
    options = json.loads(os.environ["LOAD"])
    counts, ledger = Counts(Path(options["record"])), Ledger(options["lag"])
    clients: list[Client] = [Writer(n, options, counts, ledger) for n in range(options["writers"])]
    clients.append(Intruder(0, options, counts, ledger))
    clients += [Reader(n, options, counts, ledger) for n in range(options["readers"])]
    for client in clients:
        client.start()
    while not Path(options["stop"]).exists():
        time.sleep(1)
        counts.show(end=False)
    for client in clients:
        client.end()
    for client in clients:
        client.join()
    ledger.write(Path(options["ledger"]))
    counts.show(end=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
