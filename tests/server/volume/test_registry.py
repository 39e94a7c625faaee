"""Two registries on one folder of a bucket: the second one does not start, not even to read."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest
import requests

from programs import PATIENCE, Server, upload
from server.volume import lock, writer
from server.volume import registry as module
from server.volume.registry import FILE, ForeignVolumeError, Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Serve = Callable[..., Server]

PUBLISHER = ("publisher", "publisher-password")
BUCKET = {"PUBLISH_METHOD": "direct", "RESCAN_SECONDS": "0.1", "POLL_SECONDS": "0.1", "READERS": "yes"}
REASON = (
    "the package volume is the place of the registry team-a/pypiserver, and this is {}: two registries cannot share one"
)


@pytest.fixture
def first(serve: Serve) -> Server:
    return serve("first", REGISTRY_NAMESPACE="team-a", **BUCKET)


def other_than(first: Server, directory: Path, **environment: str) -> Server:
    """Another pod on the same folder, whose mount knows no locks."""
    (first.packages / lock.FILE).unlink(missing_ok=True)
    return Server(directory, {"PACKAGES_DIRECTORY": str(first.packages), **BUCKET, **environment})


@pytest.mark.parametrize("role", ["writer", "reader"])
@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"REGISTRY_NAMESPACE": "team-b"}, "team-b/pypiserver"),
        ({"REGISTRY_NAMESPACE": "team-a", "REGISTRY_NAME": "second"}, "team-a/second"),
    ],
)
def test_another_registry_does_not_start(
    first: Server, tmp_path: Path, role: str, environment: dict[str, str], name: str
) -> None:
    record = (first.packages / writer.FILE).read_bytes()
    other = other_than(first, tmp_path / "other", ROLE=role, **environment)
    assert other.launch().wait(PATIENCE) == 1
    assert f"pypiserver cannot start: {REASON.format(name)}" in other.log
    assert "Listening" not in other.log
    # The one whose it is has not been disturbed.
    assert (first.packages / writer.FILE).read_bytes() == record
    assert upload(first.url, "a-1.0.tar.gz", user=PUBLISHER).ok


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_another_pod_of_the_registry_starts(first: Server, tmp_path: Path, role: str) -> None:
    other = other_than(first, tmp_path / "other", ROLE=role, REGISTRY_NAMESPACE="team-a")
    try:
        other.start()
    finally:
        other.kill()


def test_a_registry_that_has_moved_takes_its_volume_along(first: Server, tmp_path: Path) -> None:
    assert upload(first.url, "a-1.0.tar.gz", user=PUBLISHER).ok
    first.kill()
    (first.packages / FILE).unlink()
    moved = other_than(first, tmp_path / "moved", REGISTRY_NAMESPACE="team-b")
    try:
        moved.start()
        assert "/a-1.0.tar.gz" in requests.get(f"{moved.url}/simple/a/", timeout=PATIENCE).text
    finally:
        moved.kill()
    assert first.launch().wait(PATIENCE) == 1
    assert "is the place of the registry team-b/pypiserver" in first.log


@pytest.mark.parametrize("content", [None, b"", b"half of {", b"[]"])
def test_a_volume_that_does_not_say_whose_it_is_is_adopted(first: Server, content: bytes | None) -> None:
    first.kill()
    (first.packages / FILE).unlink()
    if content is not None:
        (first.packages / FILE).write_bytes(content)
    first.start()
    assert json.loads((first.packages / FILE).read_bytes()) == {"registry": "team-a/pypiserver"}


def test_something_else_in_the_place_of_the_record_costs_a_line_of_the_log(first: Server) -> None:
    first.kill()
    (first.packages / FILE).unlink()
    (first.packages / FILE).mkdir()
    first.start()
    assert "whose volume it is cannot be told" in first.log
    assert upload(first.url, "a-1.0.tar.gz", user=PUBLISHER).ok


def test_a_record_that_cannot_be_read_now_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Registry(tmp_path, "team-b/pypiserver").adopt()
    with monkeypatch.context() as patched:
        patched.setattr(module, "content", failing)
        Registry(tmp_path, "team-a/pypiserver").adopt()
    with pytest.raises(ForeignVolumeError, match="is the place of the registry team-b/pypiserver"):
        Registry(tmp_path, "team-a/pypiserver").check()


def failing(*_: object) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("writers", ["one", "many"])
def test_volumes_of_a_claim_and_those_that_may_be_shared_are_anybodys(
    serve: Serve, tmp_path: Path, writers: str
) -> None:
    """A claim has a volume for itself; and where many may write, those of two registries may too."""
    usual = {"WRITERS": writers, "PACKAGES_DIRECTORY": str(tmp_path / "first/packages")}
    first = serve("first", REGISTRY_NAMESPACE="team-a", **usual)
    assert not (first.packages / FILE).exists()
    first.kill()
    serve("second", REGISTRY_NAMESPACE="team-b", **usual)
