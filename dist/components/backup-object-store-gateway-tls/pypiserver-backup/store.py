"""A store, as rclone speaks with it: a remote, or a folder of another volume."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from backup.layout import FOLDERS
from backup.problems import RunError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    Listed: TypeAlias = Callable[[], dict[str, int]]
    """Waits until a store has been listed, and gives its files with their sizes."""

_LINES_KEPT = 12
"""How many of the last lines of rclone are told when it fails."""
_EXIT_NO_DIRECTORY = 3
_EXIT_NO_FILE = 4
_LIST = ("lsjson", "--recursive", "--fast-list", "--files-only", "--no-mimetype", "--no-modtime")
_UNCOMPARED = ("--ignore-checksum", "--no-check-dest", "--use-server-modtime")
"""What rclone leaves out for each file: the store's own hash, the file that is there, and a request for its time."""
_log = logging.getLogger("store")


@dataclass(frozen=True)
class Running:
    """An rclone that has been started."""

    process: subprocess.Popen[str]
    output: IO[str]
    errors: IO[str]

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end, and return what it has said."""
        status = self.process.wait()
        self.output.seek(0)
        self.errors.seek(0)
        return subprocess.CompletedProcess(self.process.args, status, self.output.read(), self.errors.read())


class Store:
    """A place that rclone can list, read and write.

    Nothing here removes anything but `delete`, and what is there is never written over.
    """

    def __init__(self, fs: str, *, program: str = "rclone", bandwidth: str = "") -> None:
        """Be about the place that rclone calls `fs`, and send and receive at most `bandwidth` (rclone's --bwlimit)."""
        self.fs = fs.rstrip("/")
        self._program = program
        self._limit = ["--bwlimit", bandwidth] if bandwidth else []

    def at(self, folder: str) -> str:
        """What rclone calls a folder of the store."""
        return f"{self.fs}{folder}" if self.fs.endswith(":") else f"{self.fs}/{folder}"

    def sizes(self, folder: str, names: Iterable[str] | None = None) -> dict[str, int]:
        """The files below a folder with their sizes; only those of these names if any are given.

        Raises:
            RunError: It cannot be listed; a folder that is not there is an empty one.
        """
        with _listed(names) as chosen, self._started(*_LIST, *chosen, self.at(folder)) as listing:
            return self._sizes(listing.end())

    @contextmanager
    def listing(self) -> Iterator[Listed]:
        """List the files of all backups meanwhile, by their paths from the store's own.

        Raises:
            RunError: rclone does not start, or, when the list is asked for, they cannot be listed; what is not there
                is empty.
        """
        # Nothing else: a volume has directories that nobody may list.
        chosen = [part for folder in FOLDERS for part in ("--include", f"/{folder}/**")]
        with self._started(*_LIST, *chosen, self.at("")) as listing:
            yield lambda: self._sizes(listing.end())

    def _sizes(self, done: subprocess.CompletedProcess[str]) -> dict[str, int]:
        # A bucket that is not there is another matter.
        if done.returncode == _EXIT_NO_DIRECTORY and "NoSuchBucket" not in done.stderr:
            return {}
        if done.returncode:
            raise self._error("answers", done)
        return {each["Path"]: int(each["Size"]) for each in json.loads(done.stdout)}

    def digests(self, folder: str, names: Sequence[str]) -> dict[str, str]:
        """The sha256 of files, which are read for it.

        Raises:
            RunError: They cannot be read.
        """
        if not names:
            return {}
        with _listed(names) as chosen:
            done = self._run("hashsum", "sha256", "--download", *chosen, self.at(folder))
        pairs = (line.split("  ", 1) for line in done.stdout.splitlines())
        return {name: digest for digest, name in pairs}

    def read(self, path: str) -> str | None:
        """The text of a small file, None if there is none.

        Raises:
            RunError: It cannot be read.
        """
        done = self._run("cat", self.at(path), accepted=(_EXIT_NO_DIRECTORY, _EXIT_NO_FILE))
        return None if done.returncode else done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a new small file, and read it back.

        Raises:
            RunError: It is there, or cannot be written, or is not what was written.
        """
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            self._run("copyto", "--immutable", file.name, self.at(path))
        if self.read(path) != text:
            raise RunError("store", f"{path} is not what was written there")

    def send(self, directory: Path, folder: str, names: Sequence[str] | None = None) -> None:
        """Copy files of a directory into a folder: those of these names, or what the links in it lead to.

        Raises:
            RunError: Not all of them are there now.
        """
        with _listed(names) as chosen:
            links = ["--copy-links"] if names is None else []
            command = ["copy", "--immutable", *links, *chosen, *self._limit, str(directory), self.at(folder)]
            self._run(*command, doing="takes files")

    def take(self, source: str, folder: str, names: Sequence[str]) -> None:
        """Copy files of another place into a folder: by the store itself where it can, else through here.

        They have not been compared with anything then.

        Raises:
            RunError: Not all of them are there now; what is not in `source` any more is passed over.
        """
        with _listed(names) as chosen:
            # What another run has just brought has another time, and is what it should be or is told afterwards.
            command = ["copy", "--ignore-existing", "--use-server-modtime", *chosen, *self._limit]
            self._run(*command, source, self.at(folder), doing="takes files")

    @contextmanager
    def receiving(self, folder: str, directory: Path, names: Sequence[str]) -> Iterator[Running]:
        """Copy files of a folder into a directory meanwhile; each has its name when it has come to its end.

        Nothing is compared with what the store says, nor with what is there: whoever asks has to know the sha256.

        Raises:
            RunError: It failed.
        """
        command = ["copy", "--retries", "1", *_UNCOMPARED, *self._limit]
        with _listed(names) as chosen, self._started(*command, *chosen, self.at(folder), str(directory)) as copying:
            yield copying
            done = copying.end()
            if done.returncode:
                raise self._error("gives files", done)

    @contextmanager
    def _started(self, *command: str) -> Iterator[Running]:
        # A pipe could not take all that is said of many files before somebody reads it.
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        ):
            try:
                process = subprocess.Popen([self._program, *command], stdout=output, stderr=errors, text=True)
            except OSError as error:
                raise RunError("settings", f"{self._program} does not start: {error.strerror}") from error
            try:
                yield Running(process, output, errors)
            finally:
                process.kill()
                process.wait()

    def delete(self, folder: str, names: Sequence[str]) -> None:
        """Remove files of a folder for good.

        Raises:
            RunError: Not all of them are gone.
        """
        if names:
            with _listed(names) as chosen:
                self._run("delete", *chosen, self.at(folder))

    def _run(
        self, *command: str, accepted: Sequence[int] = (), doing: str = "answers"
    ) -> subprocess.CompletedProcess[str]:
        with self._started(*command) as running:
            done = running.end()
        if done.returncode not in (0, *accepted):
            raise self._error(doing, done)
        return done

    def _error(self, doing: str, done: subprocess.CompletedProcess[str]) -> RunError:
        lines = done.stderr.strip().splitlines()
        for line in lines[-_LINES_KEPT:]:
            _log.error("%s", line)
        last = lines[-1] if lines else f"rclone ended with {done.returncode}"
        return RunError(reason_of(done.stderr), f"{self.fs} no longer {doing}: {last}")


@contextmanager
def _listed(names: Iterable[str] | None) -> Iterator[list[str]]:
    """The argument that has rclone go by a list of names; none without names."""
    if names is None:
        yield []
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in names)
        file.flush()
        yield ["--files-from-raw", file.name]
