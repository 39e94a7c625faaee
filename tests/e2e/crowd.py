"""Many clients at once, from within the cluster: what pip sends, again and again, and large uploads.

It runs in a pod of the server's image, so it needs nothing but Python. LOAD is a JSON object:

url: Address of the registry, without a path.
user, password: Who asks.
projects: The projects that are installed, each with one file.
installers: How many clients install; each opens a connection for a page, the same page again, and the file.
uploads: How many files are published, all at once.
size: Bytes of each of these.
pause: Seconds that an installer rests between two installations, at most.
timeout: Seconds after which a request has failed.
record: The file with the counts, as of load.py.
ledger: The file that says at the end which uploads were acknowledged, with their digests.
stop: The file whose appearance ends the run, once the uploads have an answer.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import random
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.load import Counts, authorization, connect, form

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = "crowd"
MARK = b"\0content\0"
BLOCK = 1_000_000
JSON = "application/vnd.pypi.simple.v1+json"
# As pip 26 sends them; it does so for every page, and asks again for one that it has.
PAGE = {
    "Accept": f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
    "Accept-Encoding": "gzip, deflate",
    "Cache-Control": "max-age=0",
    "Connection": "keep-alive",
}
PACKAGE = {"Accept-Encoding": "identity", "Connection": "keep-alive"}


class UnexpectedError(Exception):
    """An answer that is not what was asked for."""


class Crowd:
    """What the clients share."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Begin with nothing."""
        self.options = options
        self.counts = Counts(Path(options["record"]))
        self.ended = threading.Event()
        self.begin = threading.Barrier(options["installers"] + options["uploads"])
        self.acknowledged: dict[str, str] = {}

    def install(self) -> None:
        """Install until the end."""
        self.begin.wait()
        while not self.ended.wait(random.uniform(0, self.options["pause"])):  # noqa: S311 - no secret
            begun = time.time()
            try:
                self._install(random.choice(self.options["projects"]))  # noqa: S311 - no secret
            except (OSError, http.client.HTTPException, UnexpectedError) as error:
                self.counts.add("installations", begun, repr(error))
            else:
                self.counts.add("installations", begun, "")

    def _install(self, project: str) -> None:
        connection = connect(self.options)
        try:
            status, headers, page = self._get(connection, f"/simple/{project}/", PAGE)
            if status != HTTPStatus.OK or headers["Content-Type"] != JSON:
                raise UnexpectedError(f"{status} {headers}")
            known = {"If-None-Match": headers["ETag"], "If-Modified-Since": headers["Last-Modified"]}
            conditions = {name: value for name, value in known.items() if value}
            status, _, again = self._get(connection, f"/simple/{project}/", {**PAGE, **conditions})
            # The first page is made for whoever asks, and has not the validators of the file that it is from then on.
            if status != HTTPStatus.NOT_MODIFIED and (status, again) != (HTTPStatus.OK, page):
                raise UnexpectedError(f"{status} for a page that has not changed")
            (file,) = json.loads(page)["files"]
            status, _, content = self._get(connection, f"/packages/{file['filename']}", PACKAGE)
            if status != HTTPStatus.OK or hashlib.sha256(content).hexdigest() != file["hashes"]["sha256"]:
                raise UnexpectedError(f"{status} with {len(content)} bytes for {file['filename']}")
        finally:
            connection.close()

    def _get(
        self, connection: http.client.HTTPConnection, path: str, headers: dict[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection.request("GET", path, headers={**headers, "Authorization": authorization(self.options)})
        answer = connection.getresponse()
        content = answer.read()
        return (
            answer.status,
            answer.headers,
            gzip.decompress(content) if answer.headers["Content-Encoding"] else content,
        )

    def publish(self, number: int) -> None:
        """Publish one large file."""
        block, count = os.urandom(BLOCK), self.options["size"] // BLOCK
        digest = hashlib.sha256()
        for _ in range(count):
            digest.update(block)
        name = f"{PROJECT}-1.{number}.tar.gz"
        fields = {":action": "file_upload", "name": PROJECT, "version": f"1.{number}"}
        body, content_type = form({**fields, "sha256_digest": digest.hexdigest()}, (name, MARK))
        head, tail = body.split(MARK)
        headers = {
            "Authorization": authorization(self.options),
            "Content-Type": content_type,
            "Content-Length": str(len(head) + count * BLOCK + len(tail)),
        }

        def parts() -> Iterator[bytes]:
            yield head
            for _ in range(count):
                yield block
            yield tail

        self.begin.wait()
        begun = time.time()
        connection = connect(self.options)
        try:
            connection.request("POST", "/", parts(), headers)
            answer = connection.getresponse()
            outcome = "" if answer.status == HTTPStatus.OK else f"{answer.status} {answer.read()[:200]!r}"
        except (OSError, http.client.HTTPException) as error:
            outcome = repr(error)
        finally:
            connection.close()
        if not outcome:
            self.acknowledged[name] = digest.hexdigest()
        self.counts.add("uploads", begun, outcome)


def main() -> None:
    """Run until the file appears."""
    options = json.loads(os.environ["LOAD"])
    crowd = Crowd(options)
    threads = [threading.Thread(target=crowd.install, daemon=True) for _ in range(options["installers"])]
    threads += [threading.Thread(target=crowd.publish, args=(n,), daemon=True) for n in range(options["uploads"])]
    for thread in threads:
        thread.start()
    while not Path(options["stop"]).exists():
        time.sleep(1)
        crowd.counts.show(end=False)
    crowd.ended.set()
    for thread in threads:
        thread.join()
    Path(options["ledger"]).write_text(json.dumps(crowd.acknowledged))
    crowd.counts.show(end=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
