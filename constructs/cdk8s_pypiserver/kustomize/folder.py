"""The folder that an app writes to: it may hold other people's files too, so only what the app wrote is its own.

Another app cannot write there: what the first one wrote would be no longer made, and so removed.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
import stat
from collections import defaultdict
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Texts = dict[str, str]
"""The files of a folder, by their path in it, with `/` between its parts."""

LIST = "cdk8s-pypiserver.sha256"
"""The file in the folder that says whose it is and which files are the app's, as `sha256sum --check` reads it."""

_STAGE = ".cdk8s-pypiserver-new"
_APP = "# written by "
"""What the line of the list begins with that names the app; to `sha256sum` it is a comment."""
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>.+)")


class FolderError(RuntimeError):
    """The folder cannot be written without taking something away that is not the app's; nothing was written."""


@dataclass(frozen=True)
class Change:
    """What becomes of one file.

    Attributes:
        kind: `new`, `changed` or `removed`.
        name: The file's path in the folder.
        before: Its text, empty if there was none.
        after: Its text, empty if there will be none.
    """

    kind: str
    name: str
    before: str
    after: str

    def lines(self) -> Iterator[str]:
        """Return the difference as a patch shows it."""
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        yield from difflib.unified_diff(before, after, f"{self.name} (before)", self.name)


