"""The command line of `copy`; what it starts is loaded only then, as it needs packages of an extra."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction

EXTRA = "copy"
"""What to install for this command."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_DESCRIPTION = """\
Copy packages from SOURCE to TARGET. What is there already with the same sha256 is skipped, what is there with another
is reported and left alone, and a run that was interrupted goes on where it stopped.
"""
_EPILOG = """\
User names and passwords come from the URLs, from the variables COPY_SOURCE_USERNAME, COPY_SOURCE_PASSWORD,
COPY_TARGET_USERNAME and COPY_TARGET_PASSWORD, or from a netrc file. The exit status is 0 if all packages are at the
target, 1 if some failed or differ, 2 if the command line is wrong, 130 if it was interrupted.
"""


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command to those of a parser."""
    parser = commands.add_parser(
        "copy",
        help="copy packages between registries, directories and lock files",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.set_defaults(run=_run)
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="URL of a simple index, a directory, rclone:REMOTE:PATH for a bucket or whatever else rclone knows, or a"
        " lock file (pylock.toml, uv.lock, poetry.lock, requirements.txt with hashes)",
    )
    add("target", metavar="TARGET", help="URL that twine would upload to, or a directory to carry over")
    add(
        "--only",
        metavar="PATTERN",
        action="append",
        default=[],
        type=_pattern,
        help="copy only projects with such a name, like 'acme-*'; may be given several times",
    )
    add("--target-index", metavar="URL", help="simple index of TARGET (default: TARGET/simple/)")
    add("--index", metavar="URL", help="simple index that has the files of a lock file (default: where it says)")
    add(
        "--python",
        metavar="VERSION",
        action="append",
        default=[],
        type=_python,
        help="of a lock file only what this Python installs, such as 3.12; may be given several times",
    )
    add(
        "--platform",
        metavar="TAG",
        action="append",
        default=[],
        type=_platform,
        help="and on this platform, such as manylinux_2_28_x86_64, macosx_14_0_arm64, win_amd64; may be given several"
        " times",
    )
    add("--jobs", metavar="N", type=_positive, default=8, help="how many files are copied at once (default: 8)")
    add("--limit-rate", metavar="BYTES", type=_size, help="most bytes a second each way, such as 10M")
    add(
        "--retries",
        metavar="N",
        type=_natural,
        default=5,
        help="how often a request is tried again that got nowhere (default: 5)",
    )
    add(
        "--timeout", metavar="SECONDS", type=_positive, default=60, help="how long a server may be silent (default: 60)"
    )
    add(
        "--partial",
        metavar="DIRECTORY",
        type=Path,
        help="where unfinished downloads are kept until the next run (default: in TARGET if that is a directory, else"
        " in the user's cache)",
    )
    add(
        "--dry-run",
        action="store_true",
        default=os.environ.get("COPY_DRY_RUN") == "yes",
        help="only tell what would be copied; so does COPY_DRY_RUN=yes in the environment",
    )


def _run(given: Namespace) -> int:
    try:
        from .command import run  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__ or ""):
            raise
        sys.stderr.write(
            f"copy: error: there is no {error.name} here: install the extra '{EXTRA}' of cdk8s-pypiserver\n"
        )
        return 2
    return run(given)


def _pattern(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._*?\[\]!-]+", text):
        raise _wrong(text, "is no pattern for the name of a project")
    return text


def _python(text: str) -> str:
    if not re.fullmatch(r"[0-9]+\.[0-9]+(\.[0-9]+)?", text):
        raise _wrong(text, "is no version of Python, such as 3.12")
    return text


def _platform(text: str) -> str:
    if not re.fullmatch(
        r"(manylinux(1|2010|2014|_[0-9]+_[0-9]+)|musllinux_[0-9]+_[0-9]+|macosx_[0-9]+_[0-9]+|linux)_[a-z0-9_]+"
        r"|win32|win_(amd64|arm64)",
        text,
    ):
        raise _wrong(text, "is no platform tag, such as manylinux_2_28_x86_64, macosx_14_0_arm64 or win_amd64")
    return text


def _natural(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _wrong(text, "is no number")
    return int(text)


def _positive(text: str) -> int:
    if not (number := _natural(text)):
        raise _wrong(text, "has to be 1 or more")
    return number


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12})([KMG]?)", text)
    if not match or not int(match[1]):
        raise _wrong(text, "is no number of bytes, such as 500K or 10M")
    return int(match[1]) * _UNITS[match[2]]


def _wrong(value: Any, why: str) -> argparse.ArgumentTypeError:  # noqa: ANN401
    return argparse.ArgumentTypeError(f"{value!r} {why}")
