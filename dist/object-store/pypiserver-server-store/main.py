"""The program that fetches packages: `python -m server.store.main`."""

from __future__ import annotations

import os
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from server.fetching import program
from server.fetching.cache import Cache
from server.fetching.fetches import Fetches
from server.fetching.listener import Handler, Reply, Sending, serve
from server.index.spelling import PLAIN
from server.store.fetcher import Fetcher, NotListedError, bytes_in, counters
from server.store.keys import Keys
from server.store.objects import Objects
from server.store.stored import Questions

if TYPE_CHECKING:
    from collections.abc import Mapping

OWN = ".pypiserver"
UNFINISHED = "unfinished"
"""Where the server keeps uploads while it receives them."""
FETCHING = "fetching"
"""Where files are that are being fetched."""


def main() -> None:
    """Answer until the process ends; the settings are variables of the environment."""
    read = os.environ
    program.begin(read.get("LOG_LEVEL", "info"))
    packages = Path(read.get("PACKAGES_DIRECTORY", "/data/packages"))
    counted = counters()
    try:
        cache = Cache(
            packages,
            packages / OWN / FETCHING,
            int(read["CACHE_BYTES"]),
            counted,
            beside=lambda: bytes_in(packages / OWN / UNFINISHED),
        )
        objects = Objects(read.get("STORE_URL", "http://127.0.0.1:5572"), read["STORE_PATH"], counted)
    except (KeyError, OSError, ValueError) as error:
        program.end(f"fetching packages cannot start: {error!r}")
    cache.start()
    if secret := read.get("SECRET_DIRECTORY"):
        file = Path(read.get("RCLONE_FILE", "/run/rclone/rclone.conf"))
        Keys(Path(secret), file, read["STORE_TYPE"], read.get("STORE_URL", "http://127.0.0.1:5572")).start()
    questions = Questions(int(read.get("SERVER_PORT", "8081")))
    fetcher = Fetcher(questions, objects, cache=cache, fetches=Fetches(cache, counted), counters=counted)

    class Listener(_Listener):
        asked = fetcher

    serve(Listener, int(read.get("FETCHING_PORT", "8084")))


class _Listener(Handler):
    asked: Fetcher
    routes = (
        (re.compile(rf"/file/((?:{PLAIN}/)*{PLAIN})"), "file"),
        (re.compile("/metrics"), "metrics"),
        (re.compile("/health"), "health"),
    )
    statuses: ClassVar[Mapping[type[Exception], HTTPStatus]] = {
        **Handler.statuses,
        NotListedError: HTTPStatus.NOT_FOUND,
    }

    def answer(self, name: str, *arguments: str) -> Reply | Sending:
        if name == "health":
            return Reply(HTTPStatus.OK, b"ok\n")
        if name == "metrics":
            return self.asked.metrics()
        return self.asked.head(*arguments) if self.command == "HEAD" else self.asked.file(*arguments)


if __name__ == "__main__":
    main()
