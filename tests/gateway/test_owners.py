"""Names that are left to whoever publishes them first: two pods on a shared volume, and clients that race."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from gateway_programs import Registry, Setup, make_sdist, make_wheel, registry, twine_upload
from permissions import ALICE, BOB, READER, publish, rule
from programs import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
RULES = [rule("*", create=["alice", "bob"]), rule("shown", read=["*"])]


@dataclass
class World:
    """Two pods on one volume."""

    pods: list[Registry]

    @property
    def owners(self) -> Mapping[str, str]:
        directory = self.pods[0].server.packages / ".pypiserver/owners"
        return {path.name: json.loads(path.read_bytes())["owner"] for path in directory.glob("*")}

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.pods[0].server.packages.iterdir() if path.is_file())

    def trail(self, **wanted: object) -> list[dict[str, Any]]:
        """The lines of the audit trails, of both pods."""
        texts = "".join(pod.server.log for pod in self.pods).splitlines()
        lines = [json.loads(line) for line in texts if line.startswith('{"audit"')]
        return [line for line in lines if wanted.items() <= line.items()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    permissions = tmp_path / "permissions.json"
    permissions.write_text(json.dumps({"rules": RULES}))
    environment = {
        "PERMISSIONS": str(permissions),
        "AUDIT": "log",
        "ALLOW_REMOVAL": "yes",
        "WRITERS": "many",
        "PODS": "many",
        "PACKAGES_DIRECTORY": str(tmp_path / "shared"),
    }
    (tmp_path / "shared").mkdir()
    with ExitStack() as stack:
        pods = [
            stack.enter_context(registry(tmp_path / name, Setup(permissions=True), environment))
            for name in ("first", "second")
        ]
        for pod in pods:
            for user in (ALICE, BOB):
                pod.server.add_user("publishers", *user)
        yield World(pods)


def act(found: Registry, action: str, who: tuple[str, str], **fields: str) -> int:
    form = {":action": action, "version": "1.0", **fields}
    return found.gateway.request("POST", "/", *who, data=urlencode(form).encode(), headers=FORM).status_code


def test_of_two_who_race_for_names_each_name_is_ones(world: World, tmp_path: Path) -> None:
    names = [f"demo-{number}" for number in range(12)]
    sent = [
        (name, who, pod, make_sdist(tmp_path, name.replace("-", "_"), f"{at}.0"))
        for name in names
        for at, (who, pod) in enumerate(zip((ALICE, BOB), world.pods, strict=True), 1)
    ]

    def send(each: tuple[str, tuple[str, str], Registry, Path]) -> tuple[str, str, int, str]:
        name, who, pod, file = each
        answer = publish(pod, file, who)
        return name, who[0], answer.status_code, answer.reason

    with ThreadPoolExecutor(8) as clients:
        answers = [*clients.map(send, sent)]
    for name in names:
        codes = {user: status for of, user, status, _ in answers if of == name}
        assert sorted(codes.values()) == [200, 403]
        assert codes[world.owners[name]] == 200
        assert world.trail(audit="publish", outcome="done", user=world.owners[name], **{"as": "first"})
    assert {reason for *_, status, reason in answers if status == 403} <= {
        f"{user} has no right to publish {name}" for name in names for user in ("alice", "bob")
    }
    assert len(world.files) == len(names)


def test_twine_publishes_what_is_its_users_after_a_restart_too(world: World, tmp_path: Path) -> None:
    first, second = world.pods
    wheels = [make_wheel(tmp_path, "demo", f"{number}.0") for number in range(1, 4)]
    done = twine_upload(tmp_path, first.gateway.url, wheels[0], credentials=ALICE)
    assert done.returncode == 0, done.stdout
    refused = twine_upload(tmp_path, second.gateway.url, wheels[1], credentials=BOB)
    assert refused.returncode != 0
    assert "bob has no right to publish demo" in " ".join(refused.stdout.split())
    for pod in world.pods:
        pod.server.kill()
    for pod in world.pods:
        pod.server.start()
    assert twine_upload(tmp_path, first.gateway.url, wheels[1], credentials=BOB).returncode != 0
    done = twine_upload(tmp_path, second.gateway.url, wheels[1], credentials=ALICE)
    assert done.returncode == 0, done.stdout
    assert world.files == [each.name for each in wheels[:2]]
    lines = world.trail(audit="publish", outcome="done", user="alice")
    assert [(line["file"], line["as"], line["right"]) for line in lines] == [
        (wheels[0].name, "first", "publishers"),
        (wheels[1].name, "owner", "publishers"),
    ]
    (line, *_) = world.trail(audit="publish", outcome="refused", user="bob")
    assert "as" not in line


def test_the_owner_yanks_and_removes_at_any_pod(world: World, tmp_path: Path) -> None:
    first, second = world.pods
    wheel = make_wheel(tmp_path, "demo", "1.0")
    assert publish(first, wheel, ALICE).ok
    wait_for(lambda: second.gateway.get("/simple/demo/", *ALICE).ok, "the other pod")
    for action in ("yank", "unyank", "remove_pkg"):
        assert act(second, action, BOB, name="Demo") == 403
        assert act(second, action, ALICE, name="Demo") == 200
        assert world.trail(audit=action.removesuffix("_pkg"), outcome="done", user="alice", **{"as": "owner"})
    assert not world.files
    wait_for(lambda: first.gateway.get("/simple/demo/", *ALICE).status_code == 404, "the other pod")
    # What was somebody's is nobody else's.
    for pod in world.pods:
        assert publish(pod, wheel, BOB).reason == "bob has no right to publish demo"
    assert publish(first, wheel, ALICE).ok


def test_the_owner_reads_and_nobody_else(world: World, tmp_path: Path) -> None:
    first, second = world.pods
    wheel = make_wheel(tmp_path, "demo", "1.0")
    for pod in world.pods:
        assert pod.gateway.get("/simple/demo/", *ALICE).status_code == 404
    assert publish(first, wheel, ALICE).ok
    wait_for(lambda: second.gateway.get("/simple/demo/", *ALICE).ok, "the other pod")
    for path in ("/simple/demo/", f"/packages/{wheel.name}"):
        for pod in world.pods:
            assert pod.gateway.get(path, *ALICE).ok
            for who in (BOB, READER):
                assert pod.gateway.get(path, *who).status_code == 404
    for pod in world.pods:
        assert "demo" in pod.gateway.get("/simple/", *ALICE).text
        assert "demo" not in pod.gateway.get("/simple/", *BOB).text


def test_who_may_not_publish_owns_nothing(world: World, tmp_path: Path) -> None:
    world.pods[0].server.add_user("readers", *BOB)
    answer = publish(world.pods[0], make_wheel(tmp_path, "demo", "1.0"), READER)
    assert answer.status_code == 403
    assert not world.owners
