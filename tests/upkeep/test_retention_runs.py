"""The program of retention against a registry that runs: what is taken, what is reported, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cdk8s_pypiserver import GatewaySpec, RetentionRuleSpec
from certificates import Authority
from certificates import put as put_certificate
from gateway.test_writer import pair
from gateway_programs import Gateway, Registry, Setup
from programs import Server, wait_for
from retaining import PUBLISHER, READER, REMOVAL, Runner, put, registry_of, there

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAST = RetentionRuleSpec(keep_versions=2)
FILES = {"acme-1.0": 400, "acme-2.0": 300, "acme-3.0": 200, "acme-4.0": 3, "tools-1.0": 400}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Registry, Runner]]:
    with registry_of(tmp_path, FILES) as started:
        yield started


def listed(registry: Registry, project: str) -> list[str]:
    page = registry.gateway.get(f"/simple/{project}/", *READER, Accept="application/vnd.pypi.simple.v1+json")
    return sorted(each["filename"] for each in page.json()["files"]) if page.ok else []


def test_a_dry_run_reports_and_changes_nothing(running: tuple[Registry, Runner]) -> None:
    registry, job = running
    job.login = READER
    done = job.run(LAST, dry_run=True)
    assert (done.status, done.going, done.removed) == (0, ["acme 1.0", "acme 2.0"], [])
    assert there(registry) == sorted(FILES)
    assert re.search(r"has 2 projects with 5 versions in 5 files, \d+\.\d KiB\.", done.said)
    assert re.search(
        r"^  acme 2\.0 \(1 file, \d+ B, uploaded \d{4}-\d\d-\d\d\): not among the last 2 versions; "
        r"rule 1 \(every other project\)$",
        done.said,
        re.MULTILINE,
    )
    assert "    3 versions: among the last 2 versions" in done.said
    assert done.said.endswith(done.termination)
    assert done.termination.startswith("Dry run, nothing was changed: 2 versions would go, ")


def test_what_goes_is_removed_by_the_server(running: tuple[Registry, Runner]) -> None:
    registry, job = running
    put(registry.server.packages, "acme", "1.0", 400, sdist=True)
    registry.server.stop()
    registry.server.start()
    done = job.run(LAST)
    assert (done.status, done.removed) == (0, ["acme 1.0", "acme 2.0"]), done.said
    assert done.termination.startswith("Removed 2 versions in 3 files, ")
    assert there(registry) == ["acme-3.0", "acme-4.0", "tools-1.0"]
    assert listed(registry, "acme") == ["acme-3.0-py3-none-any.whl", "acme-4.0-py3-none-any.whl"]
    assert registry.server.log.count("'publisher' removed acme-1.0") == 2
    again = job.run(LAST)
    assert (again.status, again.going, again.removed) == (0, [], []), again.said


def test_versions_can_be_yanked_instead(running: tuple[Registry, Runner]) -> None:
    registry, job = running
    done = job.run(LAST, action="yank", yank_reason="too old")
    assert (done.status, done.removed) == (0, ["acme 1.0", "acme 2.0"]), done.said
    assert there(registry) == sorted(FILES)
    page = registry.gateway.get("/simple/acme/", *READER, Accept="application/vnd.pypi.simple.v1+json").json()
    assert [each["yanked"] for each in page["files"]] == ["too old", "too old", False, False]
    again = job.run(LAST, action="yank")
    assert (again.status, again.going, again.spared) == (0, [], ["acme 1.0", "acme 2.0"]), again.said
    assert "yanked already" in again.said


def test_what_is_pinned_or_young_is_reported_with_the_reason(running: tuple[Registry, Runner]) -> None:
    registry, job = running
    done = job.run(RetentionRuleSpec(keep_versions=1), pinned=["acme==1.*", "gone"], minimum_age_days=250)
    assert (done.status, done.removed) == (0, ["acme 2.0"]), done.said
    assert done.spared == ["acme 1.0", "acme 3.0"]
    assert re.search(r"acme 1\.0 \(.*\): pinned by acme==1\.\* \(not the last version\)", done.said)
    assert re.search(r"acme 3\.0 \(.*\): younger than 250 days, the minimum age", done.said)
    assert "Matches nothing: gone in pinned is about no version that is here." in done.said
    assert there(registry) == ["acme-1.0", "acme-3.0", "acme-4.0", "tools-1.0"]


def test_a_pattern_that_matches_nothing_is_reported(running: tuple[Registry, Runner]) -> None:
    _, job = running
    done = job.run(RetentionRuleSpec(projects=["acem-*"], keep_versions=1), dry_run=True)
    assert (done.status, done.going) == (0, [])
    assert "Matches nothing: rule 1 (acem-*) is about no project that is here." in done.said
    assert "  no rule: 2 projects\n    5 versions: no rule is about it" in done.said


@pytest.mark.parametrize("bound", [{"most_versions": 1}, {"most_percent": 39}])
def test_a_run_that_would_take_too_much_takes_nothing(bound: dict[str, Any], running: tuple[Registry, Runner]) -> None:
    registry, job = running
    done = job.run(LAST, **bound)
    assert (done.status, done.removed) == (1, [])
    assert "nothing was changed: 2 of 5 versions (40.0 %) would go, and one run may take" in done.termination
    assert there(registry) == sorted(FILES)
    dry = job.run(LAST, dry_run=True, **bound)
    assert dry.status == 0
    assert "Such a run would stop before it changes anything: 2 of 5 versions" in dry.termination
    assert job.run(LAST, most_versions=2, most_percent=40).removed == ["acme 1.0", "acme 2.0"]


@pytest.mark.parametrize(
    ("login", "says"),
    [
        (("publisher", "wrong"), "Stopped: the registry cannot be read: it says 401"),
        (READER, "Stopped: the registry says 403"),
        (("publisher", ""), "cannot begin: the Secret team-publisher must have the keys username and password"),
        (None, "cannot begin: the Secret team-publisher must have the keys username and password"),
    ],
)
def test_a_user_who_may_not_is_told(login: tuple[str, str] | None, says: str, running: tuple[Registry, Runner]) -> None:
    registry, job = running
    job.login = login
    done = job.run(LAST)
    assert done.status in {1, 2}
    assert says in done.termination
    assert "Traceback" not in done.said
    assert there(registry) == sorted(FILES)


def test_a_dry_run_without_credentials_says_which_secret_is_missing(running: tuple[Registry, Runner]) -> None:
    _, job = running
    job.login = None
    done = job.run(LAST, dry_run=True)
    assert done.status == 1
    assert "it says 401" in done.termination
    assert "there is no Secret team-publisher" in done.termination


def test_a_registry_that_removes_nothing_is_named(tmp_path: Path) -> None:
    with registry_of(tmp_path, FILES, removal=False) as (registry, job):
        done = job.run(LAST)
        assert done.status == 1
        assert "403 Removal is off: what is published stays" in done.termination
        assert there(registry) == sorted(FILES)
        assert job.run(LAST, action="yank").removed == ["acme 1.0", "acme 2.0"]


def test_below_a_path(tmp_path: Path) -> None:
    setup = Setup(spec=GatewaySpec(path_prefix="/team/pypi"), environment=REMOVAL)
    with registry_of(tmp_path, FILES, setup) as (registry, job):
        assert requests.get(f"{registry.gateway.url}/team/pypi/simple/", auth=READER, timeout=20).ok
        assert job.run(LAST).removed == ["acme 1.0", "acme 2.0"]


def test_over_tls_with_another_name_than_the_services(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    put(tmp_path / "server/packages", "acme", "1.0")
    put(tmp_path / "server/packages", "acme", "2.0")
    with Server(tmp_path / "server", REMOVAL) as server:
        gateway = Gateway(
            tmp_path / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=server.packages,
            pages=server.pages,
            setup=Setup(tls=True, environment=REMOVAL),
        )
        put_certificate(gateway.certificates, authority.issue())
        with gateway:
            job = Runner(tmp_path / "job", f"https://127.0.0.1:{gateway.https_port}")
            rule = RetentionRuleSpec(keep_versions=1)
            # The certificate is for localhost and 127.0.0.1.
            wrong = job.run(rule, tls=True)
            assert wrong.status == 1
            assert "its certificate is not trusted: unable to get local issuer certificate" in wrong.termination
            (tmp_path / "job/ca.crt").write_bytes(authority.path.read_bytes())
            other = job.run(rule, tls=True, tls_name="pypi.example.org")
            assert "its certificate is not trusted: Hostname mismatch" in other.termination
            clear = Runner(tmp_path / "clear", gateway.url).run(rule)
            assert "it has TLS, and is asked without" in clear.termination
            assert job.run(rule, tls=True).removed == ["acme 1.0"]


def test_what_is_asked_of_a_reader_is_done_by_the_writer(tmp_path: Path) -> None:
    for version in ("1.0", "2.0", "3.0"):
        put(tmp_path / "writer/packages", "acme", version)
    with pair(tmp_path) as both:
        job = Runner(tmp_path / "job", both.reader.gateway.url)
        done = job.run(LAST, action="yank", patience_seconds=60)
        assert (done.status, done.removed) == (0, ["acme 1.0"]), done.said
        assert "yank acme 1.0" in both.writer.server.log
        wait_for(lambda: "yanked already" in job.run(LAST, action="yank", dry_run=True).said, "the reader's index")


def shown(registry: Registry) -> str:
    return requests.get(f"{registry.server.url}/-/metrics", timeout=20).text


def test_the_registry_shows_how_a_run_ended(tmp_path: Path) -> None:
    with registry_of(tmp_path, FILES, expected={"RETENTION_MAX_AGE_SECONDS": "93600"}) as (registry, job):
        job.login = READER
        done = job.run(LAST, dry_run=True)
        assert done.status == 0
        assert "The registry will not show how this ended: 403" in done.said
        assert "pypiserver_retention" not in shown(registry)
        job.login = PUBLISHER
        assert job.run(LAST, dry_run=True).status == 0
        assert "pypiserver_retention_dry_run 1\n" in shown(registry)
        assert "pypiserver_retention_versions 2\n" in shown(registry)
        stopped = job.run(LAST, most_versions=1)
        assert stopped.status == 1
        assert 'pypiserver_retention_failed{reason="bounds"} 1\n' in shown(registry)
        done = job.run(LAST)
        assert done.removed == ["acme 1.0", "acme 2.0"]
        page = shown(registry)
        assert 'pypiserver_retention_failed{reason=""} 0\n' in page
        assert "pypiserver_retention_dry_run 0\n" in page
        assert "pypiserver_retention_files 2\n" in page
        assert "pypiserver_retention_due_timestamp_seconds" in page
