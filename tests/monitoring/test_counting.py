"""What is counted, with real programs: every kind of request, and programs that go away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import requests

from cdk8s_pypiserver import GatewaySpec, MonitoringSocket
from cdk8s_pypiserver.monitoring.alerts import rules
from cdk8s_pypiserver.monitoring.dashboard import dashboard
from gateway_programs import Setup
from monitored import Monitored, counts, monitored
from programs import PATIENCE, needs, upload, wait_for
from promql import names_and_labels
from server.pod.notes import DIRECTORY, VolumeNotes
from server.pod.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs("mtail")

SETUP = Setup(metrics=True, spec=GatewaySpec(max_upload="1Mi"))
READER = ("reader", "reader-password")
PUBLISHER = ("publisher", "publisher-password")
WHEEL = "demo-1.0-py3-none-any.whl"

# What Prometheus or the relabelling of the monitors adds to each sample.
OF_THE_TARGET = {"namespace", "job", "pod", "part", "app"}
RUN = {"succeeded": 1.0, "ran": 1.0, "seconds": 1.0, "packages": 1, "files": 1, "bytes": 1, "pages": 1, "reason": ""}
"""What a Job writes down."""
RESULTS = ("stored", "conflict", "unauthorized", "refused", "failed")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Monitored]:
    with monitored(tmp_path, SETUP) as started:
        yield started


def _uploads(registry: Monitored) -> dict[tuple[str, ...], float]:
    return counts(registry.scrape("/metrics/gateway"), "pypiserver_uploads_total", "result")


def _errors(registry: Monitored) -> dict[tuple[str, ...], float]:
    return counts(registry.scrape("/metrics/gateway"), "pypiserver_errors_total", "reason")


def _visit(registry: Monitored) -> int:
    """Send requests of every kind; return how many."""
    gateway = registry.gateway
    url = gateway.url
    answers = [
        upload(url, WHEEL, b"wheel", PUBLISHER),
        upload(url, WHEEL, b"wheel", PUBLISHER),
        upload(url, "other-1.0.tar.gz", b"sdist"),
        upload(url, "other-1.0.tar.gz", b"sdist", READER),
        upload(url, "other-1.0.tar.gz", bytes(1_100_000), PUBLISHER),
        upload(url, ".other-1.0.tar.gz", b"sdist", PUBLISHER),
        # Neither an upload that is stored nor one that is not.
        requests.post(f"{url}/", data={":action": "submit"}, auth=PUBLISHER, timeout=PATIENCE),
        gateway.get("/simple/", *READER),
        gateway.get("/simple/demo/", *READER),
        gateway.get("/simple/absent/", *READER),
        gateway.get("/simple/demo/"),
        gateway.get(f"/packages/{WHEEL}", *READER),
        gateway.request("HEAD", f"/packages/{WHEEL}", *READER),
        gateway.get(f"/packages/{WHEEL}", *READER, Range="bytes=0-1"),
        gateway.get("/packages/absent-1.0.zip", *READER),
        gateway.get("/demo/json", *READER),
        gateway.get("/", *READER),
        gateway.get("/demo"),
        gateway.request("PUT", "/simple/"),
        gateway.get("/RPC2"),
        gateway.get("/-/metrics"),
    ]
    page = gateway.get("/simple/demo/", *READER)
    answers += [page, gateway.get("/simple/demo/", *READER, If_None_Match=page.headers["ETag"])]
    assert [answer.status_code for answer in answers] == [
        *(200, 409, 401, 403, 413, 400, 200),
        *(200, 200, 404, 401),
        *(200, 200, 206, 404, 200),
        *(200, 303, 405, 404, 404),
        *(200, 304),
    ]
    # Probes and scrapes are no traffic.
    assert gateway.get("/health").ok
    assert gateway.get("/ready").ok
    return len(answers)


def test_every_request_is_counted_once(registry: Monitored) -> None:
    sent = _visit(registry)
    registry.wait_until_counted(sent)
    assert registry.requests() == {
        ("publish", "POST", "2xx", "known"): 2,
        ("publish", "POST", "4xx", "known"): 3,
        # Without credentials, and what is too large: that is seen before anybody is asked about the user.
        ("publish", "POST", "4xx", "anonymous"): 2,
        ("index", "GET", "2xx", "known"): 1,
        ("index", "other", "4xx", "anonymous"): 1,
        ("project", "GET", "2xx", "known"): 2,
        ("project", "GET", "304", "known"): 1,
        ("project", "GET", "4xx", "known"): 1,
        ("project", "GET", "4xx", "anonymous"): 1,
        ("package", "GET", "2xx", "known"): 2,
        ("package", "HEAD", "2xx", "known"): 1,
        ("package", "GET", "4xx", "known"): 1,
        ("metadata", "GET", "2xx", "known"): 1,
        ("other", "GET", "2xx", "known"): 1,
        ("other", "GET", "3xx", "anonymous"): 1,
        ("other", "GET", "4xx", "anonymous"): 2,
    }
    # The counter of what did not happen is made by the first scrape, for the second.
    wait_for(lambda: ("failed",) in _uploads(registry), "the counters")
    results = {"stored": 1, "conflict": 1, "unauthorized": 2, "refused": 2, "failed": 0}
    assert _uploads(registry) == {(name,): value for name, value in results.items()}
    samples = registry.scrape("/metrics/gateway")
    log = registry.gateway.access_log
    package_bytes = sum(line["bytes"] for line in log if line["path"].startswith("/packages/"))
    assert counts(samples, "pypiserver_sent_bytes_total", "route")[("package",)] == package_bytes
    durations = counts(samples, "pypiserver_request_duration_seconds_count", "route")
    assert durations == {
        ("publish",): 7,
        ("index",): 2,
        ("project",): 5,
        ("package",): 4,
        ("metadata",): 1,
        ("other",): 4,
    }
    asked = sum(line["upstream_duration"] is not None for line in log if "/health" not in line["path"])
    assert sum(counts(samples, "pypiserver_server_duration_seconds_count", "route").values()) == asked


def test_routes_are_told_below_a_path_too(tmp_path: Path) -> None:
    setup = Setup(metrics=True, spec=GatewaySpec(path_prefix="/team-a/pypi"))
    with monitored(tmp_path, setup) as below:
        paths = ("/simple/", "/simple/demo/", f"/packages/{WHEEL}", "/demo/json", "/")
        for path in paths:
            below.gateway.get(f"/team-a/pypi{path}")
        below.gateway.request("POST", "/team-a/pypi/")
        below.wait_until_counted(len(paths) + 1)
        routes = {route for route, *_ in below.requests()}
    assert routes == {"index", "project", "package", "metadata", "other", "publish"}


def test_the_server_tells_about_its_files(registry: Monitored) -> None:
    for name in (WHEEL, "demo-2.0-py3-none-any.whl", "other-1.0.tar.gz"):
        assert upload(registry.gateway.url, name, b"12345", PUBLISHER).ok
    # The thread looks at once, but nothing waits for it.
    wait_for(lambda: counts(registry.scrape("/metrics/server"), "pypiserver_volume_size_bytes"), "the volume's size")
    found = {sample.name: sample.value for sample in registry.scrape("/metrics/server")}
    newest = (registry.server.packages / "other-1.0.tar.gz").stat().st_mtime
    assert found.pop("pypiserver_last_publish_timestamp_seconds") == pytest.approx(newest, abs=1e-3)
    assert 0 < found.pop("pypiserver_volume_free_bytes") <= found.pop("pypiserver_volume_size_bytes")
    assert found == {
        "pypiserver_packages": 3,
        "pypiserver_projects": 2,
        "pypiserver_stored_bytes": 15,
        "pypiserver_volume_answers": 1,
        "pypiserver_writes": 1,
        "pypiserver_volume_problems": 0,
        "pypiserver_token_problems": 0,
    }


def test_a_volume_that_fails_is_told(registry: Monitored) -> None:
    registry.server.packages.rename(registry.server.directory / "away")
    wait_for(
        lambda: counts(registry.scrape("/metrics/server"), "pypiserver_volume_answers") == {(): 0}, "the failing volume"
    )
    assert not counts(registry.scrape("/metrics/server"), "pypiserver_volume_free_bytes")


def test_counters_of_uploads_are_there_before_the_first(registry: Monitored) -> None:
    registry.scrape("/metrics/gateway")
    wait_for(lambda: _uploads(registry), "the counters")
    assert _uploads(registry) == {(result,): 0 for result in RESULTS}


def test_an_upload_that_the_server_cannot_take_has_failed(registry: Monitored) -> None:
    registry.server.kill()
    assert upload(registry.gateway.url, WHEEL, b"wheel", PUBLISHER).status_code == 503
    registry.wait_until_counted(1)
    # Nobody has said that the user is one.
    assert registry.requests() == {("publish", "POST", "5xx", "anonymous"): 1}
    assert _uploads(registry)[("failed",)] == 1
    assert _errors(registry)[("away",)] == 1


def test_probes_that_fail_are_no_requests(registry: Monitored) -> None:
    registry.server.kill()
    for path in ("/ready", "/health"):
        assert registry.gateway.get(path).status_code == 503
    assert registry.gateway.get("/demo").status_code == 303
    registry.wait_until_counted(1)
    assert registry.requests() == {("other", "GET", "3xx", "anonymous"): 1}


def test_nobody_to_ask_about_a_password_is_an_error(registry: Monitored) -> None:
    registry.server.kill()
    assert registry.gateway.get("/simple/", *READER).status_code == 503
    registry.wait_until_counted(1)
    assert _errors(registry)[("away",)] == 1


def test_verdicts_that_are_at_hand_are_told_from_others(registry: Monitored) -> None:
    for _ in range(3):
        assert registry.gateway.get("/simple/", *READER).ok
    assert registry.gateway.get("/simple/").status_code == 401
    registry.wait_until_counted(4)
    verdicts = counts(registry.scrape("/metrics/gateway"), "pypiserver_verdicts_total", "result")
    assert verdicts == {("asked",): 1, ("hit",): 2}


def test_clients_do_not_notice_that_nobody_counts(registry: Monitored) -> None:
    registry.counter.kill()
    for _ in range(200):
        assert registry.gateway.get("/demo").status_code == 303
    assert requests.get(f"{registry.metrics_url}/metrics/gateway", timeout=PATIENCE).status_code == 502
    registry.counter.start()
    sent = 0

    def counted() -> bool:
        nonlocal sent
        registry.gateway.get("/demo")
        sent += 1
        return bool(registry.requests())

    wait_for(counted, "counting again")
    assert sum(registry.requests().values()) <= sent


def test_one_path_has_both(registry: Monitored) -> None:
    registry.gateway.get("/demo")
    registry.wait_until_counted(1)
    # The last of those that the reader makes at the first scrape.
    wait_for(lambda: ("other",) in _errors(registry), "the counters")
    wait_for(lambda: counts(registry.scrape("/metrics/server"), "pypiserver_volume_size_bytes"), "the volume's size")
    parts = [registry.scrape(path) for path in ("/metrics/gateway", "/metrics/server", "/metrics")]
    gateway, server, both = ({(sample.name, *sample.labels.items()) for sample in part} for part in parts)
    assert both == gateway | server
    registry.server.kill()
    assert {sample.name for sample in registry.scrape("/metrics")} >= {"pypiserver_requests_total"}
    registry.counter.kill()
    assert registry.scrape("/metrics") == []


def test_nothing_else_is_to_be_had_at_the_port(registry: Monitored) -> None:
    for path in ("/", "/-/gateway", "/-/server", "/-/metrics", "/quitquitquit", "/debug/pprof/", "/simple/", "/health"):
        assert requests.get(registry.metrics_url + path, timeout=PATIENCE).status_code == 404, path
    assert requests.post(f"{registry.metrics_url}/quitquitquit", timeout=PATIENCE).status_code == 404
    for path in ("/metrics", "/metrics/server", "/metrics/gateway"):
        assert registry.gateway.get(path, *READER).status_code in {303, 404}


def test_no_metric_names_a_user_or_a_path(registry: Monitored) -> None:
    registry.gateway.get("/simple/our-secret-project/", *READER)
    registry.gateway.request("PROPFIND", "/our-secret-path/x", *READER)
    registry.wait_until_counted(2)
    text = requests.get(f"{registry.metrics_url}/metrics", timeout=PATIENCE).text
    assert "our-secret" not in text
    assert "reader" not in text


def test_what_a_registry_expects_is_told(tmp_path: Path) -> None:
    expected = MonitoringSocket()
    expected.watch_certificate("wildcard")
    # Known by its name.
    expected.watch_certificate("pypiserver-tls")
    expected.watch_backup("nightly", max_age_seconds=93_600)
    expected.watch_backup("weekly", max_age_seconds=691_200)
    with monitored(tmp_path, SETUP, expected) as registry:
        found = _expectations(registry)
        assert found == {("name", "wildcard"): 1, ("cronjob", "nightly"): 93_600, ("cronjob", "weekly"): 691_200}
        # Nothing that is counted is lost on the way.
        _visit(registry)
        registry.wait_until_counted(20)


def test_nothing_is_expected_where_nothing_was_said(registry: Monitored) -> None:
    wait_for(lambda: _uploads(registry), "the counters")
    assert not [s for s in registry.scrape("/metrics/gateway") if s.name.startswith("pypiserver_expected")]


def _expectations(registry: Monitored) -> dict[tuple[str, str], float]:
    """What it expects, once it has told: the first scrape makes the metrics, for the second."""

    def found() -> dict[tuple[str, str], float]:
        samples = [s for s in registry.scrape("/metrics/gateway") if s.name.startswith("pypiserver_expected")]
        return {pair: sample.value for sample in samples for pair in sample.labels.items()}

    wait_for(found, "what is expected")
    return found()


def test_rules_and_dashboard_use_what_is_there(tmp_path: Path) -> None:
    expected = MonitoringSocket()
    expected.watch_certificate("wildcard")
    expected.watch_backup("backup", max_age_seconds=93_600)
    with monitored(tmp_path, SETUP, expected) as registry:
        _rules_and_dashboard_use_what_is_there(registry, tmp_path)


def _rules_and_dashboard_use_what_is_there(registry: Monitored, tmp_path: Path) -> None:
    _visit(registry)
    registry.wait_until_counted(20)
    assert _expectations(registry)
    wait_for(lambda: counts(registry.scrape("/metrics/server"), "pypiserver_volume_size_bytes"), "the volume's size")
    # The reader makes them at the first scrape, for the second.
    wait_for(lambda: _errors(registry), "the counters of errors")
    there = {"up": OF_THE_TARGET}
    for sample in registry.scrape("/metrics/gateway") + registry.scrape("/metrics/server"):
        there[sample.name] = there.get(sample.name, set()) | sample.labels.keys() | OF_THE_TARGET
    # Those of cert-manager and of kube-state-metrics.
    there["certmanager_certificate_expiration_timestamp_seconds"] = {"name", "exported_namespace", *OF_THE_TARGET}
    for name in ("kube_cronjob_created", "kube_cronjob_status_last_successful_time"):
        there[name] = {"cronjob", "exported_namespace", *OF_THE_TARGET}
    # Of a store, which this registry has not (tests/store/test_survey.py).
    for name in ("answers", "fenced", "lost_files"):
        there[f"pypiserver_store_{name}"] = OF_THE_TARGET
    # Of a directory of users (tests/e2e/test_ldap.py).
    for name in ("up", "missing_groups"):
        there[f"pypiserver_directory_{name}"] = OF_THE_TARGET
    # Of tokens, of which it has none (tests/gateway/test_tokens.py).
    there["pypiserver_token_expiry_timestamp_seconds"] = {"token", *OF_THE_TARGET}
    # Of backups, drills and retention, which it has not either.
    upkeep = Upkeep(VolumeNotes(tmp_path / "upkept"), dict.fromkeys(("backup", "drill", "retention"), 1.0))
    (tmp_path / "upkept").mkdir()
    upkeep.prepare()
    for kind in ("backup", "drill", "retention"):
        (tmp_path / "upkept" / DIRECTORY / f"{kind}.json").write_text(json.dumps(RUN))
    upkeep.look()
    there |= {gauge.name: {"reason", *OF_THE_TARGET} for gauge in upkeep.gauges()}
    groups = rules(MonitoringSocket())
    expressions = []
    for rule in (rule for group in groups for rule in group["rules"]):
        expressions.append(rule["expr"])
        if "record" in rule:
            there[rule["record"]] = set(rule["record"].split(":")[0].split("_"))
    shown = dashboard("pypiserver")
    json.dumps(shown)
    expressions += [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
    used = [pair for expression in expressions for pair in names_and_labels(expression)]
    assert len({name for name, _ in used}) > 12
    for name, labels in used:
        assert name in there, name
        assert labels <= there[name], (name, labels)
