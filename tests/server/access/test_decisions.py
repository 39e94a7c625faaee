from __future__ import annotations

import dataclasses
import errno
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import webtest

from permissions import rule
from server.access.who import HEADER, RIGHTS, Right, Scope, Who
from server.index.owners import LARGEST
from server.pod import application, start
from server.publish import uploads
from server.publish.hashed import HashedDraft

if TYPE_CHECKING:
    from server.pod.settings import Settings

FORM = {":action": "report", "name": "retention", "report": json.dumps({"reason": ""})}


@pytest.mark.parametrize("right", RIGHTS)
def test_a_token_reports_of_what_it_may_do(app: webtest.TestApp, right: Right) -> None:
    who = Who("ci", "tokens", "token", scope=Scope(("*",), frozenset[Right]({right})))
    is_allowed = right in {"yank", "remove"}
    answer = app.post("/", FORM, headers={HEADER: who.written}, status=200 if is_allowed else 403)
    assert is_allowed or answer.text == "token ci has no right to yank or remove\n"


def test_a_user_reports(app: webtest.TestApp) -> None:
    app.post("/", FORM, headers={HEADER: Who("robot", "publishers").written})


CREATE: dict[str, Any] = {
    "groups": {"core": {"users": ["alice", "bob"]}},
    "rules": [rule("*", create=["@core", "token:ci"])],
}


class Site:
    """A server with rules, as whoever the gateway says is asking sees it."""

    def __init__(self, settings: Settings, permissions: object = CREATE) -> None:
        self.root = settings.packages_directory
        path = self.root.parent / f"permissions-{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(permissions))
        self._app = webtest.TestApp(
            application.create(dataclasses.replace(settings, permissions=path, allow_removal=True))
        )

    def publish(self, who: Who | str, *names: str) -> str:
        """Publish files of these names, and return the status line of the last answer."""
        status = ""
        for name in names:
            files = [("content", name, name.encode())]
            form = {":action": "file_upload"}
            status = self._app.post("/", form, headers=_header(who), upload_files=files, expect_errors=True).status
        return status

    def act(self, who: Who | str, action: str, **form: str) -> str:
        form = {":action": action, "version": "1.0", **form}
        answer: str = self._app.post("/", form, headers=_header(who), expect_errors=True).status
        return answer

    @property
    def owners(self) -> dict[str, str]:
        return {path.name: json.loads(path.read_bytes())["owner"] for path in self.directory.glob("*")}

    @property
    def directory(self) -> Path:
        return self.root / ".pypiserver/owners"

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("*.*") if path.is_file())


def _header(who: Who | str) -> dict[str, str]:
    return {HEADER: (Who(who, "publishers") if isinstance(who, str) else who).written}


@pytest.fixture
def site(settings: Settings, quiet: None) -> Site:  # noqa: ARG001 - it is there for what it does
    return Site(settings)


OK = "200 OK"


def test_whoever_publishes_first_owns(site: Site) -> None:
    assert site.publish("alice", "Demo_Tools-1.0.zip") == OK
    assert site.owners == {"demo-tools": "alice"}
    for name in ("demo_tools-2.0.zip", "Demo.Tools-2.0.tar.gz", "DEMO--TOOLS-2.0.zip"):
        assert site.publish("bob", name) == "403 bob has no right to publish demo-tools"
    assert site.publish("alice", "demo.tools-2.0.zip") == OK
    for action, right in (("yank", "yank"), ("unyank", "yank"), ("remove_pkg", "remove")):
        assert site.act("bob", action, name="DEMO.tools") == f"403 bob has no right to {right} demo-tools"
        assert site.act("alice", action, name="DEMO.tools") == OK
    assert site.files == ["demo.tools-2.0.zip"]


def test_whose_a_name_is_counts_before_a_byte_of_a_file_is_kept(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.root / "old-1.0.zip").write_bytes(b"content")
    later = Site(settings)
    assert later.publish("alice", "demo-1.0.zip") == OK
    assert later.act("alice", "remove_pkg", name="demo") == OK
    monkeypatch.setattr(uploads, "HashedDraft", lambda *_: pytest.fail("a file is kept"))
    for name in ("demo", "old"):
        assert later.publish("bob", f"{name}-2.0.zip") == f"403 bob has no right to publish {name}"


