"""Stores on loopback, served by rclone itself: one that speaks S3, one of WebDAV."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from programs import PATIENCE, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    from cdk8s_pypiserver.base.remote import RemoteSpec

KEYS = {"access_key_id": "access", "secret_access_key": "secret-of-access"}
"""What a Secret has for the store that speaks S3."""


class RemoteStore:
    """`rclone serve` over a directory; the port is chosen once, so that the store can go away and come back."""

    def __init__(self, kind: str, directory: Path, *arguments: str | Path) -> None:
        self.directory = directory
        self.port = free_port()
        address = f"localhost:{self.port}"
        self._command = ["rclone", "serve", kind, "--config", "", "--addr", address, *map(str, arguments)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        directory = self.directory.parent
        with (directory / f"{self.directory.name}.log").open("ab") as log:
            self.process = subprocess.Popen([*self._command, self.directory], stdout=log, stderr=subprocess.STDOUT)

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (directory / f"{self.directory.name}.log").read_text()
            with suppress(OSError), socket.create_connection(("localhost", self.port), PATIENCE):
                return True
            return False

        wait_for(answers, f"port {self.port}")
        return self

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def s3(directory: Path, *arguments: str) -> RemoteStore:
    """A store that speaks S3, whose buckets are the folders of `directory`; its keys are KEYS."""
    directory.mkdir(exist_ok=True)
    return RemoteStore("s3", directory, "--auth-key", ",".join(KEYS.values()), *arguments)


def s3_options(store: RemoteStore) -> dict[str, str]:
    """Options by which a remote of type s3 is this store."""
    return {"provider": "Rclone", "endpoint": f"http://localhost:{store.port}"}


def told(values: list[dict[str, object]], secret: Mapping[str, str]) -> dict[str, str]:
    """What a container's environment is, with this Secret."""
    plain: dict[str, str] = {"PATH": os.environ["PATH"]}
    for each in values:
        reference = each.get("valueFrom")
        key = reference["secretKeyRef"]["key"] if isinstance(reference, dict) else ""
        plain[str(each["name"])] = secret[key] if key else str(each["value"])
    return plain


def leave_parts(environment: Mapping[str, str], path: str) -> None:
    """Begin an upload in parts, send one of them, and be killed; `path` is as rclone writes it."""
    command = ["rclone", "rcat", "--s3-upload-cutoff=0", "--s3-chunk-size=5Mi", "--streaming-upload-cutoff=0", path]
    whole = {"PATH": os.environ["PATH"], "RCLONE_CONFIG": "/dev/null", **environment}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=whole) as process:
        assert process.stdin
        process.stdin.write(b"x" * (6 << 20))
        process.stdin.flush()
        wait_for(lambda: path.rpartition(":")[2] in uploads_in_parts(environment, path), "the upload")
        process.kill()
        # What is closed now nobody reads any more.
        process.wait()


def uploads_in_parts(environment: Mapping[str, str], path: str) -> list[str]:
    """Bucket and key of each upload in parts that is not finished; all begin with `path`, as rclone writes it."""
    whole = {"PATH": os.environ["PATH"], "RCLONE_CONFIG": "/dev/null", **environment}
    command = ["rclone", "backend", "list-multipart-uploads", path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=whole)
    if "NoSuchUpload" in done.stderr:
        # So rclone's own server says that there are none.
        return []
    listed = json.loads(done.stdout)
    return sorted(f"{bucket}/{each['Key']}" for bucket, found in listed.items() for each in found)


def obscured(password: str) -> str:
    """A password as rclone's configuration has it."""
    done = subprocess.run(["rclone", "obscure", "-"], check=True, capture_output=True, text=True, input=password)
    return done.stdout.strip()


def listed(spec: RemoteSpec, environment: Mapping[str, str]) -> list[str]:
    """What rclone finds in the remote `store`.

    Raises:
        subprocess.CalledProcessError: It cannot list it.
    """
    quick = {**environment, "RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
    command = ["rclone", "lsf", "--recursive", "--files-only", spec.fs("store")]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=quick).stdout.splitlines()
