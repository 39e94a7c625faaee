"""Users and rules of permissions, and a publish by one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_programs import multipart
from server.access.rights import GRANTS

if TYPE_CHECKING:
    from pathlib import Path

    from requests import Response

    from gateway_programs import Registry

ALICE, BOB, READER = ("alice", "alices"), ("bob", "bobs"), ("reader", "reader-password")


def rule(*projects: str, **grants: list[str]) -> dict[str, Any]:
    """A rule as the file of the permissions has it."""
    assert grants.keys() <= {"excluding", *GRANTS}
    return {"projects": list(projects), **grants}


def publish(found: Registry, path: Path, who: tuple[str, str], **headers: str) -> Response:
    """Publish a file as twine does."""
    body, kind = multipart(path)
    return found.gateway.request("POST", "/", *who, data=body, headers={"Content-Type": kind, **headers})
