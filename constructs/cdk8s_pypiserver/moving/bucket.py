"""A bucket, or a folder of any other store that rclone knows, as a source; rclone, a child process, speaks with it."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from packaging.utils import canonicalize_name

from .credentials import Login, Logins
from .downloads import Downloaded, Downloads
from .manifest import FILE, noted
from .package import Package, is_package
from .problems import CopyError, InputError
from .web import Web, check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response

    from .pace import Pace

PREFIX = "rclone:"
"""What a source begins with that rclone is asked for."""
PROGRAM = "COPY_RCLONE"
"""Variable of the environment that says where rclone is, if it is not on PATH."""
LOOK_SECONDS = 0.2
_DIGESTS = ("sha256", "sha1", "md5")
_STARTED = "Serving remote control on "
# The shell ends rclone when this process is gone, however that has ended: its end of the pipe is closed then.
_SCRIPT = 'exec 3<&0; "$@" 3<&- & child=$!; (read -r _ <&3; kill "$child") >/dev/null 2>&1 & wait "$child"'


class _Rclone(NamedTuple):
    """rclone's remote control, on loopback."""

    url: str
    user: str
    password: str


class Bucket(Downloaded):
    """Packages in a bucket or below a folder of it, side by side or in folders, with a manifest or without."""

    def __init__(self, place: str, web: _Web, downloads: Downloads) -> None:
        """List the bucket.

        Args:
            place: Where it is, as rclone writes it: `remote:bucket/folder`.
            web: Asks rclone.
            downloads: Fetches packages by the same.

        Raises:
            InputError: It cannot be listed.
        """
        super().__init__(downloads)
        self.name = f"{PREFIX}{place}"
        self._place = place
        self._web = web
        self._projects: dict[str, list[Package]] = {}
        try:
            manifest = self._manifest()
            for each in self._list():
                # What a server keeps for itself is hidden.
                if is_package(each["Name"]) and not any(part.startswith(".") for part in each["Path"].split("/")):
                    self._add(each, manifest)
        except CopyError as error:
            raise InputError("SOURCE", self.name, f"cannot be listed: {error}") from error

    def projects(self) -> list[str]:
        """See Source."""
        return sorted(self._projects)

    def packages(self, project: str) -> list[Package]:
        """See Source."""
        return self._projects.get(project, [])

    def _list(self) -> list[dict[str, Any]]:
        told = self._web.call("operations/fsinfo", {"fs": self._place})
        # Where they are not at hand, files would be read twice.
        digests = [] if told["Features"].get("SlowHash") else [each for each in _DIGESTS if each in told["Hashes"]]
        options: dict[str, Any] = {"recurse": True, "filesOnly": True, "noMimeType": True}
        if digests:
            options |= {"showHash": True, "hashTypes": digests}
        # The times that the store itself gave: those of rclone's own would cost a request for each object.
        call = {"fs": self._place, "remote": "", "opt": options, "_config": {"UseServerModTime": True}}
        listed: list[dict[str, Any]] = self._web.call("operations/list", call)["list"]
        return listed

    def _manifest(self) -> dict[str, Package]:
        """What a directory that was carried over says of its packages, which need not be one."""
        answer = self._web.again(lambda: self._web.send("GET", f"{PREFIX}{FILE}"))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return {}
        check(answer)
        return noted(answer.content)

    def _add(self, each: dict[str, Any], manifest: dict[str, Package]) -> None:
        # Its time and its size are part of where it is: what is left of a download is never gone on with by another.
        location = f"{PREFIX}{each['Path']}#{each['Size']}@{each['ModTime']}"
        digests = {name: value for name, value in (each.get("Hashes") or {}).items() if value}
        written, known = datetime.fromisoformat(_until_microseconds(each["ModTime"])), manifest.get(each["Name"])
        package = Package(
            filename=each["Name"], location=location, size=each["Size"], digests=digests, uploaded=written
        )
        if known and known.size == package.size:
            uploaded = known.uploaded or written
            package = replace(known, location=location, digests={**digests, **known.digests}, uploaded=uploaded)
        try:
            project = package.project
        except CopyError:
            # Told of when it is its turn.
            project = canonicalize_name(package.filename)
        self._projects.setdefault(project, []).append(package)


