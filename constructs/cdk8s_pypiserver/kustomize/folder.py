"""A folder of generated files: written as a whole, and never without showing what changes."""

import difflib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

Texts = dict[str, str]
"""The files of a folder, by their path in it."""


def write_folder(folder: Path, texts: Texts) -> None:
    """Write the files; others that are there stay."""
    for parent in {(folder / name).parent for name in texts}:
        parent.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")


def replace_folder(folder: Path, texts: Texts) -> None:
    """Print how the folder changes, and make it hold these files and no others.

    The old folder stays whole until the new one is complete; where nothing changes, nothing is written.
    """
    changes = list(_changes(folder, texts))
    if not changes and folder.exists():
        return
    sys.stdout.writelines(changes)
    # Beside the folder, so that it can be renamed into place.
    stage, old = (folder.with_name(f".{folder.name}-{os.getpid()}-{part}") for part in ("new", "old"))
    try:
        write_folder(stage, texts)
        if folder.exists():
            folder.rename(old)
        stage.rename(folder)
    finally:
        for left in (stage, old):
            shutil.rmtree(left, ignore_errors=True)


def _changes(folder: Path, texts: Texts) -> Iterator[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    before = {path.relative_to(folder).as_posix(): path for path in paths}
    for name in sorted(before.keys() | texts.keys()):
        old = before[name].read_text("utf-8") if name in before else ""
        new = texts.get(name, "")
        if old != new or (name in before) != (name in texts):
            label = f"{folder.name}/{name}"
            lines, new_lines = (text.splitlines(keepends=True) for text in (old, new))
            difference = list(difflib.unified_diff(lines, new_lines, f"{label} (before)", label))
            # An empty file that comes or goes has no line that differs.
            yield from difference or [f"{label}\n"]
