"""Tokens through the gateway: what each is good for, from when until when, and that wrong ones cost nothing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import requests

from gateway_programs import Registry, make_wheel, multipart, registry, run, twine_upload
from programs import PATIENCE, Server, wait_for
from server.access import token_lines
from server.access.token_lines import USER, Token
from server.access.who import RIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import Response

    from server.access.who import Right

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
READER = ("reader", "reader-password")
PUBLISHER = ("publisher", "publisher-password")


def give(
    server: Server,
    name: str,
    *rights: Right,
    projects: tuple[str, ...] = ("*",),
    expires: datetime | None = None,
    not_before: datetime | None = None,
) -> tuple[str, str]:
    """Add a token to the Secret, and return the credentials."""
    secret = token_lines.make(name)
    token = Token(
        name=name,
        sha256=token_lines.digest(secret),
        rights=rights,
        projects=projects,
        expires=expires,
        not_before=not_before,
    )
    with (server.credentials / "tokens").open("a") as file:
        file.write(f"{token.line}\n")
    return USER, secret


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    environment = {"ALLOW_REMOVAL": "yes", "AUDIT": "log"}
    with registry(tmp_path_factory.mktemp("registry"), environment=environment) as found:
        yield found


def publish(found: Registry, wheel: Path, who: tuple[str, str]) -> Response:
    body, kind = multipart(wheel)
    return found.gateway.request("POST", "/", *who, data=body, headers={"Content-Type": kind})


def act(found: Registry, action: str, who: tuple[str, str], name: str) -> Response:
    form = {":action": action, "name": name, "version": "1.0"}
    return found.gateway.request("POST", "/", *who, data=urlencode(form).encode(), headers=FORM)


def logged(server: Server, **wanted: object) -> list[dict[str, Any]]:
    """The lines of the audit trail that have these values."""
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith('{"audit"')]
    return [line for line in lines if wanted.items() <= line.items()]


def figures(server: Server) -> dict[str, float]:
    """The metrics of the server about tokens."""
    lines = requests.get(f"{server.url}/-/metrics", timeout=PATIENCE).text.splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("pypiserver_token"))
    return {name: float(value) for name, _, value in found}


def test_each_right_is_one_of_its_own(started: Registry, tmp_path: Path) -> None:
    """On projects of the token's patterns, in whatever spelling, and on no other."""
    of = {right: give(started.server, f"only-{right}", right, projects=("Own_*",)) for right in RIGHTS}
    for name in ("own-one", "other"):
        assert publish(started, make_wheel(tmp_path, name, "1.0"), PUBLISHER).ok
    made = make_wheel(tmp_path, "own_two", "1.0"), make_wheel(tmp_path, "other_two", "1.0")
    for right, who in of.items():
        statuses = {
            "publish": [publish(started, wheel, who).status_code for wheel in made],
            "yank": [act(started, "yank", who, name).status_code for name in ("own.one", "other")],
            "unyank": [act(started, "unyank", who, name).status_code for name in ("own.one", "other")],
            "remove": [act(started, "remove_pkg", who, name).status_code for name in ("own-one", "other")],
        }
        expected = {name: [200 if right == name.removeprefix("un") else 403, 403] for name in statuses}
        assert statuses == expected, right
    assert started.gateway.get(f"/packages/{made[0].name}", *READER).content == made[0].read_bytes()
    assert started.gateway.get(f"/packages/{made[1].name}", *READER).status_code == 404


def test_nothing_of_a_refused_file_is_stored(started: Registry, tmp_path: Path) -> None:
    who = give(started.server, "elsewhere", "publish", projects=("elsewhere",))
    wheel = make_wheel(tmp_path, "not_here", "1.0", os.urandom(3_000_000))
    refused = publish(started, wheel, who)
    assert refused.status_code == 403
    assert "token elsewhere has no right to publish not-here" in refused.reason
    assert not [path for path in started.server.packages.rglob("*") if "not_here" in path.name]
    assert started.received() == 0
    (line,) = logged(started.server, outcome="refused", file=wheel.name)
    assert (line["user"], line["status"]) == (USER, 403)


def test_who_reads(started: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "read_me", "1.0")
    assert publish(started, wheel, PUBLISHER).ok
    everything = give(started.server, "reads", "read")
    assert started.gateway.get("/simple/", *everything).ok
    assert started.gateway.get(f"/packages/{wheel.name}", *everything).content == wheel.read_bytes()
    assert publish(started, make_wheel(tmp_path, "not_read", "1.0"), everything).status_code == 403
    for who in (give(started.server, "writes", "publish"), give(started.server, "some", "read", projects=("read-*",))):
        for path in ("/simple/", "/simple/read-me/", f"/packages/{wheel.name}"):
            assert started.gateway.get(path, *who).status_code == 403, path


