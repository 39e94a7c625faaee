"""Uploads in parts that a run which was killed has left in a bucket: the parts cost, and no listing shows them."""

from __future__ import annotations

import logging
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_AGE = "24h"
"""How old an upload must be: longer than the one of a file takes."""
_WHAT = "the parts of unfinished uploads cannot be removed"
_NONE = "NoSuchUpload"
"""What rclone's own S3 server answers as long as there are none."""
_ENCODING = "Slash,InvalidUtf8,Dot"
"""How rclone writes names for S3 by itself."""
_END = "\N{FULLWIDTH SOLIDUS}"
"""A slash as rclone writes it in a name."""
_TELLING = ("RCLONE_LOG_", "RCLONE_QUIET", "RCLONE_USE_JSON_LOG", "RCLONE_VERBOSE")
"""Variables that have rclone say in another way what it has ended."""
_log = logging.getLogger("parts")


def end_parts(fs: str, program: str) -> None:
    """End what uploads a day ago or earlier have left below a place; that a store does not let it is said to the log.

    Args:
        fs: What rclone calls the place, which may be in no bucket.
        program: rclone.
    """
    place = place_of(fs, os.environ)
    if place is None:
        return
    command = [program, "backend", "cleanup", place, "-o", f"max-age={_AGE}", "--verbose"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_TELLING)}
    done = subprocess.run(
        command, env=environment, capture_output=True, check=False, encoding="utf-8", errors="replace"
    )
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        if _NONE not in done.stderr:
            _log.warning("%s: %s", _WHAT, lines[-1] if lines else f"rclone ended with {done.returncode}")
        return
    for line in lines:
        if " ERROR " in line:
            _log.warning("%s: %s", _WHAT, line)
        elif "removing " in line:
            _log.info("%s", line)


def place_of(fs: str, environment: Mapping[str, str]) -> str | None:
    """What rclone takes as all below a place, and nothing beside it; None if that is in no bucket of S3.

    It takes a slash from the end of a path, and then all that begins with it: `pypi-old` with `pypi`. So the slash is
    written as one of a name, which an encoding puts back as it is that has none for it.
    """
    name, _, path = fs.partition(":")
    path = path.strip("/")
    prefix = f"RCLONE_CONFIG_{name.upper()}_"
    kind = environment.get(f"{prefix}TYPE")
    if kind == "crypt" and not path:
        return place_of(environment.get(f"{prefix}REMOTE", ""), {**environment, f"{prefix}TYPE": ""})
    # Without a bucket rclone would take all that there are.
    if kind != "s3" or not path:
        return None
    encoding = environment.get(f"{prefix}ENCODING", _ENCODING).split(",")
    kept = ",".join(each for each in encoding if each != "Slash") or "None"
    return f'{name},encoding="{kept}":{path}{_END if "/" in path else ""}'