@dataclass
class Folder:
    """A folder and the texts that an app wants in it.

    A file is the app's if the list in the folder has it with the digest that it has now. The digests are those of texts
    without carriage returns, so that a checkout with other line ends is the same. A file that has the wanted text
    already is nobody's loss, and so is taken for the app's without being listed.
    """

    path: Path
    texts: Mapping[str, str]
    app: str
    changes: list[Change] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Compare with what is there.

        Raises:
            FolderError: the folder is another app's, or a file that is not the app's, or was edited, is in the way; the
                text names all of them.
        """
        _refuse_shared_places(self.texts)
        _refuse_file(self.path)
        with _alone(self.path):
            self._look()

    def _look(self) -> None:
        self.changes.clear()
        self._folders: set[str] = set()
        self._apps, self._listed = _read_list(self.path / LIST)
        # A list of an earlier version names none.
        if self._apps and self.app not in self._apps:
            raise FolderError(
                f"nothing was written to {self.path}: it is written by {' and '.join(self._apps)}, and this is"
                f" {self.app}: give this app an outdir of its own; if it is that one under another name, say so by"
                f" KustomizeApp(name={self._apps[0]!r})"
            )
        if problems := [f"  {name} {problem}" for name in self._all if (problem := self._compare(name))]:
            raise FolderError("\n".join([f"nothing was written to {self.path}:", *problems]))

    def write(self) -> None:
        """Make the changes; whatever happens meanwhile, the next run knows which files are the app's.

        Raises:
            FolderError: as when it was compared, which it is once more: another run, or an edit, may have come since.
        """
        stage, digests = self.path / _STAGE, {name: [_digest(text)] for name, text in self.texts.items()}
        left = stage.is_symlink() or stage.exists()
        if not self.changes and self._listed == digests and self._apps == [self.app] and not left:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with _alone(self.path):
            self._look()
            self._write(stage, digests)

    def _write(self, stage: Path, digests: Mapping[str, list[str]]) -> None:
        # Of a run that was killed; a link is not followed.
        if stage.is_symlink():
            stage.unlink()
        shutil.rmtree(stage, ignore_errors=True)
        written = [change for change in self.changes if change.kind != "removed"]
        try:
            # A full disk ends it here, when nothing has changed yet.
            for change in written:
                _write(stage / change.name, change.after)
            # Until all is in place a file may have its old text or its new one.
            self._write_list(stage, {name: [*self._listed.get(name, []), *digests.get(name, [])] for name in self._all})
            for change in written:
                target = self.path / change.name
                target.parent.mkdir(parents=True, exist_ok=True)
                (stage / change.name).replace(target)
            for change in self.changes:
                if change.kind == "removed":
                    self._remove(change.name)
            self._write_list(stage, digests)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    @property
    def _all(self) -> list[str]:
        return sorted(self.texts.keys() | self._listed.keys())

    def _compare(self, name: str) -> str | None:
        """Note what becomes of a file; return what is in the way, if anything is."""
        path, after = self.path / name, self.texts.get(name)
        if problem := _unusual_place(self.path, name, self._folders):
            return problem
        try:
            content = _plain(path.read_bytes())
        except FileNotFoundError:
            if after is not None:
                self.changes.append(Change("new", name, "", after))
            return None
        if after is not None and content == after.encode():
            return None
        if name not in self._listed:
            return "was not written by this app: move it away, or give the chart or the object another name"
        if hashlib.sha256(content).hexdigest() not in self._listed[name]:
            return (
                "was edited since it was written: to keep the edit, make it in the app or as a patch in an overlay;"
                " then, or to drop it, delete the file"
            )
        self.changes.append(Change("removed" if after is None else "changed", name, content.decode(), after or ""))
        return None

    def _write_list(self, stage: Path, digests: Mapping[str, list[str]]) -> None:
        lines = [f"{digest}  {name}\n" for name, found in sorted(digests.items()) for digest in dict.fromkeys(found)]
        _write(stage / LIST, "".join([f"{_APP}{self.app}\n", *lines]))
        (stage / LIST).replace(self.path / LIST)

    def _remove(self, name: str) -> None:
        path = self.path / name
        path.unlink(missing_ok=True)
        # A folder stays while anything is in it.
        with suppress(OSError):
            for parent in path.relative_to(self.path).parents[:-1]:
                (self.path / parent).rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other run is in the folder, if it is there and the system can tell."""
    with ExitStack() as opened:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            opened.callback(os.close, descriptor)
            # Not on Windows, where no folder can be opened either.
            import fcntl  # noqa: PLC0415

            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _refuse_file(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise FolderError(
                    f"nothing was written to {folder}: {place} is no folder: move it away, or give the app another"
                    " outdir"
                )
            return


def _refuse_shared_places(texts: Mapping[str, str]) -> None:
    """Refuse names that would be one file or folder, on a file system that takes `A` for `a` too."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    folders: dict[str, str] = {}
    for name in texts:
        parts = name.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or name.lower() == LIST:
            raise FolderError(f"{name!r} is no name for a file of an app: give the chart another id")
        for parent in accumulate(parts[:-1], "{}/{}".format):
            spellings[parent.lower()].add(parent)
            folders[parent.lower()] = name
        spellings[name.lower()].add(name)
    for spelling, names in spellings.items():
        if len(names) > 1:
            raise FolderError(f"{' and '.join(sorted(names))} would be one where A is taken for a: rename one of them")
        if spelling in folders and not names.isdisjoint(texts):
            raise FolderError(f"{names.pop()} would be a file, and the folder of {folders[spelling]}: rename one")


def _unusual_place(folder: Path, name: str, known: set[str]) -> str | None:
    """Return why a file cannot be at a place, if it cannot; adds the folders above it to those that are known."""
    place, parts = str(folder), name.split("/")
    for number, part in enumerate(parts, 1):
        place = f"{place}/{part}"
        if place in known:
            continue
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(mode):
            return "is, or is below, a symbolic link, which may lead anywhere: put a folder in its place"
        if number == len(parts) and stat.S_ISDIR(mode):
            return "is a folder, and a file of this name is to be written: give one of them another name"
        if number < len(parts) and not stat.S_ISDIR(mode):
            above = "/".join(parts[:number])
            return f"is to be written, and {above} is a file: move it away, or give the chart another id"
        if number < len(parts):
            known.add(place)
    return None


def _read_list(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the apps that a list names, and the digests of each file."""
    if not path.exists():
        return [], {}
    if not path.is_file():
        raise FolderError(
            f"nothing was written to {path.parent}: {path.name} is no file, and the app's list belongs there: move it"
            " away"
        )
    apps: list[str] = []
    listed: defaultdict[str, list[str]] = defaultdict(list)
    # Names may have what `splitlines` takes for the end of a line too.
    lines = _plain(path.read_bytes()).decode("utf-8", "replace").removesuffix("\n").split("\n")
    for number, line in enumerate(lines if lines != [""] else [], 1):
        if line.startswith(_APP):
            apps.append(line.removeprefix(_APP))
            continue
        match = _LINE.fullmatch(line)
        if not match or match["name"].startswith("/") or ".." in match["name"].split("/"):
            raise FolderError(
                f"nothing was written to {path.parent}: line {number} of {path.name} is not a digest and the name of a"
                " file in this folder; restore it, or delete all that was generated and synthesize anew"
            )
        listed[match["name"]].append(match["digest"])
    return list(dict.fromkeys(apps)), dict(listed)


def _plain(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
