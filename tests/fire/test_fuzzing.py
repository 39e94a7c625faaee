"""Any input at all, through the gateway and past it: nothing fails, grows, leaks or is lost.

FUZZ_INPUTS says how many inputs (`make fuzz`), FUZZ_SEED which.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import logging
import os
import re
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings

import hostile_forms
import hostile_requests
import vitals
from gateway_programs import Registry, basic, make_wheel, registry
from hostile_requests import PUBLISHER, READER
from server.http.negotiation import JSON
from server.index.names import name_and_version, normalised
from wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from hostile_forms import Form
    from hostile_requests import Request

INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
PARTS = max(1, INPUTS // 12_500)
"""Into how many runs the inputs are split, each with a registry of its own: pages grow with what has been published."""
each_part = pytest.mark.parametrize("part", range(PARTS))
DELIBERATE = frozenset({501, 505})
"""What nginx answers to a transfer coding and to an HTTP version that it does not know."""
GATEWAY_GROWTH = 16 * vitals.MEBIBYTE
SERVER_GROWTH = 48 * vitals.MEBIBYTE
ENTRY_BYTES = 4096
"""How much memory a listed file may take beyond that."""
SECRETS = [password for _, password in (READER, PUBLISHER)]
SECRETS += [basic(*user).removeprefix("Basic ") for user in (READER, PUBLISHER)]

_log = logging.getLogger("fuzzing")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Registry]:
    """The pair with one project; whatever the inputs did, it must be as well at the end as it was before them."""
    with registry(tmp_path / "registry") as started:
        assert started.upload(make_wheel(tmp_path, "demo", "1.0")).status_code == 200
        warm_up(started)
        masters = {"gateway": started.gateway.process, "server": started.server.process}
        pids = {name: vitals.workers(master) for name, master in masters.items()}
        before = {name: vitals.memory(each) for name, each in pids.items()}
        yield started
        assert {name: vitals.workers(master) for name, master in masters.items()} == pids
        grown = {name: vitals.memory(each) - before[name] for name, each in pids.items()}
        listed = len(packages(started))
        _log.info("grown by %s bytes with %d files listed", grown, listed)
        assert grown["gateway"] < GATEWAY_GROWTH
        assert grown["server"] < SERVER_GROWTH + listed * ENTRY_BYTES
        assert not vitals.files(started.server.temporary)
        assert not vitals.files(started.gateway.temporary)
        assert not (started.server.packages / ".pypiserver/unfinished").exists() or not vitals.files(
            started.server.packages / ".pypiserver/unfinished"
        )
        assert started.gateway.stop() == 0
        assert "Traceback" not in started.server.log
        # gunicorn repeats lines that are no request; who can send it such is in the pod.
        log = "".join(line for line in started.server.log.splitlines() if "Invalid request from" not in line)
        access_log = (started.gateway.directory / "access.log").read_text()
        logs = log, started.gateway.error_log, access_log
        assert not [secret for secret in SECRETS for log in logs if secret in log]
        # nginx's own errors show the line of the request.
        assert hostile_requests.QUERY_SECRET.decode() not in access_log
        assert {line["status"] for line in started.gateway.access_log if line["status"] >= 500} <= DELIBERATE


def warm_up(started: Registry) -> None:
    """Let every thread and buffer be there before memory is looked at."""
    with Wire(started.server.port) as wire:
        for path in (b"/simple/demo/", b"/simple/absent/", b"/packages/") * 50:
            assert wire.ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path) in {200, 404}


def packages(started: Registry) -> list[Path]:
    return [path for path in started.server.packages.iterdir() if path.is_file()]


def fuzz(strategy: SearchStrategy[object], share: float, part: int, check: Callable[..., None]) -> None:
    bounds = settings(
        max_examples=max(1, int(INPUTS * share / PARTS)),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
    )
    _log.info("FUZZ_SEED=%d, part %d of %d", SEED, part + 1, PARTS)
    seed(f"{SEED}-{part}")(bounds(given(strategy)(check)))()


@each_part
@pytest.mark.parametrize(("target", "share"), [("gateway", 0.4), ("server", 0.2)])
def test_any_request_is_answered_and_logged_once(running: Registry, target: str, share: float, part: int) -> None:
    port = running.gateway.port if target == "gateway" else running.server.port
    before = vitals.files(running.server.directory)
    sent = 0

    with Wire(port) as wire:

        def check(request: Request) -> None:
            nonlocal sent
            sent += 1
            content = request.content.replace(hostile_requests.TOKEN, b"fuzz-%d-" % sent)
            if request.framed:
                statuses = [wire.ask(content, head_only=request.head_only)]
                assert statuses != [0]
            else:
                statuses = wire.throw(content)
            assert not [status for status in statuses if status >= 500 and status not in DELIBERATE]

        fuzz(hostile_requests.requests(), share, part, check)
        _log.info("%d requests to the %s, %d answers", sent, target, wire.answers)
    assert vitals.files(running.server.directory) - before <= {
        f"pages/projects/demo{suffix}" for suffix in (".html", ".json")
    } | {f"pages/index{suffix}" for suffix in (".html", ".json")} | {
        "pages/metadata/demo-1.0-py3-none-any.whl.metadata",
        "packages/.pypiserver/facts-1/demo.json",
    }
    agents = [line["user_agent"] for line in running.gateway.access_log]
    logged = collections.Counter(re.findall(r"fuzz-\d+-", " ".join(agents)))
    assert not [token for token, times in logged.items() if times > 1]


@each_part
@pytest.mark.parametrize("target", ["gateway", "server"])
def test_any_form_is_published_whole_or_refused(running: Registry, target: str, part: int) -> None:
    url = running.gateway.url if target == "gateway" else running.server.url
    before = vitals.files(running.server.directory)
    statuses: collections.Counter[int] = collections.Counter()
    stored, numbers = 0, itertools.count(1)

    def check(drawn: Form) -> None:
        nonlocal stored
        form = drawn.numbered(next(numbers))
        # A connection of its own for each: the server closes idle ones, sometimes just as the next request comes.
        headers: dict[str, str | bytes] = {"Content-Type": form.content_type, "Connection": "close"}
        known = {name for name, _ in form.files if exists(running, name)}
        answer = requests.post(f"{url}/", data=form.body, headers=headers, auth=PUBLISHER, timeout=60)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500
        new = {name: content for name, content in form.files if name not in known and exists(running, name)}
        if answer.headers.get("X-Stored") != "yes":
            assert not new
            return
        assert new
        stored += len(new)
        for name, content in new.items():
            assert_there(running, name, [each for other, each in form.files if other == name] or [content])

    fuzz(hostile_forms.forms(), 0.2, part, check)
    _log.info("forms to the %s: %s; %d files stored", target, dict(statuses), stored)
    assert len(packages(running)) == stored + 1
    assert statuses[200] > INPUTS * 0.02 / PARTS, "hardly anything was accepted"
    outside = {
        path for path in vitals.files(running.server.directory) - before if not path.startswith(("packages/", "pages/"))
    }
    assert not outside


def exists(running: Registry, name: str) -> bool:
    return (
        "\0" not in name
        and len(name.encode("utf-8", "surrogatepass")) < 256
        and (running.server.packages / name).is_file()
    )


def assert_there(running: Registry, name: str, contents: list[bytes]) -> None:
    """Listed in both forms with its digest, and downloaded with its bytes."""
    there = (running.server.packages / name).read_bytes()
    assert there in contents
    guess = name_and_version(name)
    assert guess
    page = f"/simple/{normalised(guess[0])}/"
    assert f">{name}</a>" in running.gateway.get(page, *READER).text
    if name.endswith(".asc"):
        return
    files = {file["filename"]: file for file in running.gateway.get(page, *READER, Accept=JSON).json()["files"]}
    assert files[name]["hashes"] == {"sha256": hashlib.sha256(there).hexdigest()}
    assert running.gateway.get(f"/packages/{name}", *READER).content == there
