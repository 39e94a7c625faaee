"""Downloads that go on where the last one stopped."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from .package import BLOCK, Content, Digester, Package, same
from .problems import CopyError, HopelessError, PassingError, why
from .streaming import StreamedContent
from .web import NETWORK, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from .web import Web

LEAST_STREAMED = 4 * 2**20
"""How many bytes a package has at least that is sent on while it comes: others are there before that is worth it."""
LARGEST_METADATA = 2**22


class Downloaded:
    """What is the same for every source whose packages come by HTTP."""

    def __init__(self, downloads: Downloads) -> None:
        """Fetch packages by `downloads`."""
        self._downloads = downloads

    def fetch(self, package: Package, algorithms: Iterable[str]) -> AbstractContextManager[Content]:
        """See Source."""
        wanted = tuple(algorithms)
        return self._downloads.content(package, wanted) if wanted else self._downloads.streamed(package)

    def forget(self, package: Package) -> None:
        """See Source."""
        self._downloads.forget(package)


class Downloads:
    """A directory of unfinished files, each named after what it will be."""

    def __init__(self, directory: Path, web: Web, at_once: int = 1) -> None:
        """Keep unfinished files in `directory`, which is made when there is one; so many come `at_once`."""
        self._directory = directory
        self._web = web
        # As each thread has its connection, they are kept.
        self._writers = ThreadPoolExecutor(at_once)

    @contextmanager
    def content(self, package: Package, algorithms: Iterable[str]) -> Iterator[Content]:
        """A package, downloaded and checked.

        Raises:
            CopyError: It does not come, or is not what its source says.
        """
        with self._opened(package) as (file, path):
            yield self._content(package, file, path, {*algorithms, *package.digests})

    @contextmanager
    def streamed(self, package: Package) -> Iterator[Content]:
        """A package, downloaded and checked, or one that is still coming, if its source says enough of it.

        Raises:
            CopyError: It does not come, or is not what its source says.
        """
        with self._opened(package) as (file, path):
            metadata = self._metadata(package) if _may_be_streamed(package, file) else None
            if metadata is None:
                yield self._content(package, file, path, {*package.digests})
                return
            content = StreamedContent(path, package, metadata)
            writing = self._writers.submit(self._write, package, file, content)
            try:
                content.soon()
                yield content
            finally:
                # The file is its own until then.
                writing.result()

    def _write(self, package: Package, file: BinaryIO, content: StreamedContent) -> None:
        """Download a package, and tell of it to whoever sends it on."""
        try:
            self._download(package, file, {*package.digests}, content.grew)
        except OSError as error:
            content.ended(_no_place(error))
        except Exception as error:  # noqa: BLE001 - it is raised where the content is awaited
            content.ended(error)
        else:
            content.ended()

    @contextmanager
    def _opened(self, package: Package) -> Iterator[tuple[BinaryIO, Path]]:
        """The unfinished file of a package, which is removed when it has got to the target."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with self._file(package) as (file, path):
                yield file, path
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _no_place(error) from error

    def _content(self, package: Package, file: BinaryIO, path: Path, wanted: set[str]) -> Content:
        try:
            digests = self._download(package, file, wanted)
        except _WrongError as error:
            if not error.resumed:
                raise
            # What an earlier run left may be at fault.
            digests = self._download(package, file, wanted)
        return Content(path, digests, draft=True)

    def _metadata(self, package: Package) -> bytes | None:
        """The METADATA that the source has beside a package, if it is what it says."""
        with suppress(PassingError):
            url = f"{package.location}.metadata"
            headers = {"Accept-Encoding": "identity"}
            with self._web.send("GET", url, headers=headers, stream=True) as answer:
                if answer.status_code != HTTPStatus.OK:
                    return None
                try:
                    text: bytes = answer.raw.read(LARGEST_METADATA, decode_content=False)
                except NETWORK:
                    return None
                if hashlib.sha256(text).hexdigest() == (package.metadata or "").lower():
                    return text
        return None

    def forget(self, package: Package) -> None:
        """Remove what a run left that was killed after the package had got to the target."""
        path = self._path(package)
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()

    def _download(
        self, package: Package, file: BinaryIO, wanted: set[str], told: Callable[[int], None] = lambda _: None
    ) -> dict[str, str]:
        unfinished = _Unfinished(file, wanted, told)
        resumed = unfinished.size > 0
        self._web.again(lambda: self._attempt(package, unfinished), lambda: unfinished.size)
        digests = unfinished.digester.digests()
        if same(package.digests, digests) is False:
            unfinished.clear()
            raise _WrongError(resumed=resumed)
        return digests

    def _attempt(self, package: Package, unfinished: _Unfinished) -> None:
        """Get what is missing."""
        have = unfinished.size
        if have and have == package.size:
            return
        # A server that packs what is packed already would do it for nothing, and ranges would be of something else.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._web.send("GET", package.location, headers=headers, stream=True) as answer:
            if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                if answer.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                    return
                unfinished.clear()
                raise PassingError("the unfinished download is longer than the file", 0)
            check(answer)
            if have and not _continues(answer.headers.get("Content-Range", ""), answer.status_code, have):
                unfinished.clear()
            try:
                for block in answer.raw.stream(BLOCK, decode_content=False):
                    self._web.pace.passed(len(block))
                    unfinished.write(block)
            except NETWORK as error:
                raise PassingError(why(error)) from error

    def _path(self, package: Package) -> Path:
        of = package.digests.get("sha256", "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", of):
            of = hashlib.sha256(package.location.encode()).hexdigest()
        return self._directory / f"{of}.part"

    @contextmanager
    def _file(self, package: Package) -> Iterator[tuple[BinaryIO, Path]]:
        """The unfinished file of a package, which only this thread has."""
        path = self._path(package)
        while True:
            with path.open("a+b") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    # Another run has it.
                    break
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                        yield file, path
                        return
        descriptor, name = tempfile.mkstemp(dir=self._directory)
        try:
            os.fchmod(descriptor, 0o644)
            with os.fdopen(descriptor, "w+b") as file:
                yield file, Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