class _Web(Web):
    """Requests to rclone, which knows the login of the store and has one of its own."""

    def __init__(self, rclone: _Rclone, place: str, pace: Pace, *, retries: int, timeout: float) -> None:
        login = Login("SOURCE", f"http://{rclone.user}:{rclone.password}@{rclone.url.partition('://')[2]}")
        # What the environment names as proxy is on the way to the store, and not to rclone.
        super().__init__(Logins(login), pace, retries=retries, timeout=timeout, direct=True)
        self._calls = rclone.url.rstrip("/")
        self._objects = f"{self._calls}/{quote(f'[{place}]')}"

    def send(self, method: str, url: str, **options: Any) -> Response:  # noqa: ANN401
        """Send a request for a package, by its location, or for something else."""
        if url.startswith(PREFIX):
            url = f"{self._objects}/{quote(url.removeprefix(PREFIX).partition('#')[0])}"
        return super().send(method, url, **options)

    def call(self, what: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Have rclone do something, and return what it says of it, however long that takes.

        Raises:
            CopyError: It has not worked.
        """
        job = self._called(what, {**parameters, "_async": True})["jobid"]
        while not (status := self._called("job/status", {"jobid": job}))["finished"]:
            self.pace.wait(LOOK_SECONDS)
        if not status["success"]:
            raise CopyError(str(status["error"]))
        output: dict[str, Any] = status["output"]
        return output

    def _called(self, what: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = self.send("POST", f"{self._calls}/{what}", json=parameters)
        told: dict[str, Any] = answer.json()
        if answer.status_code != HTTPStatus.OK:
            raise CopyError(str(told.get("error", answer.status_code)))
        return told


@contextmanager
def opened(place: str, pace: Pace, partial: Path, *, retries: int, timeout: float) -> Iterator[Bucket]:
    """Start rclone, and list what is at a place; rclone ends with the context.

    Raises:
        InputError: There is no rclone, or no such place.
    """
    with _started() as rclone:
        web = _Web(rclone, place, pace, retries=retries, timeout=timeout)
        yield Bucket(place, web, Downloads(partial, web))


@contextmanager
def _started() -> Iterator[_Rclone]:
    program = os.environ.get(PROGRAM, "rclone")
    if not shutil.which(program):
        raise InputError("SOURCE", PREFIX, f"needs rclone, and there is no {program}: https://rclone.org/install/")
    user, password = "copy", secrets.token_hex()
    process = subprocess.Popen(
        ["sh", "-c", _SCRIPT, "sh", program, "rcd", "--rc-addr=127.0.0.1:0", "--rc-serve"],
        # Not as arguments, which others can read.
        env={**os.environ, "RCLONE_RC_USER": user, "RCLONE_RC_PASS": password, "RCLONE_LOG_LEVEL": "NOTICE"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C is for this process, which ends it when nobody asks any more.
        start_new_session=True,
    )
    with process:
        try:
            url = _address(process, program)
            # Else it would wait for a reader some time.
            threading.Thread(target=lambda: [*(process.stderr or ())], daemon=True).start()
            yield _Rclone(url, user, password)
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()


def _address(process: subprocess.Popen[str], program: str) -> str:
    """Where rclone listens, as it says itself."""
    last = ""
    for line in process.stderr or ():
        if _STARTED in line:
            return line.partition(_STARTED)[2].strip()
        last = line.strip() or last
    raise InputError("SOURCE", PREFIX, f"needs rclone, and {program} does not start: {last}")


def _until_microseconds(time: str) -> str:
    """A time as Python 3.10 reads it."""
    seconds, _, rest = time.replace("Z", "+00:00").partition(".")
    if not rest:
        return seconds
    zone = max(rest.find("+"), rest.find("-"))
    return f"{seconds}.{rest[:zone][:6]:0<6}{rest[zone:]}"
