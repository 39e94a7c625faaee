"""Permissions by project: who may publish, yank and remove what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import urllib3

from gateway_programs import Registry, make_sdist, make_wheel, registry
from permissions import ALICE, BOB, READER, publish, rule
from server.access.who import Who
from vitals import stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PERMISSIONS = {
    "groups": {"core": {"users": ["alice"]}},
    "rules": [
        rule("Acme_*", publish=["@core"], yank=["@core"], remove=["@core"]),
        rule("bobs", publish=["bob", "reader"]),
    ],
}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Registry]:
    permissions = tmp_path / "permissions.json"
    permissions.write_text(json.dumps(PERMISSIONS))
    environment = {"PERMISSIONS": str(permissions), "AUDIT": "log", "ALLOW_REMOVAL": "yes"}
    with registry(tmp_path, environment=environment) as found:
        for user in (ALICE, BOB):
            found.server.add_user("publishers", *user)
        yield found


def send(found: Registry, who: tuple[str, str], *files: tuple[str, str], **fields: str) -> Response:
    """Send a form with these fields, and after them files by the field and the name of each."""
    form: list[Any] = [*fields.items(), *((field, (name, b"content")) for field, name in files)]
    body, kind = urllib3.encode_multipart_formdata([(":action", "file_upload"), *form])
    return found.gateway.request("POST", "/", *who, data=body, headers={"Content-Type": kind})


def act(found: Registry, action: str, who: tuple[str, str], **fields: str) -> Response:
    form = {":action": action, "version": "1.0", **fields}
    return found.gateway.request("POST", "/", *who, data=urlencode(form).encode(), headers=FORM)


def refused(answer: Response, user: str, right: str, project: str) -> bool:
    return (answer.status_code, answer.reason) == (403, f"{user} has no right to {right} {project}")


def test_each_publishes_what_is_theirs(started: Registry, tmp_path: Path) -> None:
    tools, bobs = make_wheel(tmp_path, "acme_tools", "1.0"), make_wheel(tmp_path, "bobs", "1.0")
    assert refused(publish(started, tools, BOB), "bob", "publish", "acme-tools")
    assert refused(publish(started, bobs, ALICE), "alice", "publish", "bobs")
    assert publish(started, tools, ALICE).ok
    assert publish(started, bobs, BOB).ok
    # A rule gives nobody what the credentials do not.
    answer = publish(started, make_wheel(tmp_path, "bobs", "2.0"), READER)
    assert (answer.status_code, answer.reason) == (403, "This user may not publish or remove")
    assert stored(started.server.packages) == [tools.name, bobs.name]


def test_what_is_there_is_told_to_nobody_else(started: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "acme_tools", "1.0")
    assert publish(started, wheel, ALICE).ok
    assert publish(started, wheel, ALICE).status_code == 409
    for answer in (publish(started, wheel, BOB), publish(started, make_wheel(tmp_path, "acme_none", "1.0"), BOB)):
        assert answer.status_code == 403
    for project in ("acme-tools", "acme-none"):
        assert refused(act(started, "yank", BOB, name=project), "bob", "yank", project)
        assert refused(act(started, "remove_pkg", BOB, name=project), "bob", "remove", project)


def test_yanking_and_removing(started: Registry, tmp_path: Path) -> None:
    for wheel, who in ((make_wheel(tmp_path, "acme_tools", "1.0"), ALICE), (make_wheel(tmp_path, "bobs", "1.0"), BOB)):
        assert publish(started, wheel, who).ok
    for action, right in (("yank", "yank"), ("unyank", "yank"), ("remove_pkg", "remove")):
        # A right is one of its own.
        assert refused(act(started, action, BOB, name="bobs"), "bob", right, "bobs")
        assert refused(act(started, action, BOB, name="ACME.Tools"), "bob", right, "acme-tools")
        assert act(started, action, ALICE, name="ACME.Tools").ok
    assert stored(started.server.packages) == ["bobs-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "name", ["Acme_Tools-1.0.tar.gz", "acme.tools-1.0.zip", "ACME--TOOLS-1.0.tar.gz", "acme_tools-1.0-py3-none-any.whl"]
)
def test_another_spelling_is_the_same_name(started: Registry, name: str) -> None:
    assert refused(send(started, BOB, ("content", name)), "bob", "publish", "acme-tools")
    assert refused(send(started, BOB, ("content", name), name="bobs"), "bob", "publish", "acme-tools")


def test_no_file_hides_behind_another(started: Registry) -> None:
    own, others = "bobs-1.0.tar.gz", "acme_tools-1.0.tar.gz"
    for files in (
        [("content", own), ("gpg_signature", f"{others}.asc")],
        [("gpg_signature", f"{others}.asc"), ("content", own)],
        [("content", others), ("gpg_signature", f"{own}.asc")],
    ):
        assert refused(send(started, BOB, *files), "bob", "publish", "acme-tools")
    assert send(started, BOB, ("content", own), name="acme-tools").status_code == 400
    # The name that counts is the file's, whatever the form says.
    assert refused(send(started, BOB, ("content", others), name="bobs"), "bob", "publish", "acme-tools")
    assert not stored(started.server.packages)


def test_nobody_says_who_they_are(started: Registry, tmp_path: Path) -> None:
    forged = Who("alice", "publishers").written
    answer = publish(started, make_wheel(tmp_path, "acme_tools", "1.0"), BOB, **{"X-Who": forged, "X_Who": forged})
    assert refused(answer, "bob", "publish", "acme-tools")


def test_the_trail_names_what_was_refused(started: Registry, tmp_path: Path) -> None:
    publish(started, make_sdist(tmp_path, "acme_tools", "1.0"), BOB)
    lines = [json.loads(line) for line in started.server.log.splitlines() if line.startswith('{"audit"')]
    (line,) = (line for line in lines if line["outcome"] == "refused")
    facts = {name: line[name] for name in ("audit", "user", "right", "file", "status", "reason")}
    assert facts == {
        "audit": "publish",
        "user": "bob",
        "right": "publishers",
        "file": "acme_tools-1.0.tar.gz",
        "status": 403,
        "reason": "bob has no right to publish acme-tools",
    }