class _Unfinished:
    """A file and its digests, which grow together."""

    def __init__(self, file: BinaryIO, algorithms: set[str], told: Callable[[int], None]) -> None:
        self.file = file
        self._told = told
        self._algorithms = algorithms
        self.digester = Digester(algorithms)
        self.size = 0
        file.seek(0)
        while block := file.read(BLOCK):
            self.digester.update(block)
            self.size += len(block)

    def write(self, block: bytes) -> None:
        self.file.write(block)
        self.file.flush()
        self.digester.update(block)
        self.size += len(block)
        self._told(self.size)

    def clear(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digester = Digester(self._algorithms)
        self.size = 0
        self._told(0)


class _WrongError(CopyError):
    """What came is something else."""

    def __init__(self, *, resumed: bool) -> None:
        super().__init__("what came has not the digest that the source says")
        self.resumed = resumed


def _may_be_streamed(package: Package, file: BinaryIO) -> bool:
    """Whether all is known of a package that has to be said before its bytes, and none of them is there."""
    known = package.metadata and re.fullmatch(r"[0-9a-fA-F]{64}", package.digests.get("sha256", ""))
    return bool(known) and (package.size or 0) >= LEAST_STREAMED and os.fstat(file.fileno()).st_size == 0


def _no_place(error: OSError) -> HopelessError:
    return HopelessError(f"the unfinished download: {why(error)}")


def _continues(content_range: str, status: int, have: int) -> bool:
    return status == HTTPStatus.PARTIAL_CONTENT and content_range.startswith(f"bytes {have}-")


def cache() -> Path:
    """Where unfinished downloads are kept if nothing else is said."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(cast("str", home)) / "cdk8s-pypiserver" / "copy"