def test_a_token_of_as_many_projects_as_there_may_be(started: Registry) -> None:
    last = "t" * (token_lines.LONGEST_PROJECTS - 2 * (token_lines.MOST_PROJECTS - 1) - 2)
    projects = (*(["*"] + ["t"] * (token_lines.MOST_PROJECTS - 2)), f"{last}-*")
    assert token_lines.read_projects(",".join(projects)) == projects
    who = give(started.server, "n" * 63, *RIGHTS, projects=projects)
    assert started.gateway.get("/simple/", *who).status_code == 200
    assert act(started, "yank", who, "none").status_code == 404


def test_a_token_is_that_of_the_one_user_alone(started: Registry) -> None:
    _, secret = give(started.server, "somebody", "read")
    assert started.gateway.get("/simple/", USER, secret).ok
    for user in ("publisher", "reader", "nobody", "__TOKEN__", ""):
        assert started.gateway.get("/simple/", user, secret).status_code == 401
    assert started.gateway.get("/simple/", USER, "").status_code == 401
    assert started.gateway.get("/simple/", USER, token_lines.digest(secret)).status_code == 401


def test_a_user_of_the_htpasswd_files_cannot_have_its_name(started: Registry) -> None:
    started.server.add_user("readers", USER, "password")
    assert started.gateway.get("/simple/", USER, "password").status_code == 401
    assert f"line 2: {USER} is the user of tokens, and has no password" in started.server.log


def test_a_token_counts_until_its_end(started: Registry, tmp_path: Path) -> None:
    """The gateway keeps no answer beyond it."""
    end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=4)
    who = give(started.server, "short", "read", "publish", expires=end)
    answers = 0
    while started.gateway.get("/simple/", *who).ok:
        answers += 1
        assert datetime.now(timezone.utc) < end + timedelta(seconds=PATIENCE)
    assert answers
    assert datetime.now(timezone.utc) >= end
    refused = publish(started, make_wheel(tmp_path, "too_late", "1.0"), who)
    assert refused.status_code == 401
    assert refused.reason.startswith("The token has expired")
    assert "the token short is refused: expires" in started.server.log


def test_a_token_counts_from_its_beginning_on(started: Registry, tmp_path: Path) -> None:
    begin = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    who = give(started.server, "later", "read", "publish", not_before=begin)
    assert started.gateway.get("/simple/", *who).status_code == 401
    refused = publish(started, make_wheel(tmp_path, "too_early", "1.0"), who)
    assert refused.status_code == 401
    assert refused.reason.startswith("The token does not count yet")
    assert "the token later is refused: not-before" in started.server.log


def test_what_a_wrong_token_is_told_says_nothing_about_another(started: Registry, tmp_path: Path) -> None:
    give(started.server, "gone", "publish", expires=datetime(2020, 1, 1, tzinfo=timezone.utc))
    refused = publish(started, make_wheel(tmp_path, "guessed", "1.0"), (USER, token_lines.make("gone")))
    assert refused.status_code == 401
    assert refused.reason.startswith("The user name or the password is missing or wrong")


def test_the_trail_and_the_metrics_name_the_token(started: Registry, tmp_path: Path) -> None:
    end = datetime(2127, 1, 31, tzinfo=timezone.utc)
    who = give(started.server, "named", "publish", projects=("trailed",), expires=end)
    name = '{token="named"}'
    assert f"pypiserver_token_last_use_timestamp_seconds{name}" not in figures(started.server)
    before = datetime.now(timezone.utc).timestamp()
    wheel = make_wheel(tmp_path, "trailed", "1.0")
    assert publish(started, wheel, who).ok
    for line in logged(started.server, audit="publish", file=wheel.name):
        assert (line["user"], line["right"]) == (USER, "token:named")
    found = figures(started.server)
    assert found[f"pypiserver_token_expiry_timestamp_seconds{name}"] == end.timestamp()
    assert before <= found[f"pypiserver_token_last_use_timestamp_seconds{name}"]
    assert who[1] not in started.server.log


def test_a_line_that_is_none_takes_no_other_one_away(started: Registry) -> None:
    path = started.server.credentials / "tokens"
    who = give(started.server, "good", "read")
    with path.open("a") as file:
        file.write("pypiserver_ci_SECRET\n")
    assert started.gateway.get("/simple/", *who).ok
    number = len(path.read_text().splitlines())
    wait_for(lambda: f"{path}, line {number} counts for nobody: " in started.server.log, "the log")
    assert "SECRET" not in started.server.log
    assert figures(started.server)["pypiserver_token_problems"] == 1
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "SECRET" not in line))


