"""The store as rclone speaks with it, through its remote control (`rclone rcd --rc-serve`) on loopback.

What is put is there whole or not at all: rclone writes an object in one request, or in parts that nobody sees before
the last, or, where a back end has neither, under another name first (fs/operations/copy.go); and it compares size and,
where the back end has any, hash with the file's. https://rclone.org/rc/
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import select
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

from server.store.complaints import Complaint
from server.store.problems import AbsentError, PresentError, StoreError
from server.volume.content import CHUNK
from server.volume.durable import UNFINISHED, make_directory
from server.volume.problems import why

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ANSWER_SECONDS = 11.0
"""How long a request may take that moves little. rclone itself gives up after 10 s (RCLONE_TIMEOUT)."""
STALLED_SECONDS = 11.0
"""How long a transfer may go without a byte; how long one takes as a whole depends on its size."""
LISTING_SECONDS = 1800.0
"""How long a listing may take to begin: rclone lists all of a folder, a thousand objects a request, before it says
anything of it. Each of these requests has rclone's own limit."""
_LOOK_SECONDS = 1.0
_OTHERS = "requests"
"""The group in whose statistics rclone counts what is no transfer. Of 1000 groups it forgets the oldest, and with it
how far a transfer has come that goes on."""
_log = logging.getLogger("store")
_NEW = [{"Key": "If-None-Match", "Value": "*"}]
"""The header that makes a store refuse to replace an object. rclone sends it with PutObject and with the last request
of an upload in parts (backend/s3/s3.go, prepareUpload); other back ends pass over it."""


class Found(NamedTuple):
    """One object."""

    path: str
    """Below the store's path."""
    size: int
    changed: int
    """When the store got it, in whole seconds: listings have fractions that other answers have not."""


class Content(NamedTuple):
    """What is in an object."""

    size: int
    sha256: str


