"""What an upload shows of a file while it comes is known from then on: nobody reads the file again for it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import TYPE_CHECKING

import pytest
import requests

from gateway_programs import make_wheel
from programs import PATIENCE, upload, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from programs import Server

PUBLISHER = ("publisher", "publisher-password")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
METADATA = "demo-1.0.dist-info/METADATA"


def publish(server: Server, directory: Path) -> tuple[bytes, bytes]:
    """Publish a wheel, and put other bytes of the same size and time into its place; returns it and its METADATA."""
    wheel = make_wheel(directory, "demo", "1.0", os.urandom(100_000), headers="Requires-Python: >=3.8\n")
    content = wheel.read_bytes()
    upload(server.url, wheel.name, content, PUBLISHER).raise_for_status()
    stored = server.packages / wheel.name
    status = stored.stat()
    stored.write_bytes(bytes(status.st_size))
    os.utime(stored, ns=(status.st_atime_ns, status.st_mtime_ns))
    return content, zipfile.ZipFile(wheel).read(METADATA)


def check_page(server: Server, content: bytes, metadata: bytes) -> None:
    (file,) = requests.get(f"{server.url}/simple/demo/", headers=JSON, timeout=PATIENCE).json()["files"]
    assert file["hashes"] == {"sha256": hashlib.sha256(content).hexdigest()}
    assert file["core-metadata"] == {"sha256": hashlib.sha256(metadata).hexdigest()}
    assert file["requires-python"] == ">=3.8"


@pytest.mark.parametrize("method", ["link", "direct"])
def test_the_first_page_and_metadata_need_no_file(method: str, serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(PUBLISH_METHOD=method)
    content, metadata = publish(server, tmp_path)
    check_page(server, content, metadata)
    address = f"{server.url}/packages/demo-1.0-py3-none-any.whl.metadata"
    kept = server.pages / "metadata/demo-1.0-py3-none-any.whl.metadata"
    # The gateway serves it from there.
    assert kept.read_bytes() == metadata
    assert not requests.get(address, timeout=PATIENCE).ok


@pytest.mark.parametrize("method", ["link", "direct"])
def test_neither_does_another_pod_though_nobody_asked_for_the_page(
    method: str, serve: Callable[..., Server], tmp_path: Path
) -> None:
    writer = serve("writer", PUBLISH_METHOD=method, READERS="yes")
    content, metadata = publish(writer, tmp_path)
    facts = writer.packages / ".pypiserver/facts-1/demo.json"
    wait_for(facts.exists, "what is known of the files")
    reader = serve(
        "reader", PUBLISH_METHOD=method, READERS="yes", ROLE="reader", PACKAGES_DIRECTORY=str(writer.packages)
    )
    check_page(reader, content, metadata)