def test_tokens_alone_are_enough_to_start_with(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    for name in ("readers", "publishers"):
        (server.credentials / name).unlink()
    who = give(server, "ci", "publish")
    with registry(tmp_path) as found:
        assert publish(found, make_wheel(tmp_path, "alone", "1.0"), who).ok


def test_a_flood_of_wrong_tokens_waits_for_no_check_and_keeps_nobody_out(tmp_path: Path) -> None:
    """From the address of those who log in with passwords; the names are right ones and others."""
    with registry(tmp_path) as found:
        give(found.server, "ci", "read")
        guesses = [token_lines.make(name) for name in ("ci", "nobody") for _ in range(1000)]

        def ask(secret: str) -> int:
            url = f"http://127.0.0.1:{found.server.verdicts_port}/-/auth/reader"
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(url, auth=(USER, secret), timeout=PATIENCE).status_code
            return 401

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(ask, guesses))
        assert set(answers) == {401}
        # A guesser would wait here for others, and with a password of a user that is not there get no check at all.
        assert found.gateway.get("/simple/", *READER).ok
        assert found.gateway.get("/simple/", *PUBLISHER).ok


def test_one_takes_the_place_of_another_while_it_is_used(tmp_path: Path) -> None:
    """As a kubelet changes a Secret, by a symbolic link, in the three steps of docs/tokens.md."""
    with registry(tmp_path) as found:
        directory = found.server.credentials
        lines, secrets = dict[str, str](), dict[str, tuple[str, str]]()
        for name in ("old", "new"):
            secrets[name] = give(found.server, name, "read", "publish")
            lines[name] = (directory / "tokens").read_text()
            (directory / "tokens").unlink()

        def mount(version: str, *names: str) -> None:
            (directory / f"..{version}").mkdir()
            (directory / f"..{version}/tokens").write_text("".join(lines[name] for name in names))
            (directory / "..next").symlink_to(f"..{version}")
            (directory / "..next").rename(directory / "..data")

        (directory / "tokens").symlink_to("..data/tokens")
        mount("1", "old")
        current, failed, asked, over = ["old"], list[int](), [0], threading.Event()

        def use() -> None:
            while not over.is_set():
                who, asked[0] = secrets[current[0]], asked[0] + 1
                wheel = make_wheel(tmp_path, "used", f"{asked[0]}.0")
                answers = publish(found, wheel, who), found.gateway.get("/simple/", *who)
                failed.extend(answer.status_code for answer in answers if not answer.ok)

        def more_than(number: int) -> bool:
            return asked[0] > number

        user = threading.Thread(target=use)
        user.start()
        try:
            for version, names in (("2", ("old", "new")), ("3", ("new",))):
                wait_for(partial(more_than, asked[0] + 5), "requests")
                mount(version, *names)
                wait_for(lambda: found.gateway.get("/simple/", *secrets["new"]).ok, "the other token")
                current[0] = "new"
            # The gateway still knows the old one, for half a minute.
            url = f"http://127.0.0.1:{found.server.verdicts_port}/-/auth/reader"
            assert requests.get(url, auth=secrets["old"], timeout=PATIENCE).status_code == 401
            wait_for(partial(more_than, asked[0] + 5), "requests")
        finally:
            over.set()
            user.join()
        assert failed == []


def test_twine_uv_and_pip(started: Registry, tmp_path: Path) -> None:
    _, secret = give(started.server, "clients", "read", "publish")
    by_twine, by_uv = make_wheel(tmp_path, "by_twine", "1.0"), make_wheel(tmp_path, "by_uv", "1.0")
    url = started.gateway.url
    done = twine_upload(tmp_path, url, by_twine, credentials=(USER, secret))
    assert done.returncode == 0, done.stdout
    done = run(tmp_path, "uv", "publish", "--no-cache", "--publish-url", f"{url}/", "--token", secret, str(by_uv))
    assert done.returncode == 0, done.stdout
    address = url.replace("://", f"://{USER}:{secret}@") + "/simple/"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir"]
    for name, command in {
        "pip": [*pip, "--index-url", address],
        "uv": ["uv", "pip", "install", "--no-cache", "--python", sys.executable, "--default-index", address],
    }.items():
        target = tmp_path / f"installed-by-{name}"
        done = run(tmp_path, *command, "--target", str(target), "by-twine", "by-uv")
        assert done.returncode == 0, done.stdout
        assert {path.name for path in target.glob("by_*.py")} == {"by_twine.py", "by_uv.py"}
    refused = twine_upload(
        tmp_path, url, make_wheel(tmp_path, "by_nobody", "1.0"), credentials=(USER, token_lines.make("clients"))
    )
    assert refused.returncode != 0
    assert "password is missing or wrong" in refused.stdout