class Remote:
    """The objects below one path of a store; any thread may ask."""

    def __init__(self, url: str, path: str, root: Path) -> None:
        """Ask the rclone at `url` for what is below `path`, as rclone writes it: `remote:bucket/folder`.

        What is put comes from the hidden directory of `root`, which rclone reads too.
        """
        self._address = urlsplit(url)
        # With a slash rclone does not ask whether it is an object, which some stores say of a folder.
        self.path = f"{path.rstrip('/')}/"
        self.spool = root / UNFINISHED
        self._lock = threading.Lock()
        self.requests = self.failures = 0
        self._refusal = Complaint(_log.warning)

    @property
    def refused(self) -> str | None:
        """Why nothing can be put there, in a word, as far as trying again does not help; None since something was."""
        return self._refusal.reason

    def names(self, directory: str) -> dict[str, Found]:
        """The objects in a directory, by name; none if there is no such directory.

        Raises:
            StoreError: They cannot be listed.
        """
        options = {"filesOnly": True, "noMimeType": True}
        call = {"fs": self.path, "remote": directory, "opt": options, "_config": {"UseServerModTime": True}}
        try:
            listed = self._call("operations/list", call, f"{directory or 'the bucket'} cannot be listed")["list"]
        except AbsentError:
            return {}
        return {each["Name"]: _found(each) for each in listed}

    def find(self, path: str) -> Found | None:
        """One object, None if there is none.

        Raises:
            StoreError: The store does not say.
        """
        options = {"filesOnly": True, "noMimeType": True}
        call = {"fs": self.path, "remote": path, "opt": options, "_config": {"UseServerModTime": True}}
        try:
            item = self._call("operations/stat", call, f"{path} cannot be looked at")["item"]
        except AbsentError:
            return None
        return _found(item) if item else None

    def hashes(self) -> bool:
        """Whether the store has hashes of its objects, so that rclone compares more than sizes.

        Raises:
            StoreError: rclone does not say.
        """
        return bool(self._call("operations/fsinfo", {"fs": self.path}, "the store cannot be used").get("Hashes"))

    def explained(self, error: StoreError) -> StoreError:
        """The error, or what the store says of a listing: an answer to HEAD, which objects are asked by, says no why.

        A refusal then looks like one for want of permission, whatever it is for.
        """
        if error.reason not in {"permission", "other"}:
            return error
        try:
            self.names(UNFINISHED)
        except StoreError as told:
            return told
        return error

    def read(self, path: str, most: int) -> bytes:
        """All of a small object.

        Raises:
            AbsentError: There is none.
            StoreError: It cannot be read, or has more than `most` bytes.
        """
        with self.reading(path) as answer:
            content = answer.read(most + 1)
        if len(content) > most:
            raise StoreError(f"{path} cannot be read", f"it has more than {most} bytes")
        return content

    @contextlib.contextmanager
    def reading(self, path: str, first: int = 0, length: int | None = None) -> Iterator[_Answer]:
        """Read an object, or so many bytes from the `first` on, as they come.

        Raises:
            AbsentError: There is none.
            StoreError: It cannot be read; also while it is.
        """
        what = f"{path} cannot be read"
        part = {} if length is None else {"Range": f"bytes={first}-{first + length - 1}"}
        address = f"/{quote(f'[{self.path}]')}/{quote(path)}"
        with self._answer("GET", address, what, headers=part) as answer:
            expected = HTTPStatus.OK if length is None else HTTPStatus.PARTIAL_CONTENT
            if answer.status != expected:
                raise self._failed(what, answer)
            yield _Answer(answer, what, self._count_failure)

    def digest(self, path: str) -> Content:
        """The size and the digest of an object, all of which is read for it.

        Raises:
            AbsentError: There is none.
            StoreError: It cannot be read.
        """
        digest, size = hashlib.sha256(), 0
        with self.reading(path) as answer:
            while block := answer.read(CHUNK):
                digest.update(block)
                size += len(block)
        return Content(size, digest.hexdigest())

    def put(self, local: Path, path: str, *, new: bool = False) -> None:
        """Copy a file of the spool into the store; when this returns it is there whole.

        Args:
            local: The file.
            path: What its object is called.
            new: Whether no object may be replaced, by stores that know how to refuse that.

        Raises:
            PresentError: There is one.
            StoreError: It is not known to be there.
        """
        group = uuid.uuid4().hex
        config: dict[str, Any] = {"NoCheckDest": True, "NoUpdateModTime": True}
        if new:
            config["UploadHeaders"] = _NEW
        call = {
            "srcFs": str(local.parent),
            "srcRemote": local.name,
            "dstFs": self.path,
            "dstRemote": path,
            "_group": group,
            "_config": config,
        }
        try:
            self._call("operations/copyfile", call, f"{path} cannot be stored", group)
        except StoreError as error:
            if error.is_for_good:
                self._refusal.make(error.reason, why(error))
            raise
        self._refusal.end()

    def write(self, path: str, content: bytes, *, new: bool = False) -> None:
        """Put a small object; see `put`.

        Raises:
            OSError: The spool does not take it.
            PresentError: There is one.
            StoreError: It is not known to be there.
        """
        make_directory(self.spool)
        local = self.spool / uuid.uuid4().hex
        try:
            local.write_bytes(content)
            self.put(local, path, new=new)
        finally:
            with contextlib.suppress(OSError):
                local.unlink()

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Put some small objects at the same time; see `write`."""
        if len(contents) == 1:
            self.write(*next(iter(contents.items())))
            return
        with ThreadPoolExecutor(len(contents)) as writers:
            for _ in writers.map(self.write, contents, contents.values()):
                pass

    def remove(self, path: str) -> None:
        """Remove an object; one that is gone already is not an error.

        Raises:
            StoreError: It is not known to be gone.
        """
        with contextlib.suppress(AbsentError):
            self._call("operations/deletefile", {"fs": self.path, "remote": path}, f"{path} cannot be removed")

    def every(self, but: tuple[str, ...]) -> Iterator[Found]:
        """Every object, as it comes, `but` what is in these directories, which are not even asked for.

        Raises:
            StoreError: They cannot all be listed; also after some.
        """
        what = "the bucket cannot be listed"
        # By a program of its own: an answer to `operations/list` is held as a whole, by rclone and by its reader.
        flags = ["--recursive", "--files-only", "--no-mimetype", "--use-server-modtime", "--fast-list=false"]
        call = {
            "command": "lsjson",
            "arg": [self.path, *flags, *(f"--exclude=/{each}/**" for each in but)],
            "returnType": "STREAM",
        }
        said: list[str] = []
        ended = False
        with self._answer("POST", "/core/command", what, call, LISTING_SECONDS) as answer:
            lines = _Answer(answer, what, self._count_failure)
            for line in lines.lines():
                text = line.decode("utf-8", "replace").strip().rstrip(",")
                if text == "]":
                    ended = True
                    break
                if text.startswith('{"Path":'):
                    # A line of the log may follow an object.
                    yield _found(json.JSONDecoder().raw_decode(text)[0])
                elif text not in {"", "["}:
                    said.append(text)
        if not ended:
            if any("directory not found" in line for line in said):
                return
            self._count_failure()
            raise StoreError(what, next((line for line in said if "ERROR" in line), "the listing has no end"))

    def command(self, command: str, what: str, below: str = "", **options: str) -> Any:  # noqa: ANN401 - what it says
        """Have the store's back end do what only its kind can (https://rclone.org/rc/#backend-command).

        Args:
            command: What it does.
            what: What was asked for, if it cannot be had.
            below: The object or folder that it is about; all of the place by default.
            options: Its options, with _ for each -.

        Raises:
            StoreError: It does not.
        """
        place = f"{self.path}{below}/" if below else self.path
        named = {name.replace("_", "-"): value for name, value in options.items()}
        call = {"command": command, "fs": place, "opt": named}
        return self._call("backend/command", call, what, seconds=LISTING_SECONDS)["result"]

    def _call(
        self,
        command: str,
        parameters: Mapping[str, Any],
        what: str,
        group: str = "",
        seconds: float = ANSWER_SECONDS,
    ) -> dict[str, Any]:
        counted = {"_group": _OTHERS, **parameters}
        with self._answer("POST", f"/{command}", what, counted, seconds, group) as answer:
            if answer.status != HTTPStatus.OK:
                raise self._failed(what, answer)
            try:
                found: dict[str, Any] = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._count_failure()
                raise StoreError(what, f"rclone's answer was cut short: {error}") from error
            return found

    @contextlib.contextmanager
    def _answer(  # noqa: PLR0913, PLR0917
        self,
        method: str,
        address: str,
        what: str,
        parameters: Mapping[str, Any] | None = None,
        seconds: float = ANSWER_SECONDS,
        group: str = "",
        headers: Mapping[str, str] = {},
    ) -> Iterator[http.client.HTTPResponse]:
        """Ask rclone; a request whose connection is closed is given up by rclone too."""
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=seconds)
        self.requests += 1
        try:
            try:
                body = None if parameters is None else json.dumps(parameters)
                connection.request(method, address, body, {"Content-Type": "application/json", **headers})
                self._wait(connection.sock, seconds, group)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self._count_failure()
                said = "timed out" if isinstance(error, TimeoutError) else f"rclone does not answer: {error}"
                raise StoreError(what, said) from error
            yield answer
        finally:
            connection.close()

    def _wait(self, connection: socket.socket, seconds: float, group: str) -> None:
        """Wait for the first byte of an answer, of a transfer for as long as it goes on.

        Raises:
            TimeoutError: None came.
        """
        moved, since = -1, time.monotonic()
        while not select.select([connection], [], [], min(seconds, _LOOK_SECONDS))[0]:
            if group and (now := self._moved(group)) != moved:
                moved, since = now, time.monotonic()
            if time.monotonic() - since > (STALLED_SECONDS if group else seconds):
                raise TimeoutError

    def _moved(self, group: str) -> int:
        """How many bytes a transfer has moved."""
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=_LOOK_SECONDS)
        try:
            connection.request(
                "POST", "/core/stats", json.dumps({"group": group}), {"Content-Type": "application/json"}
            )
            return int(json.loads(connection.getresponse().read()).get("bytes", 0))
        except (OSError, http.client.HTTPException, ValueError):
            return -1
        finally:
            connection.close()

    def _failed(self, what: str, answer: http.client.HTTPResponse) -> StoreError:
        try:
            text = answer.read(CHUNK).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            text = str(error)
        with contextlib.suppress(ValueError):
            text = str(json.loads(text)["error"])
        if answer.status == HTTPStatus.NOT_FOUND and "not found" in text.lower():
            return AbsentError(what, text)
        if "PreconditionFailed" in text or "StatusCode: 412" in text:
            return PresentError(what, text)
        self._count_failure()
        return StoreError(what, text)

    def _count_failure(self) -> None:
        with self._lock:
            self.failures += 1


class _Answer:
    """The body of an answer, whose errors are those of the store."""

    def __init__(self, answer: http.client.HTTPResponse, what: str, failed: Any) -> None:  # noqa: ANN401
        self._answer = answer
        self._what = what
        self._failed = failed

    def read(self, size: int) -> bytes:
        """The next bytes, fewer only at the end.

        Raises:
            StoreError: It was cut short.
        """
        return self._guarded(lambda: self._answer.read(size))

    def lines(self) -> Iterator[bytes]:
        """The lines, as they come.

        Raises:
            StoreError: It was cut short.
        """
        while line := self._guarded(self._answer.readline):
            yield line

    def _guarded(self, read: Any) -> bytes:  # noqa: ANN401
        try:
            block: bytes = read()
            if not block and self._answer.length:
                raise http.client.IncompleteRead(b"", self._answer.length)
        except (OSError, http.client.HTTPException) as error:
            self._failed()
            raise StoreError(self._what, f"it was cut short: {error or 'timed out'}") from error
        return block


def _found(item: Mapping[str, Any]) -> Found:
    changed = item.get("ModTime") or ""
    return Found(item["Path"], item["Size"], seconds_of(changed))


def seconds_of(text: str) -> int:
    """The whole seconds of a time of RFC 3339, 0 if there is none."""
    # Python 3.10 reads no Z, and no fractions of nine digits.
    zone = text[19:].lstrip(".0123456789")
    return int(datetime.fromisoformat(f"{text[:19]}{zone.replace('Z', '+00:00')}").timestamp()) if text else 0