def test_a_bucket_that_is_mounted_knows_owners_too(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    bucket = dataclasses.replace(settings, publish_method="direct")
    start.become_writer(bucket)
    site = Site(bucket)
    assert site.publish("alice", "demo-1.0.zip") == OK
    assert site.publish("bob", "demo-2.0.zip") == "403 bob has no right to publish demo"
    assert site.act("alice", "yank", name="demo") == OK
    assert site.owners == {"demo": "alice"}


def test_who_may_create_none_owns_none(site: Site) -> None:
    assert site.publish("carol", "demo-1.0.zip") == "403 carol has no right to publish demo"
    assert site.publish(Who("other", "tokens", "token"), "demo-1.0.zip").startswith("403 ")
    assert not site.directory.exists()


def test_a_token_owns_by_its_name(site: Site) -> None:
    scope = Scope(("demo*",), frozenset[Right]({"publish"}))
    token = Who("ci", "trusted", "token", scope=scope)
    assert site.publish(token, "other-1.0.zip") == "403 token ci has no right to publish other"
    assert site.publish(token, "demo-1.0.zip", "demo-2.0.zip") == OK
    assert site.owners == {"demo": "token:ci"}
    assert site.act(token, "yank", name="demo") == "403 token ci has no right to yank demo"
    assert site.publish(dataclasses.replace(token, source="tokens"), "demo-3.0.zip") == OK
    for other in ("ci", "alice"):
        assert site.publish(other, "demo-4.0.zip").startswith("403 ")


def test_a_name_stays_ones_own_without_files(site: Site, settings: Settings) -> None:
    assert site.publish("alice", "demo-1.0.zip") == OK
    assert site.act("alice", "remove_pkg", name="demo") == OK
    assert not site.files
    for each in (site, Site(settings)):
        assert each.publish("bob", "demo-1.0.zip") == "403 bob has no right to publish demo"
    assert Site(settings).publish("alice", "demo-1.0.zip") == OK


def test_names_that_had_files_before_are_left_to_nobody(site: Site, settings: Settings) -> None:
    (site.root / "demo-1.0.zip").write_bytes(b"content")
    rules = [rule("*", create=["bob"], publish=["carol"], remove=["carol"])]
    later = Site(settings, {"rules": rules})
    assert later.publish("bob", "demo-2.0.zip") == "403 bob has no right to publish demo"
    assert later.publish("carol", "demo-2.0.zip") == OK
    assert later.owners == {}
    for version in ("1.0", "2.0"):
        assert later.act("carol", "remove_pkg", name="demo", version=version) == OK
    assert not later.files
    # Somebody had it: who has it next is said by a rule.
    assert later.owners == {"demo": ""}
    assert later.publish("bob", "demo-3.0.zip") == "403 bob has no right to publish demo"
    assert later.publish("carol", "demo-3.0.zip") == OK


def test_a_name_is_left_to_nobody_whichever_pods_remove_its_files(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    for version in ("1.0", "2.0"):
        (settings.packages_directory / f"demo-{version}.zip").write_bytes(b"content")
    permissions = {"rules": [rule("*", create=["bob"], remove=["carol"])]}
    # Each of them lists the file that the other removes.
    pods = [Site(settings, permissions) for _ in range(2)]
    for version, pod in zip(("1.0", "2.0"), pods, strict=True):
        assert pod.act("carol", "remove_pkg", name="demo", version=version) == OK
    later = Site(settings, permissions)
    assert not later.files
    assert later.publish("bob", "demo-3.0.zip") == "403 bob has no right to publish demo"


def test_what_is_no_name_is_nobodys(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    (settings.packages_directory / "_demo-1.0.zip").write_bytes(b"content")
    site = Site(settings, {"rules": [rule("*", create=["bob"], remove=["carol"])]})
    assert site.act("carol", "remove_pkg", name="_demo") == "404 _demo (1.0) not found"
    # Whoever has put it there by hand takes it away so.
    assert site.files == ["_demo-1.0.zip"]
    assert not site.owners


def test_whom_the_rule_names_may_besides_and_own_what_they_begin(settings: Settings, quiet: None) -> None:  # noqa: ARG001
    site = Site(settings, {"rules": [rule("*", create=["*"], publish=["carol"], yank=["dora"])]})
    assert site.publish("alice", "demo-1.0.zip") == OK
    assert site.publish("carol", "demo-2.0.zip") == OK
    assert site.act("dora", "yank", name="demo") == OK
    assert site.publish("carol", "other-1.0.zip") == OK
    assert site.owners == {"demo": "alice", "other": "carol"}
    assert site.publish("alice", "other-2.0.zip") == "403 alice has no right to publish other"
    assert site.act("carol", "yank", name="other") == OK


def test_a_rule_gives_a_name_to_others(site: Site, settings: Settings) -> None:
    assert site.publish("alice", "demo-1.0.zip") == OK
    given = Site(settings, {**CREATE, "rules": [*CREATE["rules"], rule("demo", publish=["bob"])]})
    assert given.publish("bob", "demo-2.0.zip") == OK
    assert given.publish("alice", "demo-3.0.zip") == "403 alice has no right to publish demo"
    assert given.act("alice", "yank", name="demo") == "403 alice has no right to yank demo"
    # As long as there is that rule.
    assert Site(settings).publish("alice", "demo-3.0.zip") == OK


def test_without_the_grant_owners_own_nothing(site: Site, settings: Settings) -> None:
    assert site.publish("alice", "demo-1.0.zip") == OK
    other = Site(settings, {"rules": [rule("*", yank=["bob"])]})
    assert other.publish("alice", "demo-2.0.zip") == "403 alice has no right to publish demo"
    assert other.act("alice", "remove_pkg", name="demo") == "403 alice has no right to remove demo"


@pytest.mark.parametrize("content", [b"", b'{"owner": "bob"', b'{"owner": null}', b"[" * LARGEST, b" " * (LARGEST + 1)])
def test_while_nobody_can_tell_whose_it_is_nobody_may(site: Site, content: bytes) -> None:
    site.directory.mkdir(parents=True)
    (site.directory / "demo").write_bytes(content)
    for who in ("alice", "bob"):
        assert site.publish(who, "demo-1.0.zip").startswith("503 Nobody can tell whose demo is")
        assert site.act(who, "yank", name="demo").startswith("503 ")
    assert not site.files
    assert (site.directory / "demo").read_bytes() == content


def test_where_records_cannot_be_kept_nothing_is_published(site: Site) -> None:
    site.directory.parent.mkdir(exist_ok=True)
    site.directory.write_bytes(b"")
    assert site.publish("alice", "demo-1.0.zip").startswith("503 ")
    assert not site.files


def test_while_a_directory_cannot_be_listed_no_name_is_new(
    site: Site, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.root / "nested").mkdir()
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path).name == "nested":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    later = Site(settings)
    assert later.publish("alice", "demo-1.0.zip") == "503 nested on the package volume cannot be listed"
    assert not later.owners


def test_a_file_that_cannot_be_read_is_a_file(site: Site, settings: Settings) -> None:
    (site.root / "demo-1.0.zip").symlink_to("elsewhere")
    later = Site(settings)
    assert later.publish("alice", "demo-2.0.zip") == "403 alice has no right to publish demo"
    assert not later.owners


def test_who_was_first_when_the_whole_file_had_come_is_first(
    settings: Settings,
    quiet: None,  # noqa: ARG001 - it is there for what it does
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, other = Site(settings), Site(settings)
    real = HashedDraft.look_inside
    answers: list[str] = []

    def look_inside(draft: HashedDraft, name: str) -> None:
        monkeypatch.setattr(HashedDraft, "look_inside", real)
        # A request is its thread's.
        with ThreadPoolExecutor(1) as thread:
            answers.append(thread.submit(other.publish, "bob", "demo-2.0.zip").result())
        real(draft, name)

    monkeypatch.setattr(HashedDraft, "look_inside", look_inside)
    assert site.publish("alice", "demo-1.0.zip") == "403 alice has no right to publish demo"
    assert answers == [OK]
    assert site.files == ["demo-2.0.zip"]
    assert site.owners == {"demo": "bob"}


def test_a_record_outlives_the_upload_that_failed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(HashedDraft, "publish", full)
        assert site.publish("alice", "demo-1.0.zip").startswith("507 ")
    assert site.owners == {"demo": "alice"}
    assert site.publish("bob", "demo-1.0.zip") == "403 bob has no right to publish demo"
    assert site.publish("alice", "demo-1.0.zip") == OK
